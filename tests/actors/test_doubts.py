"""The search for messages in doubt, on a clock that the test owns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from actors.account_identity import Sender
from actors.doubts import Doubts
from domain.clock import ManualClock
from storage.outbox import Outbox
from tests.actors.desk import ACCOUNT, CLOCK, Desk, until

SETTLE_TIMEOUT = timedelta(seconds=60)


class Identity:
    """Knows the account of each message in doubt, unless it is broken."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.asked: list[datetime] = []
        self.is_broken = True

    async def sender(self) -> Sender:
        self.asked.append(self._clock.now())
        if self.is_broken:
            raise RuntimeError("nobody has thought of this")
        return Sender(ACCOUNT.merchant_id, ACCOUNT.twitter_user_id, "connected", None, {})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(CLOCK.now())


@pytest.fixture
def identity(clock: ManualClock) -> Identity:
    return Identity(clock)


@pytest.fixture
async def doubts(desk: Desk, clock: ManualClock, identity: Identity) -> AsyncIterator[Doubts]:
    doubts = Doubts(
        ACCOUNT.id,
        Outbox(desk.client, desk.database),
        clock,
        SETTLE_TIMEOUT.total_seconds(),
        sender=identity.sender,
        finished=lambda message_id, _: doubts.remove(message_id),
    )
    yield doubts
    doubts.close()


async def next_look(clock: ManualClock) -> datetime:
    """Let the next look come and end; returns when the one after it is to be."""
    due = clock.next_alarm()
    assert due is not None
    clock.set(due)
    await until(lambda: clock.next_alarm() is not None)
    after = clock.next_alarm()
    assert after is not None
    return after


async def test_a_look_that_breaks_is_not_repeated_for_five_seconds(
    desk: Desk, doubts: Doubts, clock: ManualClock, identity: Identity
) -> None:
    message_id = await desk.queue("Hello", await desk.customer(), clock.now(), status="unknown")
    doubts.add(await desk.message(message_id))

    for looks in (1, 2, 3):
        after = await next_look(clock)
        assert len(identity.asked) == looks
        assert after == clock.now() + timedelta(seconds=5)

    # Other messages in doubt do not make it come sooner.
    other_id = await desk.queue("Hello again", await desk.customer("201"), clock.now(), status="unknown")
    doubts.add(await desk.message(other_id))
    assert clock.next_alarm() == after

    identity.is_broken = False
    await next_look(clock)
    assert len(doubts) == 2
    assert identity.asked[-1] == after


async def test_nothing_is_looked_for_after_a_look_that_broke_when_all_is_over(
    desk: Desk, doubts: Doubts, clock: ManualClock, identity: Identity
) -> None:
    message_id = await desk.queue("Hello", await desk.customer(), clock.now(), status="unknown")
    doubts.add(await desk.message(message_id))
    await next_look(clock)
    doubts.close()

    clock.set(clock.now() + timedelta(hours=1))
    await asyncio.sleep(0)
    assert len(identity.asked) == 1
