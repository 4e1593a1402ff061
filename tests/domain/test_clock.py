"""Being woken by a clock: the machine's, and one that a test sets forward."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from domain.clock import ManualClock, SystemClock

START = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def test_the_machines_clock_calls_once_a_moment_has_come() -> None:
    clock, called = SystemClock(), asyncio.Event()
    clock.call_at(clock.now() + timedelta(milliseconds=20), called.set)
    clock.call_at(clock.now() - SECOND, lambda: None)
    assert not called.is_set()
    async with asyncio.timeout(30):
        await called.wait()


async def test_a_cancelled_alarm_of_the_machines_clock_is_silent() -> None:
    clock, called, after = SystemClock(), asyncio.Event(), asyncio.Event()
    clock.call_at(clock.now(), called.set).cancel()
    clock.call_at(clock.now() + timedelta(milliseconds=10), after.set)
    async with asyncio.timeout(30):
        await after.wait()
    assert not called.is_set()


def test_a_manual_clock_calls_everybody_at_his_own_moment() -> None:
    clock, called = ManualClock(START), list[tuple[str, datetime]]()
    clock.call_at(START + 2 * SECOND, lambda: called.append(("second", clock.now())))
    clock.call_at(START + SECOND, lambda: called.append(("first", clock.now())))
    clock.call_at(START + 4 * SECOND, lambda: called.append(("later", clock.now())))
    clock.call_at(START + SECOND, lambda: called.append(("never", clock.now()))).cancel()
    assert clock.next_alarm() == START + SECOND
    clock.set(START + 3 * SECOND)
    assert called == [("first", START + SECOND), ("second", START + 2 * SECOND)]
    assert (clock.now(), clock.next_alarm()) == (START + 3 * SECOND, START + 4 * SECOND)


def test_a_manual_clock_calls_who_is_added_on_the_way() -> None:
    clock, called = ManualClock(START), list[datetime]()

    def again() -> None:
        called.append(clock.now())
        clock.call_at(clock.now() + SECOND, again)

    clock.call_at(START + SECOND, again)
    clock.set(START + 3 * SECOND)
    assert called == [START + SECOND, START + 2 * SECOND, START + 3 * SECOND]
