from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pymongo.errors import AutoReconnect

from actors.runtime.errors import Fenced
from config.settings import Settings
from domain.clock import SystemClock
from gateway.events.kinds import EVENTS
from storage.actor_states import ActorStates
from storage.change_position import Position
from storage.changes import Change, Changes
from storage.client import Database, session_of
from storage.contact_erasure import ContactErasures
from storage.webhook_deliveries import event_id_of
from tests.actors.webhook_stage import PATIENCE_S, WebhookStage
from tests.metric_values import value

PENDING = "mktx_outgoing_webhooks_pending"
MEASURED = "mktx_outgoing_webhooks_measured_timestamp_seconds"


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[WebhookStage]:
    stage = WebhookStage(database, settings)
    yield stage
    await stage.stop()


async def written(stage: WebhookStage, endpoint_id: str) -> list[dict[str, Any]]:
    return await stage.database["webhookDeliveries"].find({"endpointId": endpoint_id}).sort("_id", 1).to_list(None)


async def has_written(stage: WebhookStage, endpoint_id: str, count: int) -> list[dict[str, Any]]:
    async def are_there() -> bool:
        return len(await written(stage, endpoint_id)) >= count

    await stage.until(are_there)
    return await written(stage, endpoint_id)


async def has_passed(stage: WebhookStage) -> None:
    """Return once the feed is past everything that has happened until now."""
    watch = await stage.endpoint("http://127.0.0.1:1/", merchant="a merchant that nobody is")
    await stage.message("mark", merchant="a merchant that nobody is")
    await has_written(stage, watch[0], 1)


@asynccontextmanager
async def failing(
    stage: WebhookStage, *commands: str, code: int, times: int, namespace: str = "$cmd.aggregate"
) -> AsyncIterator[None]:
    """Have the server refuse commands, on this database's changes or a collection, a number of times."""
    admin = stage.database.client.admin
    data = {"failCommands": [*commands], "errorCode": code, "namespace": f"{stage.database.name}.{namespace}"}
    await admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        await admin.command("configureFailPoint", "failCommand", mode="off")


async def test_what_happens_is_told_as_rest_shows_it(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, secret = await stage.endpoint(receiver.url)
    await stage.follow()
    message_id = await stage.message("Where is my order?")
    await stage.has(receiver, 1)
    (received,) = receiver.received
    assert received.payload["type"] == "message.created"
    assert received.payload["data"]["id"] == message_id
    assert received.payload["data"]["content"] == "Where is my order?"
    assert "merchantId" not in received.payload["data"]
    assert stage.check(secret, received) == received.id
    await stage.ends(endpoint_id, "delivered")


async def test_an_endpoint_that_is_made_later_is_told_what_happens_from_then_on(stage: WebhookStage) -> None:
    await stage.follow()
    await stage.message("before")
    receiver = await stage.receiver()
    await stage.endpoint(receiver.url, "message.created")
    late, _ = await stage.endpoint(receiver.url, "message.updated", "message.created", merchant="m2")
    await stage.message("after")
    message_id = await stage.message("of another", merchant="m2")
    await stage.database["messages"].update_one({"_id": message_id}, {"$set": {"status": "sent"}})
    await stage.has(receiver, 3)
    texts = sorted(each.payload["data"]["content"] for each in receiver.received)
    assert texts == ["after", "of another", "of another"]
    assert {each["type"] for each in await written(stage, late)} == {"message.created", "message.updated"}


@pytest.mark.parametrize("most_named", [1_000, 0])
async def test_only_what_is_asked_for_and_never_what_is_another_merchants(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch, most_named: int
) -> None:
    """Also where there are too many merchants for the database to leave out all others."""
    monkeypatch.setattr("gateway.events.outgoing._MOST_NAMED", most_named)
    urls = "http://127.0.0.1:1/"
    everything, _ = await stage.endpoint(urls, *EVENTS)
    updates, _ = await stage.endpoint(urls, "message.updated")
    one_account, _ = await stage.endpoint(urls, "message.created", account="a2")
    others, _ = await stage.endpoint(urls, *EVENTS, merchant="m2")
    stage.deaf = True
    await stage.follow()
    first = await stage.message(account="a1")
    second = await stage.message(account="a2")
    await stage.database["messages"].update_one({"_id": first}, {"$set": {"status": "sent"}})
    await stage.database["messages"].update_one({"_id": first}, {"$set": {"content": "quietly"}})
    foreign = await stage.message(merchant="m2")
    await stage.message(merchant="without an endpoint")
    await has_passed(stage)

    async def told(endpoint_id: str) -> list[tuple[str, str]]:
        return sorted((each["type"], each["subject"]["id"]) for each in await written(stage, endpoint_id))

    assert await told(everything) == sorted(
        [("message.created", first), ("message.created", second), ("message.updated", first)]
    )
    assert await told(updates) == [("message.updated", first)]
    assert await told(one_account) == [("message.created", second)]
    assert await told(others) == [("message.created", foreign)]


async def test_who_changes_what_they_want_is_told_by_that_from_then_on(stage: WebhookStage) -> None:
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/", "message.updated")
    stage.deaf = True
    await stage.follow()
    await stage.message("not asked for")
    await has_passed(stage)
    await stage.endpoints.change("m1", endpoint_id, {"events": ["message.created"]}, stage.clock.now())
    wanted = await stage.message("asked for")
    await has_passed(stage)
    assert [each["subject"]["id"] for each in await written(stage, endpoint_id)] == [wanted]


async def test_what_follows_a_change_of_what_is_watched_is_read_again(stage: WebhookStage) -> None:
    """It came through the former pipeline, which has left some of it out."""
    await stage.follow()
    feed = stage.held()
    await stage.hosts[-1].stop(10)
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/")
    changed = Change(position_of(2**31, 1, b"a"), "webhookEndpoints", endpoint_id, {"merchantId": "m1"}, {})
    message = Change(position_of(2**31, 2, b"a"), "messages", "x", {"merchantId": "m1", "accountId": "a1"}, {})
    changes = Changes(stage.database, feed._watched)
    await feed._take(changes, [changed, message, position_of(2**31, 3, b"a")])
    assert feed._position == changed.position
    assert await written(stage, endpoint_id) == []
    # Once the pipeline is the right one, a change that does not concern it needs no other.
    await feed._take(changes, [changed, message, position_of(2**31, 3, b"a")])
    assert feed._position == position_of(2**31, 3, b"a")
    assert len(await written(stage, endpoint_id)) == 1


async def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.follow()
    await stage.endpoints.change("m1", endpoint_id, {"status": "disabled"}, stage.clock.now())
    await has_passed(stage)
    await stage.message("unheard")
    await has_passed(stage)
    await stage.endpoints.change("m1", endpoint_id, {"status": "active"}, stage.clock.now())
    await stage.message("heard")
    await stage.has(receiver, 1)
    assert [each.payload["data"]["content"] for each in receiver.received] == ["heard"]


async def test_while_nobody_has_an_endpoint_only_endpoints_are_watched(stage: WebhookStage) -> None:
    await stage.follow()
    assert [each.collection for each in stage.held()._watched] == ["webhookEndpoints"]
    await stage.endpoint("http://127.0.0.1:1/", "conversation.closed")

    async def watches_more() -> bool:
        return len(stage.held()._watched) == 2

    await stage.until(watches_more)
    _, conversations = stage.held()._watched
    # Conversations change with each message: what nobody wants is not even sent by the database.
    assert (conversations.collection, conversations.any_change) == ("conversations", False)
    assert conversations.shown == {"merchantId": {"$in": ["m1"]}}


async def test_what_happens_while_nothing_runs_is_told_afterwards(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    await stage.endpoint(receiver.url)
    await stage.follow()
    await stage.message("one")
    await stage.has(receiver, 1)
    await stage.kill()
    await stage.message("two")
    late = await stage.receiver()
    await stage.endpoint(late.url)
    await stage.message("three")
    await stage.follow()
    await stage.has(receiver, 3)
    await stage.has(late, 1)
    texts = {each.payload["data"]["content"] for each in receiver.received}
    assert texts == {"one", "two", "three"}
    assert len(set(receiver.ids)) == 3


async def test_an_endpoint_that_is_made_before_the_first_start_misses_nothing(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    await stage.follow()
    await stage.kill()
    await stage.endpoint(receiver.url)
    await stage.message("hello")
    await stage.follow()
    await stage.has(receiver, 1)


async def test_who_dies_after_writing_deliveries_writes_none_of_them_twice(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the stream and its position: what is read again has the same ids."""
    monkeypatch.setattr("actors.webhook_feed._SAVE_BUSY_S", 3600.0)
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.follow()
    position = (await stage.database["webhookFeeds"].find_one({}))["state"]["position"]  # type: ignore[index]
    for number in range(5):
        await stage.message(str(number))
    await stage.ends(endpoint_id, "delivered", 5)
    before = await written(stage, endpoint_id)
    await stage.kill()
    stored = await stage.database["webhookFeeds"].find_one({})
    assert stored is not None
    assert stored["state"]["position"] == position
    await stage.follow()
    await stage.message("afterwards")
    await stage.ends(endpoint_id, "delivered", 6)
    assert (await written(stage, endpoint_id))[:5] == before
    assert len(receiver.ids) == len(set(receiver.ids)) == 6


async def test_who_dies_before_anything_is_written_leaves_it_to_the_next(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.follow()
    reached = asyncio.Event()

    async def dies(_deliveries: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(stage.deliveries, "add", dies)
        await stage.message("hello")
        await reached.wait()
        await stage.kill()
    assert await written(stage, endpoint_id) == []
    await stage.follow()
    await stage.ends(endpoint_id, "delivered")
    assert len(receiver.received) == 1


@pytest.mark.parametrize("command", ["insert", "find"])
async def test_a_database_that_fails_for_a_while_makes_nobody_miss_anything(stage: WebhookStage, command: str) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url, "message.created", "message.updated")
    await stage.follow()
    collection = {"insert": "webhookDeliveries", "find": "messages"}[command]
    message_id = await stage.message("first")
    await stage.ends(endpoint_id, "delivered", 1)
    async with failing(stage, command, code=1, times=2, namespace=collection):
        await stage.database["messages"].update_one({"_id": message_id}, {"$set": {"status": "sent"}})
        await stage.ends(endpoint_id, "delivered", 2)
    await stage.message("second")
    await stage.ends(endpoint_id, "delivered", 3)
    assert receiver.types == ["message.created", "message.updated", "message.created"]


async def test_what_nobody_told_the_endpoints_actor_is_found(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    stage.deaf = True
    await stage.follow()
    await stage.message("hello")
    await has_written(stage, endpoint_id, 1)
    assert receiver.received == []
    assert endpoint_id in await stage.deliveries.waiting(stage.clock.now())


async def test_deliveries_name_what_they_are_about_and_say_nothing_of_it(stage: WebhookStage) -> None:
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/")
    stage.deaf = True
    await stage.follow()
    await stage.message("a secret of a customer")
    (delivery,) = await has_written(stage, endpoint_id, 1)
    assert delivery["contactId"] == "contact"
    assert "a secret of a customer" not in str(delivery)
    assert UUID(delivery["eventId"]).version == 7


async def test_an_erased_contact_leaves_nothing_and_its_erasure_is_told(
    stage: WebhookStage, settings: Settings
) -> None:
    receiver = await stage.receiver(500)
    endpoint_id, _ = await stage.endpoint(receiver.url, "message.created", "contact.erased")
    await stage.known()
    await stage.follow()
    await stage.message("my address")
    await stage.has(receiver, 1)
    await stage.tried(endpoint_id, 1)
    assert await ContactErasures(stage.database, settings).erase("m1", "contact", "somebody", SystemClock())

    async def is_told() -> bool:
        return "contact.erased" in receiver.types

    await stage.until(is_told)
    (left,) = await written(stage, endpoint_id)
    assert (left["type"], left["subject"]) == (
        "contact.erased",
        {"collection": "erasureReceipts", "id": "contact"},
    )
    erased = receiver.received[receiver.types.index("contact.erased")]
    assert erased.payload["data"]["id"] == "contact"


async def test_changes_of_one_transaction_are_told_each_under_its_own_id(stage: WebhookStage) -> None:
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/")
    stage.deaf = True
    await stage.follow()
    template = await stage.database["messages"].find_one({"_id": await stage.message("first")})
    assert template is not None

    async def work(session: Any) -> None:
        both = [{**template, "_id": f"message-{number}", "twitterMessageId": str(number)} for number in range(2)]
        await stage.database["messages"].insert_many(both, session=session)

    async with session_of(stage.database.client) as session:
        await session.with_transaction(work)
    deliveries = await has_written(stage, endpoint_id, 3)
    assert len({each["eventId"] for each in deliveries}) == 3
    assert {each["subject"]["id"] for each in deliveries} >= {"message-0", "message-1"}


async def test_only_the_newest_epoch_follows(stage: WebhookStage) -> None:
    await stage.endpoint("http://127.0.0.1:1/")
    stage.deaf = True
    await stage.follow()
    former, feed = stage.held(), stage.feed()
    await stage.follow()
    await stage.message()

    async def has_ended() -> bool:
        return bool(former._fenced)

    await stage.until(has_ended)
    with pytest.raises(Fenced):
        await feed.follow()
    assert stage.held().busy()


async def test_a_host_of_an_older_epoch_does_not_take_over(stage: WebhookStage) -> None:
    await stage.start()
    await ActorStates(stage.database, "webhookFeeds").claim("all", 1_000_000)
    with pytest.raises(Fenced):
        await stage.feed().follow()


async def test_where_the_past_is_lost_everybody_is_told_and_it_goes_on(stage: WebhookStage) -> None:
    receiver, disabled = await stage.receiver(), await stage.receiver()
    endpoint_id, secret = await stage.endpoint(receiver.url, "conversation.closed")
    off, _ = await stage.endpoint(disabled.url)
    await stage.endpoints.change("m1", off, {"status": "disabled"}, stage.clock.now())
    await stage.follow()
    await stage.hosts.pop().stop(10)
    stored = await stage.database["webhookFeeds"].find_one({})
    assert stored is not None
    lost = Position.parse(stored["state"]["position"])
    await stage.message("lost")
    before = REGISTRY.get_sample_value("mktx_outgoing_webhooks_total", {"outcome": "reset"}) or 0.0
    async with failing(stage, "aggregate", code=286, times=1):
        await stage.start()
        await stage.feed().follow()
        await stage.has(receiver, 1)
    (reset,) = receiver.received
    assert (reset.payload["type"], reset.payload["data"]) == ("reset", {})
    assert stage.check(secret, reset) == reset.id == event_id_of(lost, "reset")
    assert REGISTRY.get_sample_value("mktx_outgoing_webhooks_total", {"outcome": "reset"}) == before + 1
    await stage.endpoints.change("m1", endpoint_id, {"events": ["message.created"]}, stage.clock.now())
    await stage.message("on we go")
    await stage.has(receiver, 2)
    assert disabled.received == []


async def test_a_stream_that_breaks_goes_on_where_it_was(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    await stage.endpoint(receiver.url)
    await stage.follow()
    await stage.message("before")
    await stage.has(receiver, 1)
    async with failing(stage, "getMore", "aggregate", code=6, times=4):
        for number in range(5):
            await stage.message(str(number))
        await stage.has(receiver, 6)
    assert len(set(receiver.ids)) == 6


async def test_the_position_is_written_on_the_way_out(stage: WebhookStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.webhook_feed._SAVE_BUSY_S", 3600.0)
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/")
    stage.deaf = True
    await stage.follow()
    await stage.message()
    (delivery,) = await has_written(stage, endpoint_id, 1)
    await stage.hosts.pop().stop(10)
    stored = await stage.database["webhookFeeds"].find_one({})
    assert stored is not None
    position = Position.parse(stored["state"]["position"])
    assert position.time.time >= (delivery["happenedAt"] - timedelta(seconds=1)).timestamp()
    await stage.database["webhookDeliveries"].delete_many({})
    await stage.follow()
    await has_passed(stage)
    assert await written(stage, endpoint_id) == []


async def test_who_stops_does_not_wait_for_the_next_change(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.webhook_feed._WAIT_MS", 3_600_000)
    monkeypatch.setattr("actors.webhook_feed._SAVE_BUSY_S", 3600.0)
    monkeypatch.setattr("actors.webhook_feed._SAVE_IDLE_S", 3600.0)
    await stage.endpoint("http://127.0.0.1:1/")
    await stage.follow()
    await has_passed(stage)

    async def waits_for_a_change() -> bool:
        waiting = {"command.getMore": {"$exists": True}, "command.maxTimeMS": 3_600_000}
        operations = await stage.database.client.admin.aggregate([{"$currentOp": {}}, {"$match": waiting}])
        return await operations.to_list(None) != [] and stage.held()._reader._read.empty()

    await stage.until(waits_for_a_change)
    async with asyncio.timeout(PATIENCE_S):
        await stage.held().drain()
    # A stream that broke, as one does that waits longer than the driver, would not have got to write where it was.
    stored = await stage.database["webhookFeeds"].find_one({})
    assert stored is not None
    assert Position.parse(stored["state"]["position"]) == stage.held()._position


async def waits(stage: WebhookStage, count: int) -> None:
    async def is_known() -> bool:
        return value(PENDING) == count

    await stage.until(is_known)


async def test_what_waits_is_measured(stage: WebhookStage) -> None:
    stage.deaf = True
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/")
    await stage.follow()
    for number in range(3):
        await stage.message(str(number))
    await has_written(stage, endpoint_id, 3)
    stage.held()._measured_at = -1e9

    await waits(stage, 3)
    assert abs(value(MEASURED) - time.time()) < 60


async def test_who_follows_no_more_leaves_no_number_and_says_how_old_the_last_one_is(stage: WebhookStage) -> None:
    stage.deaf = True
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/")
    await stage.follow()
    await stage.message()
    await has_written(stage, endpoint_id, 1)
    before = value(MEASURED)
    stage.held()._measured_at = -1e9

    async def is_counted_anew() -> bool:
        return value(MEASURED) > before and stage.held()._measured_at > 0

    await stage.until(is_counted_anew)
    measured = value(MEASURED)
    assert value(PENDING) == 1
    await stage.hosts.pop().stop(10)
    assert (value(PENDING), value(MEASURED)) == (0, measured)


async def test_where_it_can_not_be_counted_the_last_number_grows_old(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.deaf = True
    await stage.endpoint("http://127.0.0.1:1/")
    await stage.follow()
    await has_passed(stage)
    tries = 0

    async def fails(*_: object) -> int:
        nonlocal tries
        tries += 1
        raise AutoReconnect("no")

    before = value(MEASURED)
    with monkeypatch.context() as patched:
        patched.setattr(stage.deliveries, "pending", fails)
        stage.held()._measured_at = -1e9

        async def has_failed() -> bool:
            return tries >= 2

        await stage.until(has_failed)
        assert value(MEASURED) == before

    async def is_new() -> bool:
        return value(MEASURED) > before

    await stage.until(is_new)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**20),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**20),
    st.binary(min_size=1, max_size=8),
)
def test_ids_of_events_follow_the_order_of_changes(
    second: int, place: int, other_second: int, other_place: int, tail: bytes
) -> None:
    first, other = position_of(second, place, tail), position_of(other_second, other_place, tail)
    id_, other_id = event_id_of(first, "message.created"), event_id_of(other, "message.created")
    assert UUID(id_).version == 7
    assert (id_ < other_id) is (first < other)
    assert event_id_of(first, "message.updated") != id_
    assert event_id_of(position_of(second, place, tail), "message.created") == id_


def position_of(second: int, place: int, tail: bytes) -> Position:
    at = Timestamp(second, place)
    return Position.of({"_data": (bytes([0x82]) + at.time.to_bytes(4) + at.inc.to_bytes(4) + tail).hex()})
