"""What only the process that hosts the actors can see: stopping, counting, and making room."""

from __future__ import annotations

import asyncio

import pytest

from actors.runtime.errors import CallExpired, Fenced
from actors.runtime.system import LocalActors
from tests.actors.runtime.probes import Probe, stage_host


async def test_stopping_lets_turns_under_way_end_and_refuses_new_calls() -> None:
    host, stage = stage_host()
    probe = LocalActors(host).ref(Probe, "k")
    under_way = asyncio.ensure_future(probe.wait_at("gate"))
    queued = asyncio.ensure_future(probe.note(1))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(host.stop(30))
    await asyncio.sleep(0)
    with pytest.raises(Fenced):
        await probe.note(2)
    stage.gates["gate"].set()
    await stopping
    assert (await under_way, await queued) == ("gate", True)
    assert len(host) == 0
    assert stage.deactivations["k"] == 1


async def test_stopping_answers_everybody_when_the_grace_is_over() -> None:
    host, stage = stage_host()
    probe = LocalActors(host).ref(Probe, "k")
    under_way = asyncio.ensure_future(probe.wait_at("never"))
    queued = asyncio.ensure_future(probe.note(1))
    activating = asyncio.ensure_future(LocalActors(host).ref(Probe, "slow-start").note(1))
    while not stage.activations["slow-start"]:
        await asyncio.sleep(0)
    await host.stop(0.05)
    outcomes = await asyncio.wait_for(asyncio.gather(under_way, queued, activating, return_exceptions=True), 10)
    assert [type(outcome) for outcome in outcomes] == [CallExpired, Fenced, Fenced]
    assert stage.deactivations["k"] == 1


async def test_a_caller_that_has_gone_leaves_the_turn_alone() -> None:
    host, stage = stage_host()
    probe = LocalActors(host).ref(Probe, "k")
    call = asyncio.ensure_future(probe.wait_at("gate"))
    while not stage.activations["k"]:
        await asyncio.sleep(0)
    call.cancel()
    stage.gates["gate"].set()
    assert await probe.note(1) is True
    await host.stop(1)


async def test_what_happens_is_counted() -> None:
    host, _ = stage_host(mailbox_limit=1)
    actors = LocalActors(host)
    probe = actors.ref(Probe, "k")
    await probe.note(1)
    outcomes = await asyncio.gather(probe.note(1), probe.note(2), probe.fail(), return_exceptions=True)
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 2
    stats = host.stats
    assert (stats.activated, stats.turns, stats.overflows, stats.failures) == (1, 2, 2, 0)
    await host.stop(1)
    assert stats.deactivated == 1


async def test_idle_actors_leave_by_themselves() -> None:
    host, stage = stage_host(idle_s=0.02)
    await host.start()
    await LocalActors(host).ref(Probe, "k").note(1)
    async with asyncio.timeout(30):
        while len(host):
            await asyncio.sleep(0.005)
    assert stage.deactivations["k"] == 1
    await host.stop(1)
