from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors.runtime.errors import HostGone
from domain.partition import LANES, lanes_of
from gateway.doorbell import Doorbell
from tests.gateway.conftest import eventually


class Host:
    """A host that answers a ring when it is let; notes how many rings are under way."""

    def __init__(self) -> None:
        self.rings = 0
        self.under_way = 0
        self.most = 0
        self.gone = False
        self.idle = asyncio.Event()
        self.idle.set()

    async def ring(self) -> None:
        self.rings += 1
        if self.gone:
            raise HostGone("not there")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.idle.wait()
        self.under_way -= 1


@pytest.fixture
def hosts() -> list[Host]:
    return [Host(), Host(), Host()]


@pytest.fixture
async def doorbell(hosts: list[Host]) -> AsyncIterator[Doorbell]:
    doorbell = Doorbell(hosts, again_s=0.01)
    yield doorbell
    await doorbell.close()


async def test_the_host_of_a_lane_is_rung_and_no_other(doorbell: Doorbell, hosts: list[Host]) -> None:
    for index in range(len(hosts)):
        for host in hosts:
            host.rings = 0
        doorbell.stored(lanes_of(index, len(hosts)))
        await eventually(lambda index=index: hosts[index].rings == 1)
        assert [host.rings for host in hosts] == [int(at == index) for at in range(3)]


async def test_every_lane_has_a_host_that_is_rung(doorbell: Doorbell, hosts: list[Host]) -> None:
    doorbell.stored(range(LANES))
    await eventually(lambda: all(host.rings == 1 for host in hosts))


async def test_of_more_hosts_than_lanes_those_that_read_are_rung() -> None:
    hosts = [Host() for _ in range(LANES + 4)]
    doorbell = Doorbell(hosts)
    doorbell.stored(range(LANES))
    await eventually(lambda: sum(host.rings for host in hosts) == LANES)
    assert [host.rings for host in hosts] == [int(bool(lanes_of(index, len(hosts)))) for index in range(len(hosts))]
    await doorbell.close()


async def test_a_busy_host_is_rung_once_more_however_much_comes_meanwhile(
    doorbell: Doorbell, hosts: list[Host]
) -> None:
    hosts[0].idle.clear()
    doorbell.stored([0])
    await eventually(lambda: hosts[0].under_way == 1)
    for _ in range(500):
        doorbell.stored([0])
        await asyncio.sleep(0)
    assert (hosts[0].rings, hosts[0].most) == (1, 1)
    hosts[0].idle.set()
    await eventually(lambda: hosts[0].rings == 2)
    await eventually(lambda: hosts[0].under_way == 0)
    assert (hosts[0].rings, hosts[0].most) == (2, 1)


async def test_a_host_without_news_is_not_rung_again(doorbell: Doorbell, hosts: list[Host]) -> None:
    doorbell.stored([0])
    await eventually(lambda: hosts[0].rings == 1 and hosts[0].under_way == 0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert hosts[0].rings == 1


async def test_a_host_that_can_not_be_reached_is_rung_until_it_can(doorbell: Doorbell, hosts: list[Host]) -> None:
    hosts[0].gone = True
    doorbell.stored([0])
    await eventually(lambda: hosts[0].rings == 3)
    hosts[0].gone = False
    await eventually(lambda: not doorbell._ringing)
    rings = hosts[0].rings
    for _ in range(20):
        await asyncio.sleep(0)
    assert hosts[0].rings == rings >= 4


async def test_a_host_that_can_not_be_reached_is_no_faster_rung_with_more_news(hosts: list[Host]) -> None:
    hosts[0].gone = True
    doorbell = Doorbell(hosts, again_s=60)
    for _ in range(20):
        doorbell.stored([0])
        await asyncio.sleep(0)
    assert hosts[0].rings == 1
    await doorbell.close()


async def test_one_host_that_hangs_keeps_no_other_from_being_rung(doorbell: Doorbell, hosts: list[Host]) -> None:
    hosts[0].idle.clear()
    doorbell.stored(range(LANES))
    await eventually(lambda: hosts[1].rings == 1 and hosts[2].rings == 1)
    doorbell.stored(range(LANES))
    await eventually(lambda: hosts[1].rings == 2 and hosts[2].rings == 2)


async def test_closing_does_not_wait_for_a_host_that_hangs(hosts: list[Host]) -> None:
    doorbell = Doorbell(hosts)
    hosts[0].idle.clear()
    doorbell.stored([0])
    await eventually(lambda: hosts[0].under_way == 1)
    async with asyncio.timeout(20):
        await doorbell.close()
