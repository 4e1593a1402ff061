from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from actors.runtime.errors import HostGone
from gateway import easing as module
from gateway.easing import Easing
from tests.gateway.conftest import eventually


class Host:
    def __init__(self) -> None:
        self.asked: list[float] = []
        self.fails: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def ease(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.free.wait()
        if self.fails is not None:
            raise self.fails


class Time:
    """Monotonic time that stands still until it is moved."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "time", time)
    return time


@pytest.fixture
def hosts() -> list[Host]:
    return [Host(), Host()]


@pytest.fixture
async def easing(hosts: list[Host], time: Time) -> AsyncIterator[Easing]:
    easing = Easing(hosts)
    yield easing
    await easing.close()


async def crowd(easing: Easing, time: Time, *, calls: int, seconds: float, every: float = 0.01) -> None:
    end = time.now + seconds
    while time.now < end:
        easing.committed(calls)
        time.now += every
        await asyncio.sleep(0)


async def test_hosts_are_asked_while_commits_are_crowded(easing: Easing, hosts: list[Host], time: Time) -> None:
    await crowd(easing, time, calls=200, seconds=1)
    await eventually(lambda: all(host.asked for host in hosts))


async def test_small_commits_ask_nothing_however_many_there_are(easing: Easing, hosts: list[Host], time: Time) -> None:
    await crowd(easing, time, calls=8, seconds=20)
    assert [host.asked for host in hosts] == [[], []]


async def test_a_single_large_commit_is_no_crowd(easing: Easing, hosts: list[Host], time: Time) -> None:
    await crowd(easing, time, calls=1, seconds=1)
    easing.committed(500)
    await asyncio.sleep(0)
    await crowd(easing, time, calls=1, seconds=1)
    assert [host.asked for host in hosts] == [[], []]


async def test_hosts_are_asked_at_most_once_a_second(easing: Easing, hosts: list[Host], time: Time) -> None:
    await crowd(easing, time, calls=200, seconds=10)
    assert 5 <= len(hosts[0].asked) <= 10


async def test_each_request_lasts_longer_than_until_the_next_one(easing: Easing, hosts: list[Host], time: Time) -> None:
    await crowd(easing, time, calls=200, seconds=3)
    assert min(hosts[0].asked) > 1


async def test_once_the_crowd_has_gone_lone_commits_ask_nothing_more(
    easing: Easing, hosts: list[Host], time: Time
) -> None:
    await crowd(easing, time, calls=500, seconds=5)
    asked = len(hosts[0].asked)
    time.now += 5
    await crowd(easing, time, calls=1, seconds=300, every=2)
    assert len(hosts[0].asked) == asked


async def test_a_crowd_that_thins_out_stops_the_asking(easing: Easing, hosts: list[Host], time: Time) -> None:
    await crowd(easing, time, calls=100, seconds=3)
    await crowd(easing, time, calls=2, seconds=2)
    asked = len(hosts[0].asked)
    await crowd(easing, time, calls=2, seconds=20)
    assert len(hosts[0].asked) == asked


async def test_a_host_that_is_gone_keeps_the_others_from_nothing(easing: Easing, hosts: list[Host], time: Time) -> None:
    hosts[0].fails = HostGone("not there")
    await crowd(easing, time, calls=200, seconds=5)
    assert len(hosts[1].asked) >= 3
    gc.collect()


async def test_a_host_that_does_not_answer_is_not_asked_again_and_again(
    easing: Easing, hosts: list[Host], time: Time
) -> None:
    hosts[0].free.clear()
    await crowd(easing, time, calls=200, seconds=5)
    assert len(hosts[0].asked) == 1


async def test_closing_does_not_wait_for_an_answer(hosts: list[Host], time: Time) -> None:
    easing = Easing(hosts)
    hosts[0].free.clear()
    await crowd(easing, time, calls=200, seconds=1)
    async with asyncio.timeout(20):
        await easing.close()
