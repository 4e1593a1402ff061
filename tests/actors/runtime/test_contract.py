"""What holds for actors wherever they live: each test runs in this process and over a real Ray."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from actors.runtime.errors import ActorFailed, CallExpired, Fenced
from domain.errors import InvalidContent, LimitExceeded, Overloaded, Problem
from tests.actors.runtime.conftest import Running
from tests.actors.runtime.probes import MAILBOX, Actor, Unmakeable


async def until_waiting(system: Running, key: str) -> None:
    """Return when the probe's turn is under way: its activation has begun."""
    async with asyncio.timeout(30):
        while not await system.activations(key):
            await asyncio.sleep(0.01)


async def test_messages_of_one_caller_are_taken_in_order_and_one_at_a_time(system: Running) -> None:
    probe = system.probe()
    ready = await asyncio.gather(*(probe.note(number) for number in range(60)))
    log, most_at_once = await probe.log()
    assert log == list(range(60))
    assert most_at_once == 1
    assert all(ready)


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
async def test_order_is_kept_for_each_key_however_calls_interleave(
    local_system: Running, plan: list[tuple[int, int]]
) -> None:
    probes = [local_system.probe() for _ in range(4)]
    sent: list[list[int]] = [[] for _ in probes]
    calls = []
    for number, (which, pauses) in enumerate(plan):
        calls.append(asyncio.ensure_future(probes[which].note(number)))
        sent[which].append(number)
        for _ in range(pauses):
            await asyncio.sleep(0)
    await asyncio.gather(*calls)
    for probe, expected in zip(probes, sent, strict=True):
        log, most = await probe.log()
        assert log == expected
        assert most <= 1


async def test_other_keys_go_on_while_one_waits(system: Running) -> None:
    gate = system.key("gate")
    waiting = asyncio.ensure_future(system.probe().wait_at(gate))
    await system.probe().open(gate)
    assert await waiting == gate


async def test_keys_of_different_hosts_answer(system: Running) -> None:
    for host in range(2):
        key = system.key(host=host)
        assert await system.probe(key).echo(key, named=1) == ((key,), {"named": 1})


async def test_two_first_messages_at_once_activate_once(system: Running) -> None:
    key = system.key("slow-start")
    first, second = (asyncio.ensure_future(system.probe(key).note(n)) for n in range(2))
    await until_waiting(system, key)
    assert not first.done()
    await system.control().open(key)
    assert await asyncio.gather(first, second) == [True, True]
    assert await system.activations(key) == 1


async def test_a_failed_activation_is_shown_to_nobody_and_tried_again_by_the_next_call(system: Running) -> None:
    key = system.key()
    await system.control().fail_next_activation(key)
    outcomes = await asyncio.gather(*(system.probe(key).note(n) for n in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorFailed] * 3
    assert await system.probe(key).note("after") is True
    assert (await system.probe(key).log())[0] == ["after"]
    assert await system.activations(key) == 2


async def test_a_method_that_returns_a_future_ends_its_turn(system: Running) -> None:
    probe = system.probe()
    later = [asyncio.ensure_future(probe.answer_later()) for _ in range(2)]
    assert await probe.note("meanwhile")
    assert not any(future.done() for future in later)
    assert await probe.answer_now("done") == 2
    assert await asyncio.gather(*later) == ["done", "done"]


async def test_a_future_that_fails_brings_its_error(system: Running) -> None:
    probe = system.probe()
    later = asyncio.ensure_future(probe.answer_later())
    assert await probe.refuse_later() == 1
    with pytest.raises(LimitExceeded, match="Not now") as refused:
        await later
    assert refused.value.retry_after_s == 7


async def test_a_full_mailbox_refuses_at_once_and_serves_those_that_are_in_it(system: Running) -> None:
    key, gate = system.key(), system.key("gate")
    probe = system.probe(key)
    waiting = asyncio.ensure_future(probe.wait_at(gate))
    await until_waiting(system, key)
    calls = [asyncio.ensure_future(probe.note(number)) for number in range(MAILBOX + 20)]
    async with asyncio.timeout(30):
        while sum(call.done() for call in calls) < 20:
            await asyncio.sleep(0.01)
    await system.control().open(gate)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(o) for o in outcomes] == [bool] * MAILBOX + [Overloaded] * 20
    assert (await probe.log())[0] == list(range(MAILBOX))
    assert await waiting == gate


async def test_a_call_whose_time_is_over_is_not_run(system: Running) -> None:
    key, gate = system.key(), system.key("gate")
    waiting = asyncio.ensure_future(system.probe(key).wait_at(gate))
    await until_waiting(system, key)
    with pytest.raises(CallExpired):
        await system.probe(key, timeout_s=0.05).note("too late")
    await system.control().open(gate)
    await waiting
    await system.probe(key).note("in time")
    assert (await system.probe(key).log())[0] == ["in time"]


async def test_an_idle_actor_leaves_memory_and_comes_back_by_the_next_call(system: Running) -> None:
    key = system.key()
    await system.probe(key).note(1)
    await system.control().sweep()
    assert (await system.control().counts(key))["deactivations"] == 1
    assert (await system.probe(key).log())[0] == []
    assert await system.activations(key) == 2


async def test_a_busy_actor_and_one_with_a_turn_under_way_stay(system: Running) -> None:
    busy, turning, gate = system.key(), system.key(), system.key("gate")
    await system.probe(busy).be_busy(True)
    waiting = asyncio.ensure_future(system.probe(turning).wait_at(gate))
    await until_waiting(system, turning)
    await system.control().sweep()
    for key in (busy, turning):
        assert (await system.control().counts(key))["deactivations"] == 0
    await system.control().open(gate)
    assert await waiting == gate
    await system.probe(busy).be_busy(False)


async def test_an_actor_that_fails_to_let_go_disturbs_nobody(system: Running) -> None:
    bad, good = system.key("bad-end"), system.key()
    await system.probe(bad).note(1)
    await system.probe(good).note(1)
    await system.control().sweep()
    assert (await system.control().counts(good))["deactivations"] == 1
    assert await system.probe(bad).note(2) is True


async def test_over_the_limit_the_least_recently_used_idle_one_leaves(system: Running) -> None:
    control = system.control()
    await control.sweep()
    busy, old, used, new = (system.key() for _ in range(4))
    await system.probe(busy).be_busy(True)
    for key in (used, old, used):
        await system.probe(key).note(1)
    await control.limit(0)
    await system.probe(new).note(1)
    left = {key: (await control.counts(key))["deactivations"] for key in (busy, old, used, new)}
    await control.limit(None)
    await system.probe(busy).be_busy(False)
    assert left == {busy: 0, old: 1, used: 0, new: 0}


async def test_a_newcomer_over_the_limit_is_not_put_out_before_its_first_message(system: Running) -> None:
    await system.control().sweep()
    control = system.control()
    busy = [system.key() for _ in range(3)]
    for key in busy:
        await system.probe(key).be_busy(True)
    key, gate = system.key(), system.key("gate")
    await control.limit(-10)
    first = asyncio.ensure_future(system.probe(key).wait_at(gate))
    await until_waiting(system, key)
    second = asyncio.ensure_future(system.probe(key).note("second"))
    await control.open(gate)
    await asyncio.gather(first, second)
    counts = await control.counts(key)
    await control.limit(None)
    for other in busy:
        await system.probe(other).be_busy(False)
    assert counts["activations"] == 1


async def test_an_error_travels_with_everything_that_it_says(system: Running) -> None:
    with pytest.raises(InvalidContent) as refused:
        await system.probe().refuse()
    error = refused.value
    assert (error.message, str(error), error.code, error.http_status) == ("It is wrong",) * 2 + (
        "VALIDATION_ERROR",
        422,
    )
    assert error.problems == (Problem("a.b", "is bad"),)
    assert (error.retry_after_s, error.details) == (9, {"x": 1})


async def test_what_breaks_inside_is_not_told(system: Running) -> None:
    probe = system.probe()
    with pytest.raises(ActorFailed) as failed:
        await probe.fail()
    assert "secret" not in repr(failed.value)
    assert await probe.note("it goes on") is True


@pytest.mark.parametrize(
    "method", ["nothing_like_it", "on_activate", "on_deactivate", "drain", "busy", "_hidden", "_log", "key", "kind"]
)
async def test_what_is_no_message_is_refused(system: Running, method: str) -> None:
    key = system.key()
    await system.probe(key).note(1)
    with pytest.raises(ActorFailed):
        await getattr(system.probe(key), method)()
    assert (await system.probe(key).log())[0] == [1]
    assert await system.activations(key) == 1


async def test_an_unknown_kind_and_one_that_can_not_be_made_are_refused(system: Running) -> None:
    class Stranger(Actor):
        kind = "stranger"

        async def hello(self) -> None: ...

    with pytest.raises(ActorFailed):
        await system.actors.ref(Stranger, "x").hello()
    with pytest.raises(ActorFailed):
        await system.actors.ref(Unmakeable, "x").on_reminder("a", {})
    assert await system.probe().note(1) is True


async def test_a_fenced_actor_is_replaced_by_the_next_call(system: Running) -> None:
    key = system.key()
    probe = system.probe(key)
    await probe.note("before")
    with pytest.raises(Fenced):
        await probe.be_fenced()
    assert await probe.note("after") is True
    assert (await probe.log())[0] == ["after"]
    counts = await system.control().counts(key)
    assert (counts["activations"], counts["deactivations"]) == (2, 1)


async def test_those_who_wait_behind_a_fenced_turn_are_told(system: Running) -> None:
    probe = system.probe()
    outcomes = await asyncio.gather(probe.note(1), probe.be_fenced(), probe.note(2), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [bool, Fenced, Fenced]


async def test_a_turn_that_meets_a_cancelled_task_fails_alone(system: Running) -> None:
    probe = system.probe(timeout_s=20)
    with pytest.raises(ActorFailed):
        await probe.wait_for_a_cancelled_task()
    assert await probe.note("it goes on") is True


@pytest.mark.ray
@pytest.mark.parametrize("method", ["answer_unsendably", "answer_unreadably", "refuse_unsendably"])
async def test_an_answer_that_can_not_travel_spoils_no_other(ray_system: Running, method: str) -> None:
    probe: Any = ray_system.probe(timeout_s=20)
    outcomes = await asyncio.gather(
        probe.note(1), getattr(probe, method)(), ray_system.probe().note(2), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [bool, ActorFailed, bool]


@pytest.mark.ray
async def test_an_argument_that_can_not_travel_spoils_no_other(ray_system: Running) -> None:
    probe = ray_system.probe(timeout_s=20)
    outcomes = await asyncio.gather(
        probe.note(1), probe.note(lambda: None), probe.note(2), ray_system.probe().note(3), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [bool, ActorFailed, bool, bool]
    assert (await probe.log())[0] == [1, 2]


@pytest.mark.ray
async def test_a_late_answer_of_one_host_holds_up_none_of_another_caller(ray_system: Running) -> None:
    gate = ray_system.key("gate")
    late = [asyncio.ensure_future(ray_system.probe().wait_at(gate)) for _ in range(5)]
    assert await asyncio.gather(*(ray_system.probe().note(n) for n in range(20))) == [True] * 20
    await ray_system.probe().open(gate)
    assert await asyncio.gather(*late) == [gate] * 5
