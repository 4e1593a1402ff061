from __future__ import annotations

import asyncio

import orjson
import pytest
from pymongo.errors import PyMongoError

from domain.events import EventKind
from domain.lone_message import lone_message
from domain.partition import LANES
from domain.x_normalise import normalise
from storage.client import Client, Database
from storage.inbox import Inbox, entry_of, event_of, lane_of_event
from tests.actors.desk import failing
from tests.domain import x_payloads as x
from tests.storage.arrivals import START, arrive, event, event_count, everything, message

ALL = range(LANES)


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.mark.parametrize("kept", [message("hi"), message("hi", outbound=True), event(EventKind.FOLLOW)])
def test_an_event_is_read_as_it_was_kept(kept) -> None:
    assert event_of(entry_of(kept), START) == kept


def test_a_body_that_is_kept_as_it_came_is_read_as_of_its_arrival() -> None:
    payload = x.aaa(x.item(at="no time"))
    body = orjson.dumps(payload)
    lone = lone_message(payload, body)
    assert lone is not None
    assert entry_of(lone)["body"] == body
    assert [event_of(entry_of(lone), START)] == normalise(payload, START)


async def test_what_was_added_is_read_in_order_of_arrival(inbox: Inbox) -> None:
    events = [message(f"text {number}", user="200") for number in range(30)]
    for start in range(0, 30, 7):
        lanes = await inbox.add(events[start : start + 7], START)
        assert lanes == {lane_of_event(events[0])}
    documents = await inbox.read(ALL, 0, 100)
    assert [event_of(entry, document["receivedAt"]) for document in documents for entry in document["events"]] == events
    assert await inbox.pending() == 30


async def test_a_conversation_is_always_in_the_same_lane(inbox: Inbox) -> None:
    events = [message(user=str(user)) for user in range(100, 150) for _ in range(2)]
    assert await inbox.add(events, START) == {lane_of_event(e) for e in events}
    for lane in ALL:
        documents = await inbox.read(range(lane, lane + 1), lane, 1000)
        found = [event_of(entry, document["receivedAt"]) for document in documents for entry in document["events"]]
        assert found == [e for e in events if lane_of_event(e) == lane]


async def test_nothing_to_add_touches_nothing(inbox: Inbox) -> None:
    assert await inbox.add([], START) == set()
    assert await inbox.pending() == 0
    assert await inbox.oldest() is None


async def test_reading_stops_at_about_as_many_events_as_asked_for(inbox: Inbox) -> None:
    for _ in range(10):
        await inbox.add([message(user="200") for _ in range(5)], START)
    assert event_count(await inbox.read(ALL, 0, 12)) == 15
    assert event_count(await inbox.read(ALL, 0, 50)) == 50


async def test_reading_goes_on_from_a_lane_and_comes_round_to_those_before_it(inbox: Inbox) -> None:
    await inbox.add([message(user=str(user)) for user in range(100, 200)], START)
    from_five = await inbox.read(ALL, 5, 1000)
    assert {int(d["_id"][:2], 16) for d in from_five} == {5, 6, 7}
    for document in from_five:
        await inbox.bury(document, "test", START)
    assert {int(d["_id"][:2], 16) for d in await inbox.read(ALL, 5, 1000)} == {0, 1, 2, 3, 4}
    assert await inbox.read(range(5, 8), 5, 1000) == []


async def test_two_gateways_that_add_at_once_lose_nothing(client: Client, database: Database) -> None:
    inboxes = [Inbox(client, database) for _ in range(3)]
    await asyncio.gather(*(inbox.add([message() for _ in range(4)], START) for inbox in inboxes for _ in range(10)))
    assert await inboxes[0].pending() == 120


async def test_an_insert_that_is_not_known_to_be_durable_is_an_error(client: Client, inbox: Inbox) -> None:
    unsure = {"code": 64, "errmsg": "waiting for replication timed out", "codeName": "WriteConcernFailed"}
    async with failing(client, ["insert"], {"times": 1}, writeConcernError=unsure):
        with pytest.raises(PyMongoError):
            await inbox.add([message()], START)


async def test_a_document_is_split_in_place(inbox: Inbox, database: Database) -> None:
    before, split, after = ([message(f"{name} {n}") for n in range(3)] for name in ("a", "b", "c"))
    for events in (before, split, after):
        await inbox.add(events, START)
    documents = await everything(database, "inbox")
    await inbox.split(documents[1])
    await inbox.split(documents[1])
    now = await inbox.read(ALL, 0, 100)
    assert [len(document["events"]) for document in now] == [3, 1, 1, 1, 3]
    assert [event_of(e, d["receivedAt"]) for d in now for e in d["events"]] == [*before, *split, *after]


async def test_what_is_buried_is_kept_with_its_reason(inbox: Inbox, database: Database) -> None:
    (document,) = await arrive(inbox, database, message("poison"))
    await inbox.bury(document, "failed: KeyError", START)
    await inbox.bury(document, "failed: KeyError", START)
    (letter,) = await everything(database, "deadLetters")
    assert (letter["reason"], letter["events"], letter["at"]) == ("failed: KeyError", document["events"], START)
    assert await inbox.pending() == 0


async def test_a_body_that_nobody_understands_is_kept(inbox: Inbox, database: Database) -> None:
    await inbox.bury_body(b"\x00{", "not an envelope", "letter-1", START)
    (letter,) = await everything(database, "deadLetters")
    assert (bytes(letter["body"]), letter["reason"]) == (b"\x00{", "not an envelope")


async def test_the_oldest_arrival_is_known(inbox: Inbox) -> None:
    await inbox.add([message()], START)
    assert await inbox.oldest() == START
