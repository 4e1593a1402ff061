"""What a host says of itself in metrics: what its actors did, how late it is, what accounts may still send."""

from __future__ import annotations

import asyncio

from actors.account import AccountActor
from actors.host_metrics import COUNTERS, HostMetrics
from actors.limit_sampler import LimitSampler
from actors.loop_lag import LoopLag
from actors.runtime.stats import HostStats
from actors.runtime.system import LocalActors
from tests.actors.desk import ACCOUNT, Desk
from tests.actors.runtime.probes import Probe, stage_host
from tests.metric_values import value

OF_STATS = {
    "turns": "mktx_actor_turns_total",
    "failures": "mktx_actor_failures_total",
    "expired": "mktx_actor_expired_total",
    "overflows": "mktx_actor_overflows_total",
    "activated": "mktx_actor_activations_total",
    "deactivated": "mktx_actor_deactivations_total",
}


def test_everything_that_a_host_counts_is_a_metric() -> None:
    assert COUNTERS.keys() == OF_STATS.keys() == set(HostStats.__slots__)


async def test_each_thing_is_counted_once_however_often_it_is_copied() -> None:
    host, _ = stage_host(mailbox_limit=1)
    before = {field: value(name) for field, name in OF_STATS.items()}
    starts = value("mktx_host_starts_total", host="7")
    metrics = HostMetrics(host, 7)
    metrics.start()
    probe = LocalActors(host).ref(Probe, "k")
    await probe.note(1)
    await asyncio.gather(probe.note(1), probe.note(2), return_exceptions=True)
    metrics.copy()
    metrics.copy()
    assert value("mktx_actor_in_memory") == 1
    await host.stop(1)
    await metrics.stop()
    counted = {field: value(name) - before[field] for field, name in OF_STATS.items()}
    assert counted == {"turns": 2, "failures": 0, "expired": 0, "overflows": 1, "activated": 1, "deactivated": 1}
    assert value("mktx_actor_in_memory") == 0
    assert value("mktx_host_starts_total", host="7") == starts + 1


async def test_actors_with_a_message_under_way_are_counted() -> None:
    host, stage = stage_host()
    actors = LocalActors(host)
    waiting = [asyncio.ensure_future(actors.ref(Probe, key).wait_at("gate")) for key in "abc"]
    while stage.activations.total() < 3:
        await asyncio.sleep(0)
    metrics = HostMetrics(host, 7)
    metrics.copy()
    assert value("mktx_actor_under_way") == 3
    stage.gates["gate"].set()
    await asyncio.gather(*waiting)
    await host.stop(1)
    metrics.copy()
    assert value("mktx_actor_under_way") == 0


async def test_a_loop_that_is_looked_at_says_how_late_it_is() -> None:
    before = value("mktx_event_loop_lag_seconds_count", process="host")
    lag = LoopLag("host")
    lag.start()
    async with asyncio.timeout(30):
        while value("mktx_event_loop_lag_seconds_count", process="host") == before:
            await asyncio.sleep(0.05)
    await lag.stop()


async def test_what_an_account_has_left_is_a_share_of_each_limit(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start(x_messages_per_day=4)
    for text in ("one", "two", "three"):
        assert await actor.deliver(await desk.queue(text, conversation)) == "sent"
    used_up = {"name": "messages24h", "limit": 4, "used": 3}
    assert used_up.items() <= (await actor.limits())[0].items()

    def observed(limit: str, most: str) -> float:
        return value("mktx_account_limit_remaining_bucket", limit=limit, le=most)

    before = {
        (limit, le): observed(limit, le) for limit in ("messages24h", "campaigns24h") for le in ("0.2", "0.3", "1.0")
    }
    sampler = LimitSampler(desk.hosts[-1])
    await sampler.look()
    grown = {key: observed(*key) - count for key, count in before.items()}
    assert [grown["messages24h", le] for le in ("0.2", "0.3", "1.0")] == [0, 1, 1]
    assert [grown["campaigns24h", le] for le in ("0.2", "0.3", "1.0")] == [0, 0, 1]
    assert [each.key for each in desk.hosts[-1].in_memory(AccountActor)] == [ACCOUNT.id]


async def test_actors_of_other_kinds_and_those_that_have_not_loaded_are_no_accounts() -> None:
    host, stage = stage_host()
    actors = LocalActors(host)
    await actors.ref(Probe, "k").note(1)
    loading = asyncio.ensure_future(actors.ref(Probe, "slow-start").note(1))
    while not stage.activations["slow-start"]:
        await asyncio.sleep(0)
    assert host.in_memory(AccountActor) == []
    assert [probe.key for probe in host.in_memory(Probe)] == ["k"]
    stage.gates["slow-start"].set()
    await loading
    await host.stop(1)
