"""The API limit of a merchant: real servers over the real actor, which are gateways of one program."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from actors.merchant_limit import LimitServices, MerchantLimit
from actors.runtime.errors import CallExpired
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from domain.call_limit import Answer, Ask, CallWindow
from domain.clock import SystemClock
from domain.ids import new_id
from gateway.call_limiter import Admission, CallLimiter
from gateway.dependencies import Dependencies
from storage.actor_states import ActorStates
from storage.client import Database
from tests.gateway.conftest import Api, eventually, serve

LIMIT = 100
HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@dataclass
class Program:
    """Gateways that share one host of actors."""

    host: ActorHost
    gateways: list[Api]

    def of(self, merchant_id: str) -> list[Api]:
        return [replace(api, merchant_id=merchant_id) for api in self.gateways]


@pytest.fixture
async def program(deps: Dependencies, gateway_database: Database) -> AsyncIterator[Program]:
    services = LimitServices(LIMIT, ActorStates(gateway_database, "merchantLimits"), SystemClock(), epoch=1)
    host = ActorHost({MerchantLimit.kind: lambda key: MerchantLimit(key, services)})
    settings = deps.settings.model_copy(update={"api_calls_per_minute": LIMIT})
    limited = replace(deps, settings=settings, actors=LocalActors(host))
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serve(limited)) for _ in range(2)]
        yield Program(host, [Api(http, gateway_database, new_id(), new_id(), ["owner"], limited) for http in servers])
    await host.stop(1)


def limits_of(response: aiohttp.ClientResponse) -> tuple[int, int, int]:
    limit, remaining, reset = (int(response.headers[name]) for name in HEADERS)
    return limit, remaining, reset


async def test_one_client_passes_a_hundred_times_and_is_told_what_remains(program: Program) -> None:
    api = program.gateways[0]
    for number in range(LIMIT):
        response = await api.answer("GET", "/contacts")
        assert response.status == 200
        limit, remaining, reset = limits_of(response)
        assert (limit, remaining) == (LIMIT, LIMIT - 1 - number)
        assert 0 < reset - time.time() <= 61
    response = await api.answer("GET", "/contacts")
    body = await response.json()
    assert (response.status, body["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    limit, remaining, reset = limits_of(response)
    assert (limit, remaining) == (LIMIT, 0)
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert 0 < reset - time.time() <= 61


async def test_a_hundred_pass_over_two_gateways_whoever_calls_first(program: Program) -> None:
    first, second = program.gateways[0], replace(program.gateways[1], merchant_id=program.gateways[0].merchant_id)
    for number in range(LIMIT):
        response = await (first, second, second)[number % 3].answer("GET", "/contacts")
        assert response.status == 200
    for api in (first, second):
        response = await api.answer("GET", "/contacts")
        assert (response.status, limits_of(response)[1]) == (429, 0)


async def test_of_many_calls_at_once_a_hundred_pass(program: Program) -> None:
    gateways = program.of(new_id())
    calls = [gateways[number % 2].answer("GET", "/contacts") for number in range(180)]
    answers = await asyncio.gather(*calls)
    assert Counter(answer.status for answer in answers) == {200: LIMIT, 429: 80}
    assert all(limits_of(answer)[0] == LIMIT for answer in answers)
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 429)


async def test_tokens_that_one_gateway_did_not_spend_are_spent_by_the_other(program: Program) -> None:
    first, second = program.of(new_id())
    assert (await first.answer("GET", "/contacts")).status == 200
    statuses = [(await second.answer("GET", "/contacts")).status for _ in range(LIMIT)]
    assert statuses == [200] * (LIMIT - 1) + [429]


async def test_merchants_have_limits_of_their_own(program: Program) -> None:
    one, other = program.of(new_id())[0], program.of(new_id())[0]
    for _ in range(LIMIT):
        await one.answer("GET", "/contacts")
    assert (await one.answer("GET", "/contacts")).status == 429
    assert limits_of(await other.answer("GET", "/contacts"))[1] == LIMIT - 1


async def test_calls_that_fail_or_are_not_allowed_count_and_those_of_strangers_do_not(program: Program) -> None:
    api = program.of(new_id())[0]
    assert (await api.answer("GET", "/contacts/nothing")).status == 404
    response = await api.answer("GET", "/contacts?take=0")
    assert (response.status, limits_of(response)[1]) == (400, LIMIT - 2)
    stranger = await api.answer("GET", "/contacts", headers={"Authorization": "Bearer nothing"})
    assert stranger.status == 401
    assert not set(HEADERS) & set(stranger.headers)
    response = await api.as_role("viewer").answer("DELETE", "/contacts/nothing")
    assert (response.status, limits_of(response)[1]) == (403, LIMIT - 3)
    response = await api.answer("PUT", "/contacts/import")
    assert (response.status, limits_of(response)[1]) == (405, LIMIT - 4)
    assert limits_of(await api.answer("GET", "/contacts"))[1] == LIMIT - 5


async def test_calls_that_are_not_allowed_are_refused_once_there_were_too_many(program: Program) -> None:
    api = program.of(new_id())[0].as_role("viewer")
    statuses = [(await api.answer("DELETE", "/contacts/nothing")).status for _ in range(LIMIT + 1)]
    assert statuses == [403] * LIMIT + [429]


async def test_login_health_and_metrics_are_not_limited(program: Program) -> None:
    api = program.gateways[0]
    login = await api.answer("POST", "/api/v1/auth/login", json={"email": "nobody@example.com", "password": "nothing"})
    assert not set(HEADERS) & set(login.headers)
    for path in ("/health/live", "/metrics"):
        response = await api.http.get(path)
        assert response.status == 200
        assert not set(HEADERS) & set(response.headers)


async def test_without_actors_calls_pass_as_long_as_the_lease_lasts(program: Program) -> None:
    api = program.of(new_id())[0]
    await api.answer("GET", "/contacts")
    await program.host.stop(1)
    statuses = [(await api.answer("GET", "/contacts")).status for _ in range(40)]
    passed = statuses.count(200)
    assert passed <= 24
    assert statuses == [200] * passed + [503] * (40 - passed)
    response = await api.answer("GET", "/contacts")
    assert (response.status, limits_of(response)[1]) == (503, 0)
    assert int(response.headers["Retry-After"]) >= 1


# --- the limiter alone


class Window:
    """The actor's place: a window, how many asks it has answered, and what it does instead."""

    def __init__(self) -> None:
        self.window = CallWindow(LIMIT)
        self.asks: list[Ask] = []
        self.held: asyncio.Event | None = None
        self.fails: Exception | None = None

    def ref(self, _kind: type[Any], _key: str, *, timeout_s: float | None = None) -> Any:
        assert timeout_s
        return self

    async def ask(self, ask: Ask) -> Answer:
        self.asks.append(ask)
        if self.fails:
            raise self.fails
        if self.held:
            await self.held.wait()
        return self.window.ask(ask, round(time.time() * 1000))


@pytest.fixture
def window() -> Window:
    return Window()


@pytest.fixture
async def limiter(window: Window) -> AsyncIterator[CallLimiter]:
    limiter = CallLimiter(window)
    yield limiter
    await limiter.close()


async def test_calls_of_the_same_moment_travel_together(window: Window, limiter: CallLimiter) -> None:
    window.held = asyncio.Event()
    calls = [asyncio.create_task(limiter.admit("m")) for _ in range(150)]
    await eventually(lambda: len(window.asks) == 1)
    window.held.set()
    admissions = await asyncio.gather(*calls)
    assert Counter(admission.refusal is None for admission in admissions) == {True: LIMIT, False: 50}
    assert len(window.asks) < 20


async def test_a_lease_in_hand_costs_no_message(window: Window) -> None:
    limiter = CallLimiter(window, now=lambda: 1000.0)
    for _ in range(12):
        assert (await limiter.admit("m")).refusal is None
    assert len(window.asks) == 1
    # Half of the lease is spent: more is asked for, and no call waits for it.
    assert (await limiter.admit("m")).refusal is None
    window.held = asyncio.Event()
    assert (await limiter.admit("m")).refusal is None
    await eventually(lambda: len(window.asks) == 2)
    assert window.asks[1].waiting == 0
    window.held.set()
    await limiter.close()


async def test_what_was_not_spent_goes_back_by_itself(window: Window, limiter: CallLimiter) -> None:
    await limiter.admit("m")
    await eventually(lambda: len(window.asks) == 2)
    report = window.asks[1]
    assert (report.spent, report.dropped, report.waiting, report.ahead) == (1, 24, 0, False)


async def test_a_lease_goes_back_when_the_gateway_stops(window: Window, limiter: CallLimiter) -> None:
    await limiter.admit("m")
    await limiter.close()
    assert (window.asks[-1].spent, window.asks[-1].dropped) == (1, 24)


async def test_refused_calls_do_not_ask_again_and_again(window: Window, limiter: CallLimiter) -> None:
    for _ in range(LIMIT):
        await limiter.admit("m")
    assert (await limiter.admit("m")).refusal is not None
    await asyncio.sleep(0)
    asked = len(window.asks)
    refusals = [await limiter.admit("m") for _ in range(50)]
    assert all(admission.refusal for admission in refusals)
    assert len(window.asks) <= asked + 1


@pytest.mark.parametrize("failure", [CallExpired("no answer", retry_after_s=2), RuntimeError("broken")])
async def test_whatever_breaks_nobody_waits_for_ever_and_the_next_call_tries_again(
    window: Window, limiter: CallLimiter, failure: Exception
) -> None:
    window.fails = failure
    admissions: list[Admission] = await asyncio.gather(*(limiter.admit("m") for _ in range(3)))
    assert [admission.refusal and admission.refusal.http_status for admission in admissions] == [503, 503, 503]
    window.fails = None
    assert (await limiter.admit("m")).refusal is None


async def test_a_client_that_left_while_it_waited_costs_no_token(window: Window, limiter: CallLimiter) -> None:
    window.held = asyncio.Event()
    left, stays = (asyncio.create_task(limiter.admit("m")) for _ in range(2))
    await eventually(lambda: len(window.asks) == 1)
    left.cancel()
    window.held.set()
    assert (await stays).remaining == LIMIT - 1


async def test_the_programs_own_calls_use_nothing_up(program: Program) -> None:
    api = program.gateways[0]
    own = api.deps.tokens.issue(api.user_id, api.merchant_id, ["owner"], uncounted=True)
    for _ in range(5):
        async with api.http.get("/api/v1/mkt-x/contacts", headers={"Authorization": f"Bearer {own}"}) as response:
            assert response.status == 200
            assert HEADERS[0] not in response.headers
    response = await api.answer("GET", "/contacts")
    assert limits_of(response)[1] == LIMIT - 1
