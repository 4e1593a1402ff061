"""Rate limits at their boundaries, with a clock that the test owns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from sandbox.server import running
from tests.sandbox.shop import Shop, make_world
from tests.sandbox.test_messages import NEW, old_style


class OwnClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 2, 10, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def go(self, **by: float) -> None:
        self.moment += timedelta(**by)


@pytest.fixture
def clock() -> OwnClock:
    return OwnClock()


@pytest.fixture
async def timed(clock: OwnClock, http: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    world = make_world(clock=clock)
    world.add_customer("200")
    async with running(world) as base:
        yield Shop(base, http, now=clock.seconds)


async def test_fifteen_sends_pass_and_the_sixteenth_waits_for_the_window(timed: Shop, clock: OwnClock) -> None:
    start = int(clock.moment.timestamp())
    for sent in range(1, 16):
        answer = await timed.send("hi")
        assert answer.status == 201
        assert answer.headers["x-rate-limit-limit"] == "15"
        assert answer.headers["x-rate-limit-remaining"] == str(15 - sent)
        assert answer.headers["x-rate-limit-reset"] == str(start + 900)
        assert answer.headers["x-user-limit-24hour-limit"] == "1440"
        assert answer.headers["x-user-limit-24hour-remaining"] == str(1440 - sent)
        assert answer.headers["x-user-limit-24hour-reset"] == str(start + 86_400)
        assert answer.headers["x-app-limit-24hour-limit"] == "1440"
        assert answer.headers["x-app-limit-24hour-remaining"] == str(1440 - sent)
    refused = await timed.send("hi")
    assert refused.status == 429
    assert refused.headers["x-rate-limit-remaining"] == "0"
    assert refused.body["title"] == "Too Many Requests"
    clock.go(seconds=899)
    assert (await timed.send("hi")).status == 429
    clock.go(seconds=1)
    again = await timed.send("hi")
    assert again.status == 201
    assert again.headers["x-rate-limit-remaining"] == "14"
    assert again.headers["x-user-limit-24hour-remaining"] == str(1440 - 16)


async def test_users_have_windows_of_their_own_and_share_the_apps(timed: Shop) -> None:
    await timed.control("POST", "accounts", {"id": "101"})
    other = Shop(timed.base, timed.http, account_id="101", now=timed.now)
    await timed.control("POST", "limits", {"rules": {"dm.send": {"user_15m": 1, "app_24h": 3}}})
    assert (await timed.send("hi")).status == 201
    assert (await timed.send("hi")).status == 429
    second = await other.send("hi")
    assert second.status == 201
    assert second.headers["x-app-limit-24hour-remaining"] == "1"
    await timed.control("POST", "limits", {"rules": {"dm.send": {"user_15m": 9}}})
    assert (await timed.send("hi")).status == 201
    refused = await other.send("hi")
    assert refused.status == 429
    assert refused.headers["x-app-limit-24hour-remaining"] == "0"
    assert int(refused.headers["x-rate-limit-remaining"]) > 0


async def test_an_account_sends_no_more_than_its_own_24_hours_allow(timed: Shop, clock: OwnClock) -> None:
    await timed.control("POST", "limits", {"all": 1000, "account_24h": 2})
    await timed.control("POST", "say", {"from": "100", "to": "200", "text": "from the app of X"})
    clock.go(hours=1)
    assert (await timed.send("hi")).status == 201
    refused = await timed.send("hi")
    assert refused.status == 429
    assert int(refused.headers["x-rate-limit-remaining"]) > 0
    clock.go(hours=23)
    assert (await timed.send("the first one is a day old")).status == 201
    assert (await timed.send("hi")).status == 429


async def test_five_answers_to_an_inbound_message_are_free_in_the_old_api(timed: Shop, clock: OwnClock) -> None:
    await timed.control("POST", "limits", {"rules": {"dm.v1.send": {"user_24h": 2}}})
    await timed.control("POST", "say", {"from": "200", "to": "100", "text": "hello?"})
    remaining = []
    for _ in range(7):
        answer = await timed.call("POST", NEW, old_style("answer"))
        assert answer.status == 200
        remaining.append(answer.headers["x-rate-limit-remaining"])
    assert remaining == ["2", "2", "2", "2", "2", "1", "0"]
    refused = await timed.call("POST", NEW, old_style("one too many"))
    assert (refused.status, refused.body["errors"][0]["code"]) == (429, 88)
    await timed.control("POST", "say", {"from": "200", "to": "100", "text": "still there?"})
    assert (await timed.call("POST", NEW, old_style("yes"))).status == 200
    clock.go(hours=24)
    late = await timed.call("POST", NEW, old_style("a day later it counts"))
    assert late.headers["x-rate-limit-remaining"] == "1"


async def test_lookups_are_limited_apart_from_sends(timed: Shop) -> None:
    for _ in range(15):
        assert (await timed.call("GET", "/2/dm_events")).status == 200
    assert (await timed.call("GET", "/2/dm_conversations/with/200/dm_events")).status == 429
    assert (await timed.send("hi")).status == 201
    await timed.control("POST", "limits", {"reset": True})
    assert (await timed.call("GET", "/2/dm_events")).status == 200
