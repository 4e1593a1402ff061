from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import REGISTRY

from domain.clock import SystemClock
from domain.ids import new_id
from gateway.api.events import EVENT_STREAMS
from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.events.kinds import EVENTS
from storage.change_position import Position
from storage.client import session_of
from storage.contact_erasure import ContactErasures
from tests.gateway.conftest import API, SECRET, Api, eventually
from tests.gateway.flows import execution, flow
from tests.gateway.listening import PATIENCE_S, Event, listening
from tests.gateway.people import colleague

LISTENING = {"event_stream_lifetime_s": 120.0, "event_heartbeat_s": 0.2}
NONSENSE = ["0", "abc", "not base64url!", "A" * 20, "gv" + "_" * 14, "gg" + "A" * 2000]


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def ids(events: list[Event]) -> list[str]:
    return [event.data["id"] for event in events]


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def gateway(deps: Dependencies, **settings: Any) -> AsyncIterator[Api]:
    """Serve another instance of the application, for a merchant of its own."""
    told = deps.settings.model_copy(update={**LISTENING, **settings})
    async with served(create_app(replace(deps, settings=told))) as http:
        yield Api(http, deps.database, new_id(), new_id(), ["owner"], deps)


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[TestClient[Any, Any]]:
    """Serve an application as the program does: unlike a test's server it cancels no handler whose client has gone."""
    runner = web.AppRunner(app, shutdown_timeout=3600)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession(base_url=f"http://{host}:{port}") as session:
        try:
            # The part of a test's client that is used is that of a session.
            yield cast("TestClient[Any, Any]", session)
        finally:
            async with asyncio.timeout(PATIENCE_S):
                await runner.cleanup()


@pytest.fixture
async def shop(deps: Dependencies) -> AsyncIterator[Api]:
    async with gateway(deps) as api:
        yield api


@asynccontextmanager
async def failing(api: Api, command: str, code: int, times: int) -> AsyncIterator[None]:
    """Have the server refuse a command on this database's changes, a number of times."""
    admin = api.database.client.admin
    database = api.database.name
    spaces = {"aggregate": f"{database}.$cmd.aggregate", "getMore": f"{database}.$cmd.aggregate"}
    data = {"failCommands": [command], "errorCode": code, "namespace": spaces[command]}
    await admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        await admin.command("configureFailPoint", "failCommand", mode="off")


async def test_what_changes_is_told_as_rest_answers_it(shop: Api) -> None:
    account_id = await shop.account()
    contact_id = await shop.contact(account_id)
    async with listening(shop) as stream:
        conversation_id = await shop.conversation(account_id, contact_id)
        message_id = await shop.inbound(conversation_id, "Where is\nmy order?")
        opened, created = await stream.take(2)
        assert names([opened, created]) == ["conversation.opened", "message.created"]
        _, answer = await shop.get(f"/conversations/{conversation_id}")
        (message,) = answer["data"].pop("messages")
        assert answer["data"].pop("hasOlderMessages") is False
        assert opened.data == answer["data"]
        assert created.data == message
        assert message["id"] == message_id

        _, answer = await shop.post(f"/conversations/{conversation_id}/messages", {"content": "On its way"})
        queued, sent = await stream.take(2)
        assert names([queued, sent]) == ["message.created", "message.updated"]
        assert queued.data["status"] == "queued"
        assert sent.data == answer["data"]

        _, assigned = await shop.post(f"/conversations/{conversation_id}/assign", {"userId": None})
        _, closed = await shop.put(f"/conversations/{conversation_id}/close", {"reason": "resolved"})
        events = await stream.until("conversation.closed", conversation_id)
        assert events[-1].data == closed["data"]
        assert {event.name for event in events[:-1]} <= {"conversation.assigned"}
        assert all(event.data in (assigned["data"], closed["data"]) for event in events)


async def test_going_to_people_and_back_to_the_chatbot_is_told(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop) as stream:
        _, escalated = await shop.post(f"/ai/conversations/{conversation_id}/escalate", {"reason": "complex_query"})
        event = await stream.next()
        assert event is not None
        assert (event.name, event.data) == ("conversation.escalated", escalated["data"])
        _, handed_back = await shop.post(f"/ai/conversations/{conversation_id}/hand-back")
        event = await stream.next()
        assert event is not None
        assert (event.name, event.data) == ("conversation.handed_back", handed_back["data"])


async def test_an_assignment_and_any_other_change_of_a_conversation_are_told(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop) as stream:
        await shop.post(f"/conversations/{conversation_id}/assign", {"userId": shop.user_id})
        event = await stream.next()
        assert event is not None
        assert (event.name, event.data["assignedToUserId"]) == ("conversation.assigned", shop.user_id)
        await shop.database["conversations"].update_one({"_id": conversation_id}, {"$inc": {"messageCount": 1}})
        event = await stream.next()
        assert event is not None
        assert (event.name, event.data["messageCount"]) == ("conversation.updated", 2)


async def test_where_an_execution_is_is_told_when_that_changes_and_not_at_each_step(shop: Api) -> None:
    made = await flow(shop)
    path = f"/automation/flows/{made['id']}/executions"
    async with listening(
        shop, "?types=execution.started,execution.failed,execution.resumed,execution.cancelled"
    ) as stream:
        execution_id = await execution(shop, made["id"])
        executions, by_id = shop.database["flowExecutions"], {"_id": execution_id}
        await executions.update_one(by_id, {"$set": {"status": "running", "currentNodeId": "node-2"}})
        (started,) = await stream.take(1)
        assert (started.name, started.data["id"], started.data["status"]) == (
            "execution.started",
            execution_id,
            "running",
        )
        for status, name in (("failed", "failed"), ("running", "resumed"), ("cancelled", "cancelled")):
            await executions.update_one(by_id, {"$set": {"status": status}})
            (told,) = await stream.take(1)
            _, answer = await shop.get(path)
            (shown,) = answer["data"]
            assert (told.name, told.data) == (f"execution.{name}", {key: shown[key] for key in told.data})
            assert shown["status"] == status


async def test_the_answer_is_a_stream_and_counts_as_one_call(shop: Api) -> None:
    async with listening(shop) as stream:
        headers = stream.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert stream.retry_ms is not None
        assert "X-Request-Id" in headers
        for _ in range(3):
            await stream.heartbeat()
        left = (await shop.answer("GET", "/conversations")).headers["X-RateLimit-Remaining"]
        assert int(left) == int(headers["X-RateLimit-Remaining"]) - 1


async def test_a_merchant_is_told_of_its_own_only(shop: Api) -> None:
    other = shop.other_merchant()
    conversation_id, foreign_id = await shop.dialogue(), await other.dialogue()
    async with listening(shop) as stream, listening(other) as others:
        last_id = stream.last_id
        theirs = await other.inbound(foreign_id, "theirs")
        ours = await shop.inbound(conversation_id, "ours")
        assert ids([*await stream.take(1)]) == [ours]
        assert ids([*await others.take(1)]) == [theirs]
    # Neither does another merchant's id of an event open what is not one's own.
    async with listening(other, last_id=last_id) as others:
        assert ids(await others.take(1)) == [theirs]
        await others.heartbeat()


async def test_only_what_is_asked_for_is_told(shop: Api) -> None:
    conversation_id, elsewhere_id = await shop.dialogue(), await shop.dialogue()
    conversation = await shop.database["conversations"].find_one({"_id": conversation_id})
    assert conversation is not None
    query = f"?types=message.created,conversation.closed&accountId={conversation['accountId']}"
    async with listening(shop, query) as stream:
        last_id = stream.last_id
        await shop.inbound(elsewhere_id, "of another account")
        first = await shop.inbound(conversation_id, "wanted")
        await shop.post(f"/conversations/{conversation_id}/assign", {"userId": None})
        await shop.put(f"/conversations/{conversation_id}/close", {})
        assert [(e.name, e.data["id"]) for e in await stream.take(2)] == [
            ("message.created", first),
            ("conversation.closed", conversation_id),
        ]
    async with listening(shop, query, last_id) as stream:
        assert names(await stream.take(2)) == ["message.created", "conversation.closed"]
        await stream.heartbeat()


@pytest.mark.parametrize("query", ["types=", "types=message", "types=message.created,", "types=reset", "since=1"])
async def test_a_query_that_names_no_event_is_refused(shop: Api, query: str) -> None:
    status, answer = await shop.get(f"/events?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


async def test_all_events_can_be_named_at_once(shop: Api) -> None:
    async with listening(shop, f"?types={','.join(EVENTS)}") as stream:
        await stream.heartbeat()


async def test_a_client_resumes_on_any_instance_without_gap_or_repetition(deps: Dependencies, shop: Api) -> None:
    conversation_id = await shop.dialogue()
    written: list[str] = []
    is_enough = asyncio.Event()

    async def write() -> None:
        while not is_enough.is_set():
            written.append(await shop.inbound(conversation_id, "hello"))

    async with gateway(deps) as elsewhere:
        instances = [shop, replace(shop, http=elsewhere.http)]
        async with listening(shop) as stream:
            last_id = stream.last_id
        writer = asyncio.create_task(write())
        seen: list[str] = []
        for turn in range(12):
            async with listening(instances[turn % 2], "?types=message.created", last_id) as stream:
                seen += ids(await stream.take(5 * turn))
                last_id = stream.last_id
        is_enough.set()
        await writer
        async with listening(shop, "?types=message.created", last_id) as stream:
            while len(seen) < len(written):
                seen += ids(await stream.take(1))
            await stream.heartbeat()
    assert seen == written


async def test_a_client_resumes_in_the_middle_of_a_transaction(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    first = await shop.inbound(conversation_id, "first")
    message = await shop.database["messages"].find_one({"_id": first})
    assert message is not None
    new = [message | {"_id": f"{number}-{first}", "twitterMessageId": new_id()} for number in range(9)]
    async with listening(shop) as stream:
        async with session_of(shop.database.client) as session, await session.start_transaction():
            await shop.database["messages"].insert_many(new, session=session)
        events = await stream.take(9)
    assert len({Position.parse(event.id).time for event in events}) == 1
    for index in (0, 4, 7):
        async with listening(shop, last_id=events[index].id) as stream:
            assert ids(await stream.take(8 - index)) == ids(events[index + 1 :])
            await stream.heartbeat()


async def test_a_client_resumes_from_a_heartbeat(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop) as stream:
        begun = stream.last_id
        foreign = shop.other_merchant()
        await foreign.inbound(await foreign.dialogue(), "not for this merchant")
        while stream.last_id == begun:
            await stream.heartbeat()
        last_id = stream.last_id
    missed = await shop.inbound(conversation_id, "while nobody listened")
    async with listening(shop, last_id=last_id) as stream:
        assert ids(await stream.take(1)) == [missed]


@pytest.mark.parametrize("last_id", NONSENSE)
async def test_an_id_that_is_none_makes_the_client_begin_anew(shop: Api, last_id: str) -> None:
    await begins_anew(shop, last_id)


async def begins_anew(shop: Api, last_id: str) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop, "?types=message.created", last_id) as stream:
        assert await stream.next() == Event(stream.last_id, "reset", {})
        assert stream.last_id != last_id
        new = await shop.inbound(conversation_id, "from now on")
        assert ids(await stream.take(1)) == [new]


async def test_an_id_of_the_future_makes_the_client_begin_anew(shop: Api) -> None:
    ahead = Position(b"\x82" + (2**32 - 1).to_bytes(4) + bytes(4)).text
    await begins_anew(shop, ahead)


async def test_an_id_from_too_long_ago_makes_the_client_begin_anew(shop: Api) -> None:
    async with listening(shop) as stream:
        last_id = stream.last_id
        await shop.dialogue()
        await stream.take(1)
        # The server's word for "no longer in the oplog".
        async with failing(shop, "aggregate", 286, times=1):
            await begins_anew(shop, last_id)


async def test_who_has_missed_too_much_begins_anew(deps: Dependencies) -> None:
    async with gateway(deps, event_catch_up=3) as shop:
        async with listening(shop) as stream:
            last_id = stream.last_id
        for _ in range(4):
            await shop.dialogue()
        await begins_anew(shop, last_id)


async def test_a_client_that_is_ahead_of_the_process_is_not_told_twice(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop) as stream:
        message_id = await shop.inbound(conversation_id, "hello")
        (event,) = await stream.take(1)
        async with listening(shop, last_id=event.id) as second:
            await second.heartbeat()
            following = await shop.inbound(conversation_id, "hello again")
            assert ids(await second.take(1)) == [following]
    assert event.data["id"] == message_id


async def test_the_stream_goes_on_after_an_error_of_the_server(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop, "?types=message.created") as stream:
        async with failing(shop, "getMore", 1, times=3):
            written = [await shop.inbound(conversation_id, "hello") for _ in range(20)]
            assert ids(await stream.take(20)) == written
        written = [await shop.inbound(conversation_id, "hello") for _ in range(5)]
        assert ids(await stream.take(5)) == written
        await stream.heartbeat()


async def test_who_listens_is_told_when_the_server_has_lost_changes(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop) as stream, failing(shop, "getMore", 286, times=1):
        assert names(await stream.take(1)) == ["reset"]
        new = await shop.inbound(conversation_id, "from now on")
        assert ids(await stream.take(1)) == [new]


async def test_a_stream_that_cannot_be_opened_is_refused(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.events.feed._OPEN_S", 0.5)
    async with failing(shop, "aggregate", 1, times=1_000):
        status, answer = await shop.get("/events")
    assert (status, answer["code"]) == (503, "SERVICE_UNAVAILABLE")
    async with listening(shop) as stream:
        await stream.heartbeat()


async def test_who_does_not_read_is_cut_off_and_nobody_waits_for_it(deps: Dependencies) -> None:
    before = metric("mktx_event_streams_cut_off_total")
    async with gateway(deps, event_buffer_bytes=64 * 1024) as shop:
        conversation_id = await shop.dialogue()
        async with listening(shop) as quick:
            headers = {"Authorization": f"Bearer {shop.token}"}
            async with shop.http.get(f"{API}/events", headers=headers, read_bufsize=1024) as slow:
                assert slow.status == 200
                count = 0
                while metric("mktx_event_streams_cut_off_total") == before:
                    written = {await shop.inbound(conversation_id, "x" * 10_000) for _ in range(20)}
                    count += 20
                    assert set(ids(await quick.take(20))) == written
                assert metric("mktx_event_streams_cut_off_total") == before + 1
                with pytest.raises(aiohttp.ClientError):
                    await slow.read()
            await shop.inbound(conversation_id, "still there")
            assert len(await quick.take(1)) == 1


async def test_the_end_of_the_token_ends_the_stream(shop: Api) -> None:
    claims = {"sub": shop.user_id, "merchantId": shop.merchant_id, "roles": ["viewer"]}
    ends = datetime.now(UTC) + timedelta(seconds=2)
    token = jwt.encode({**claims, "exp": ends}, SECRET, algorithm="HS256")
    async with shop.http.get(f"{API}/events", headers={"Authorization": f"Bearer {token}"}) as response:
        assert response.status == 200
        async with asyncio.timeout(20):
            body = await response.read()
    assert datetime.now(UTC) >= ends - timedelta(seconds=1)
    assert b": heartbeat" in body


async def test_a_person_who_is_disabled_listens_no_longer(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.standings.STALE_AFTER", timedelta(0))
    user_id = await colleague(shop, "viewer")
    async with listening(replace(shop, user_id=user_id, roles=["viewer"])) as stream:
        await shop.database["users"].update_one({"_id": user_id}, {"$set": {"status": "disabled"}})
        assert await stream.next() is None


async def test_a_stream_ends_when_it_has_lasted_enough(deps: Dependencies) -> None:
    async with gateway(deps, event_stream_lifetime_s=0.5) as shop, listening(shop) as stream:
        assert await stream.next() is None


async def test_a_merchant_has_so_many_streams_and_no_more(deps: Dependencies) -> None:
    async with gateway(deps, event_streams_per_merchant=2) as shop:
        async with listening(shop), listening(shop):
            assert metric("mktx_event_streams") >= 2
            answer = await shop.answer("GET", "/events")
            assert (answer.status, (await answer.json())["code"]) == (429, "RATE_LIMIT_EXCEEDED")
            assert int(answer.headers["Retry-After"]) > 0
            async with listening(shop.other_merchant()) as others:
                await others.heartbeat()
        await eventually(lambda: metric("mktx_event_streams") == 0)
        async with listening(shop) as stream:
            await stream.heartbeat()


async def test_nothing_is_watched_when_nobody_listens(deps: Dependencies) -> None:
    told = deps.settings.model_copy(update=LISTENING)
    app = create_app(replace(deps, settings=told))
    streams = app[EVENT_STREAMS]
    async with served(app) as http:
        shop = Api(http, deps.database, new_id(), new_id(), ["owner"], deps)
        listened = [streams.is_listening]
        for _ in range(2):
            async with listening(shop) as stream:
                listened.append(streams.is_listening)
                await stream.heartbeat()
            await eventually(lambda: not streams.is_listening)
    assert listened == [False, True, True]


@pytest.mark.parametrize("reads", [True, False])
async def test_stopping_waits_for_no_stream(deps: Dependencies, reads: bool) -> None:
    told = deps.settings.model_copy(update={**LISTENING, "event_buffer_bytes": 1 << 30, "event_heartbeat_s": 60.0})
    # Leaving this stops the server, which would wait for an hour.
    async with served(create_app(replace(deps, settings=told))) as http:
        shop = Api(http, deps.database, new_id(), new_id(), ["owner"], deps)
        headers = {"Authorization": f"Bearer {shop.token}"}
        response = await http.get(f"{API}/events", headers=headers, read_bufsize=1024)
        assert response.status == 200
        if not reads:
            conversation_id = await shop.dialogue()
            for _ in range(1_000):
                await shop.inbound(conversation_id, "x" * 10_000)


async def test_stopping_waits_for_nobody_who_catches_up(deps: Dependencies) -> None:
    cut_off = metric("mktx_event_streams_cut_off_total")
    told = deps.settings.model_copy(update={**LISTENING, "event_catch_up": 1_000_000})
    async with served(create_app(replace(deps, settings=told))) as http:
        shop = Api(http, deps.database, new_id(), new_id(), ["owner"], deps)
        async with listening(shop) as stream:
            last_id = stream.last_id
        conversation_id = await shop.dialogue()
        for _ in range(800):
            await shop.inbound(conversation_id, "x" * 10_000)
        headers = {"Authorization": f"Bearer {shop.token}", "Last-Event-ID": last_id}
        response = await http.get(f"{API}/events", headers=headers, read_bufsize=1024)
        assert response.status == 200
    assert metric("mktx_event_streams_cut_off_total") == cut_off


async def test_what_was_erased_is_not_told_again(deps: Dependencies, shop: Api) -> None:
    account_id = await shop.account()
    contact_id = await shop.contact(account_id)
    conversation_id = await shop.conversation(account_id, contact_id)
    now = SystemClock().now()
    async with listening(shop) as stream:
        last_id = stream.last_id
        await shop.inbound(conversation_id, "forget me", now)
        await stream.take(1)
        erasures = ContactErasures(shop.database, deps.settings, settle_s=0)
        assert await erasures.erase(shop.merchant_id, contact_id, shop.user_id, SystemClock())
        (event,) = await stream.take(1)
        assert event.name == "contact.erased"
        assert event.data.items() >= {"id": contact_id, "accountId": account_id}.items()
        await stream.heartbeat()
    assert await shop.database["messages"].count_documents({"merchantId": shop.merchant_id, "source": "erased"}) == 1
    async with listening(shop, last_id=last_id) as stream:
        assert names(await stream.take(1)) == ["contact.erased"]
        await stream.heartbeat()


async def test_a_stream_is_counted_and_not_timed(shop: Api) -> None:
    route = {"route": f"{API}/events", "method": "GET"}
    timed: Callable[[], float] = lambda: metric("mktx_http_request_seconds_count", **route)  # noqa: E731
    before, counted = timed(), metric("mktx_http_requests_total", **route, status="200")
    async with listening(shop) as stream:
        await stream.heartbeat()
    await eventually(lambda: metric("mktx_http_requests_total", **route, status="200") == counted + 1)
    assert timed() == before


async def test_a_document_that_is_not_as_it_should_be_silences_no_other(shop: Api) -> None:
    conversation_id = await shop.dialogue()
    async with listening(shop) as stream:
        await shop.inbound(conversation_id, "broken", direction="sideways")
        whole = await shop.inbound(conversation_id, "whole")
        assert ids(await stream.take(1)) == [whole]
