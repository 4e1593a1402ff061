"""What only a real Ray can show: hosts that die and come back."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from actors.runtime.errors import HostGone
from actors.runtime.ray_system import RayActors, RayTransport
from tests.actors.runtime.conftest import HOSTS, Running

pytestmark = pytest.mark.ray


async def hello(index: int) -> Any:
    """Ask a host who it is, however often that takes."""
    transport = RayTransport(index)
    async with asyncio.timeout(120):
        while True:
            try:
                await transport.reconnect()
                return await transport.hello()
            except HostGone:
                await asyncio.sleep(0.1)


async def test_hosts_say_who_they_are(ray_system: Running) -> None:
    infos = [await hello(index) for index in range(HOSTS)]
    assert [info["index"] for info in infos] == [0, 1]
    assert len({info["pid"] for info in infos} | {os.getpid()}) == 3
    assert all(info["ready"] and info["version"] == "probe" for info in infos)
    assert len({info["epoch"] for info in infos}) == 2


async def test_every_call_is_answered_although_its_host_was_killed_and_the_epoch_rises(ray_system: Running) -> None:
    before, other = await hello(0), await hello(1)
    gate = ray_system.key("gate")
    waiting = [asyncio.ensure_future(ray_system.probe(timeout_s=120).wait_at(gate)) for _ in range(30)]
    steady = ray_system.probe(ray_system.key(host=1), timeout_s=120)
    await ray_system.probe().note("delivered: all before it are")
    os.kill(before["pid"], signal.SIGKILL)
    ordered = ray_system.probe(timeout_s=120)
    notes = [asyncio.ensure_future(ordered.note(number)) for number in range(20)]
    assert await steady.note("the other host goes on") is True
    assert await asyncio.gather(*notes) == [True] * 20
    assert (await ordered.log())[0] == list(range(20))
    assert not any(call.done() for call in waiting)
    await ray_system.probe().open(gate)
    assert await asyncio.gather(*waiting) == [gate] * 30
    after = await hello(0)
    assert after["pid"] != before["pid"]
    assert after["epoch"] > max(before["epoch"], other["epoch"])
    assert (await hello(1))["epoch"] == other["epoch"]


async def test_another_caller_finds_the_same_actors(ray_system: Running) -> None:
    key = ray_system.key()
    await ray_system.probe(key).note("first caller")
    second = RayActors(HOSTS)
    second.start()
    probe = Running(second, HOSTS).probe(key, timeout_s=60)
    assert await probe.note("second caller") is True
    assert (await ray_system.probe(key).log())[0] == ["first caller", "second caller"]
    await second.close()


async def test_a_host_that_does_not_exist_is_gone(ray_system: Running) -> None:
    with pytest.raises(HostGone):
        await RayTransport(77).reconnect()
    with pytest.raises(HostGone):
        await RayTransport(77).ring()
