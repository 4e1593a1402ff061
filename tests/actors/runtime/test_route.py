"""A route over a transport that loses, delays and hangs as it is told; the host behind it is real."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.runtime.errors import CallExpired, HostGone
from actors.runtime.exchange import Exchange
from actors.runtime.host import ActorHost
from actors.runtime.route import Route
from actors.runtime.wire import decode_calls
from tests.actors.runtime.probes import Stage, stage_host


@dataclass
class Wire:
    """A transport to a host in this process; `crash` loses host, calls under way and answers not yet collected."""

    host: ActorHost = field(init=False)
    stage: Stage = field(init=False)
    exchange: Exchange = field(init=False)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    may_deliver: asyncio.Event = field(default_factory=asyncio.Event)
    there: bool = True
    hang: bool = False
    lose_answers: int = 0
    batches: list[list[str]] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    connects: int = 0
    draw: random.Random | None = None

    def __post_init__(self) -> None:
        self.may_deliver.set()
        self.begin()

    def begin(self) -> None:
        self.host, self.stage = stage_host()
        self.exchange = Exchange(self.host)
        self.gone = asyncio.Event()

    def crash(self, *, comes_back: bool = True) -> None:
        gone, self.there = self.gone, comes_back
        self.begin()
        gone.set()

    async def reconnect(self) -> None:
        self.connects += 1
        await asyncio.sleep(0)
        if not self.there:
            raise HostGone("not there")

    async def deliver(self, caller: str, number: int, data: bytes) -> bytes:
        exchange, gone, hang = self.exchange, self.gone, self.hang
        if not self.there:
            raise HostGone("not there")
        self.batches.append([call.method for call in decode_calls(data)])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if hang:
                await asyncio.Event().wait()
            for _ in range(self.draw.randrange(6) if self.draw else 1):
                await asyncio.sleep(0)
            await _unless(gone, self.may_deliver.wait())
            answer = await _unless(gone, exchange.deliver(caller, number, data))
            if self.lose_answers:
                self.lose_answers -= 1
                raise HostGone("the answer is lost")
            return answer
        finally:
            self.under_way -= 1

    async def collect(self, caller: str) -> bytes:
        if not self.there:
            raise HostGone("not there")
        return await _unless(self.gone, self.exchange.collect(caller))


async def _unless(gone: asyncio.Event, work: object) -> object:
    """Await something, unless the host goes first."""
    task, end = asyncio.ensure_future(work), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        if gone.is_set():
            raise HostGone("gone")
        return task.result()
    finally:
        task.cancel()
        end.cancel()


@asynccontextmanager
async def routed(**options: object) -> AsyncIterator[tuple[Route, Wire]]:
    wire = Wire(**options)
    route = Route("caller", wire)
    route.start()
    async with asyncio.timeout(30):
        while not route.is_up:
            await asyncio.sleep(0)
    try:
        yield route, wire
    finally:
        await route.close()
        await wire.host.stop(0.05)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Route, Wire]]:
    async with routed() as pair:
        yield pair


def ask(route: Route, method: str, *args: object, key: str = "k", timeout_s: float = 60) -> asyncio.Future[object]:
    return asyncio.ensure_future(route.call("probe", key, method, args, {}, timeout_s))


async def until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_calls_of_one_moment_travel_in_one_delivery(pair) -> None:
    route, wire = pair
    calls = [ask(route, "note", number, key=f"k{number % 9}") for number in range(500)]
    assert await asyncio.gather(*calls) == [True] * 500
    assert [len(batch) for batch in wire.batches] == [500]


async def test_at_most_two_deliveries_are_under_way_and_the_rest_goes_with_the_next(pair) -> None:
    route, wire = pair
    wire.may_deliver.clear()
    calls = []
    for number in range(50):
        calls.append(ask(route, "note", number, key=f"k{number % 7}"))
        for _ in range(3):
            await asyncio.sleep(0)
    assert wire.under_way == 2
    wire.may_deliver.set()
    assert await asyncio.gather(*calls) == [True] * 50
    assert wire.most_under_way == 2
    assert len(wire.batches) == 3


async def test_an_idle_route_delivers_at_once(pair) -> None:
    route, wire = pair
    for number in range(3):
        assert await ask(route, "note", number) is True
    assert [len(batch) for batch in wire.batches] == [1, 1, 1]


async def test_a_slow_turn_delays_no_other_answer_and_comes_by_collection(pair) -> None:
    route, wire = pair
    slow = ask(route, "wait_at", "gate", key="slow")
    assert await ask(route, "note", 1, key="quick") is True
    assert not slow.done()
    wire.stage.gates["gate"].set()
    assert await slow == "gate"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), pauses=st.lists(st.integers(0, 4), min_size=1, max_size=40))
async def test_order_is_kept_whichever_delivery_arrives_first(seed: int, pauses: list[int]) -> None:
    async with routed(draw=random.Random(seed)) as (route, _):
        calls = []
        for number, pause in enumerate(pauses):
            calls.append(ask(route, "note", number))
            for _ in range(pause):
                await asyncio.sleep(0)
        assert await asyncio.gather(*calls) == [True] * len(pauses)
        assert await ask(route, "log") == (list(range(len(pauses))), 1)


async def test_what_a_lost_host_did_not_answer_is_sent_to_its_successor(pair) -> None:
    route, wire = pair
    waiting = [ask(route, "wait_at", "gate", key=f"k{n}") for n in range(20)]
    await until(lambda: len(wire.host) == 20)
    wire.crash()
    await until(lambda: len(wire.host) == 20)
    assert not any(call.done() for call in waiting)
    wire.stage.gates["gate"].set()
    assert await asyncio.gather(*waiting) == ["gate"] * 20


async def test_order_is_kept_when_it_is_sent_again(pair) -> None:
    route, wire = pair
    wire.may_deliver.clear()
    calls = []
    for number in range(30):
        calls.append(ask(route, "note", number))
        await asyncio.sleep(0)
    wire.crash()
    calls += [ask(route, "note", number) for number in range(30, 40)]
    wire.may_deliver.set()
    assert await asyncio.gather(*calls) == [True] * 40
    assert await ask(route, "log") == (list(range(40)), 1)


async def test_an_answer_that_is_lost_on_the_way_is_asked_for_again(pair) -> None:
    route, wire = pair
    wire.lose_answers = 1
    assert await asyncio.gather(*(ask(route, "note", n) for n in range(3))) == [True] * 3
    assert wire.connects == 2


async def test_a_delivery_that_hangs_does_not_keep_the_successor_waiting(pair) -> None:
    route, wire = pair
    wire.hang = True
    calls = []
    for number in range(2):
        calls.append(ask(route, "note", number))
        await until(lambda: wire.under_way == len(calls))
    wire.hang = False
    wire.crash()
    assert await asyncio.gather(*calls) == [True, True]


async def test_calls_wait_for_a_host_that_is_not_there_yet(pair) -> None:
    route, wire = pair
    wire.crash(comes_back=False)
    await until(lambda: not route.is_up)
    call = ask(route, "note", 1)
    await until(lambda: wire.connects >= 2)
    assert not call.done()
    wire.there = True
    assert await call is True


async def test_a_call_that_nobody_answers_expires(pair) -> None:
    route, wire = pair
    wire.crash(comes_back=False)
    with pytest.raises(CallExpired):
        await ask(route, "note", 1, timeout_s=0.05)
    wire.there = True
    assert await ask(route, "log") == ([], 0)


async def test_a_turn_that_never_ends_expires_for_its_caller_alone(pair) -> None:
    route, _ = pair
    with pytest.raises(CallExpired):
        await ask(route, "wait_at", "never", key="stuck", timeout_s=0.05)
    assert await ask(route, "note", 1) is True


async def test_closing_fails_whoever_waits_and_whoever_comes_later() -> None:
    async with routed() as (route, _):
        waiting = ask(route, "wait_at", "never")
        await asyncio.sleep(0)
        await route.close()
        with pytest.raises(CallExpired):
            await waiting
        with pytest.raises(CallExpired):
            await ask(route, "note", 1)


async def test_a_caller_that_gives_up_leaves_the_others_alone(pair) -> None:
    route, wire = pair
    given_up, kept = ask(route, "wait_at", "gate", key="a"), ask(route, "wait_at", "gate", key="b")
    await until(lambda: len(wire.host) == 2)
    given_up.cancel()
    wire.stage.gates["gate"].set()
    assert await kept == "gate"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from(["call", "call", "call", "pause", "crash", "lose"]), min_size=5, max_size=40),
)
async def test_every_call_gets_exactly_one_answer_whatever_is_lost(seed: int, steps: list[str]) -> None:
    async with routed(draw=random.Random(seed)) as (route, wire):
        calls = []
        for number, step in enumerate(steps):
            if step == "call":
                calls.append((number, ask(route, "echo", number, key=f"k{number % 3}")))
            elif step == "crash":
                wire.crash()
            elif step == "lose":
                wire.lose_answers = 1
            for _ in range(number % 4):
                await asyncio.sleep(0)
        wire.lose_answers = 0
        for number, call in calls:
            assert await call == ((number,), {})
        assert not route._waiting
