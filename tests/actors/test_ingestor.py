"""Taking events out of the inbox, batch after batch, whatever is in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.ingestor import Ingestor
from domain.events import EventKind
from domain.partition import LANES
from storage.client import Client, Database, Document
from storage.inbox import Inbox, event_of, lane_of_event
from storage.ingest import Ingest, Ingested
from tests.actors.desk import failing
from tests.storage.arrivals import START, Clock, check_counters, connect, event, everything, ingest_of, message
from tests.storage.flow_scenes import active_flow

ALL = range(LANES)


@pytest.fixture
async def inbox(client: Client, database: Database) -> Inbox:
    await connect(database)
    return Inbox(client, database)


@asynccontextmanager
async def working(
    inbox: Inbox,
    ingest: Ingest,
    *,
    lanes: range = ALL,
    batch: int = 50,
    reacted: Callable[[Ingested], Any] | None = None,
) -> AsyncIterator[Ingestor]:
    async def react(ingested: Ingested) -> None:
        if reacted:
            reacted(ingested)

    ingestor = Ingestor(inbox, ingest, lanes, Clock(), batch=batch, reacted=react)
    ingestor.start()
    yield ingestor
    await ingestor.stop()


async def ring(ingestor: Ingestor) -> None:
    await asyncio.wait_for(ingestor.ring(), 60)


async def contents(database: Database, **query: Any) -> list[str]:
    found = await database["messages"].find(query).sort("_id", 1).to_list()
    return [document["content"] for document in found]


async def test_a_ring_returns_when_everything_has_been_dealt_with(
    inbox: Inbox, client: Client, database: Database
) -> None:
    async with working(inbox, ingest_of(client, database), batch=7) as ingestor:
        for start in range(0, 60, 12):
            await inbox.add([message(f"{start + n:03}", user=str(200 + n % 4)) for n in range(12)], START)
        await ring(ingestor)
        assert await inbox.pending() == 0
        assert await database["messages"].count_documents({}) == 60
    for user in range(200, 204):
        shown = await contents(database, twitterUserId=str(user))
        assert shown == sorted(shown)
    await check_counters(database)


async def test_what_arrives_without_a_ring_is_found(
    inbox: Inbox, client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.ingestor._LOOK_S", 0.05)
    async with working(inbox, ingest_of(client, database)):
        await inbox.add([message()], START)
        async with asyncio.timeout(60):
            while not await database["messages"].count_documents({}):
                await asyncio.sleep(0.05)


async def test_it_leaves_lanes_that_are_not_its_own_alone(inbox: Inbox, client: Client, database: Database) -> None:
    events = [message(user=str(user)) for user in range(200, 240)]
    await inbox.add(events, START)
    async with working(inbox, ingest_of(client, database), lanes=range(2, 5)) as ingestor:
        await ring(ingestor)
    left = [event_of(e, d["receivedAt"]) for d in await everything(database, "inbox") for e in d["events"]]
    assert left
    assert {lane_of_event(e) for e in left} == set(ALL) - {2, 3, 4}


async def test_a_flood_in_one_lane_starves_no_other(inbox: Inbox, client: Client, database: Database) -> None:
    flood = message(user="200")
    flooded = lane_of_event(flood)
    other = next(m for m in (message(user=str(u)) for u in range(201, 260)) if lane_of_event(m) != flooded)
    for _ in range(30):
        await inbox.add([message(user="200") for _ in range(5)], START)
    await inbox.add([other], START)
    batches: list[set[int]] = []

    class Watched(Ingest):
        async def apply(self, documents: list[Document]) -> Ingested:
            batches.append({int(document["_id"][:2], 16) for document in documents})
            await inbox.add([message(user="200") for _ in range(5)], START)
            if len(batches) > 12:
                raise asyncio.CancelledError
            return await super().apply(documents)

    usual = ingest_of(client, database)
    ingest = Watched(client, database, usual._accounts, Clock(), erased=usual._erased, flows=usual._flows)
    ingestor = Ingestor(inbox, ingest, ALL, Clock(), batch=10, reacted=_ignore)
    with pytest.raises(asyncio.CancelledError):
        await ingestor._drain()
    assert any(lane_of_event(other) in batch for batch in batches[:6])


async def _ignore(_: Ingested) -> None:
    return


async def test_an_event_that_can_not_be_processed_is_put_aside_alone(
    inbox: Inbox, client: Client, database: Database
) -> None:
    await inbox.add([message(f"{n}") for n in range(5)], START)
    poison = message("poison")
    await inbox.add([message("before"), poison, message("after")], START)
    await database["inbox"].update_one({"events.key": poison.key}, {"$unset": {"events.$.data": ""}})
    unknown = event(EventKind.FOLLOW)
    await inbox.add([unknown, message("last")], START)
    await database["inbox"].update_one({"events.key": unknown.key}, {"$set": {"events.$.kind": "nonsense"}})
    async with working(inbox, ingest_of(client, database)) as ingestor:
        await ring(ingestor)
        assert await inbox.pending() == 0
    letters = await everything(database, "deadLetters")
    assert [e["key"] for letter in letters for e in letter["events"]] == [poison.key, unknown.key]
    assert [letter["reason"] for letter in letters] == ["failed: KeyError", "failed: ValueError"]
    assert await contents(database) == ["0", "1", "2", "3", "4", "before", "after", "last"]
    await check_counters(database)


async def test_what_the_database_refuses_for_good_is_put_aside(
    inbox: Inbox, client: Client, database: Database
) -> None:
    await database.command({"collMod": "messages", "validator": {"content": {"$ne": "refused"}}})
    await inbox.add([message("a"), message("refused"), message("b")], START)
    async with working(inbox, ingest_of(client, database)) as ingestor:
        await ring(ingestor)
    assert await contents(database) == ["a", "b"]
    assert len(await everything(database, "deadLetters")) == 1
    assert await inbox.pending() == 0


@pytest.mark.parametrize(
    "failure",
    [{"errorCode": 50}, {"errorCode": 262}, {"errorCode": 11602}, {"closeConnection": True}],
)
async def test_a_database_that_is_slow_or_away_puts_nothing_aside(
    inbox: Inbox, client: Client, database: Database, failure: dict[str, Any]
) -> None:
    await inbox.add([message("a"), message("b")], START)
    async with working(inbox, ingest_of(client, database)) as ingestor:
        async with failing(client, ["commitTransaction"], {"times": 3}, **failure):
            await ring(ingestor)
        await ring(ingestor)
        await ring(ingestor)
    assert await everything(database, "deadLetters") == []
    assert await contents(database) == ["a", "b"]
    await check_counters(database)


async def test_a_time_limit_while_writing_puts_nothing_aside(inbox: Inbox, client: Client, database: Database) -> None:
    await inbox.add([message("a")], START)
    async with working(inbox, ingest_of(client, database)) as ingestor:
        async with failing(client, ["delete"], {"times": 1}, errorCode=50):
            await ring(ingestor)
        await ring(ingestor)
    assert await everything(database, "deadLetters") == []
    assert await contents(database) == ["a"]


async def test_a_reading_that_breaks_does_not_end_the_work(inbox: Inbox, client: Client, database: Database) -> None:
    broken = True

    class Breaking(Inbox):
        async def read(self, lanes: range, start: int, limit: int) -> list[Document]:
            nonlocal broken
            if broken:
                broken = False
                raise KeyError("events")
            return await super().read(lanes, start, limit)

    await inbox.add([message("a")], START)
    async with working(Breaking(client, database), ingest_of(client, database)) as ingestor:
        await ring(ingestor)
        await ring(ingestor)
        assert await contents(database) == ["a"]


async def test_accounts_whose_sends_were_settled_are_told(inbox: Inbox, client: Client, database: Database) -> None:
    told: list[Ingested] = []
    async with working(inbox, ingest_of(client, database), reacted=told.append) as ingestor:
        await inbox.add([message()], START)
        await ring(ingestor)
        assert told == []
        (stored,) = await everything(database, "messages")
        own = {**stored, "_id": "own", "twitterMessageId": None, "direction": "outbound", "content": "Answer"}
        own |= {"status": "unknown", "pending": True}
        await database["messages"].insert_one(own)
        await inbox.add([message("Answer", outbound=True, x_id="77")], START)
        await ring(ingestor)
    assert [(t.touched_accounts, t.settled) for t in told] == [({"account-100"}, (("own", "77"),))]


async def test_two_ingestors_of_the_same_lanes_have_one_effect(
    inbox: Inbox, client: Client, database: Database
) -> None:
    one, two = ingest_of(client, database, "one"), ingest_of(client, database, "two")
    async with working(inbox, one, batch=20) as first, working(inbox, two, batch=20) as second:
        for start in range(0, 100, 10):
            await inbox.add([message(f"{start + n:03}", user=str(200 + n % 3)) for n in range(10)], START)
            await asyncio.gather(ring(first), ring(second))
    assert await inbox.pending() == 0
    assert await database["messages"].count_documents({}) == 100
    await check_counters(database)


async def test_stopping_answers_whoever_rings(inbox: Inbox, client: Client, database: Database) -> None:
    async with working(inbox, ingest_of(client, database)) as ingestor:
        await inbox.add([message()], START)
        ringing = [asyncio.create_task(ingestor.ring()) for _ in range(3)]
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*ringing), 10)
    await ring(ingestor)
    assert await inbox.pending() + await database["messages"].count_documents({}) == 1


async def test_an_opt_out_is_reacted_to(inbox: Inbox, client: Client, database: Database) -> None:
    told: list[Ingested] = []
    async with working(inbox, ingest_of(client, database), reacted=told.append) as ingestor:
        await inbox.add([message("Hello"), message("STOP")], START)
        await ring(ingestor)
        await inbox.add([message("Hello?")], START)
        await ring(ingestor)
    assert [ingested.waiting_accounts for ingested in told] == [{"account-100"}]


async def test_a_conversation_that_the_chatbot_is_to_look_at_is_reacted_to(
    inbox: Inbox, client: Client, database: Database
) -> None:
    await database["aiSettings"].insert_one({"_id": "m1", "enabled": True})
    told: list[Ingested] = []
    async with working(inbox, ingest_of(client, database), reacted=told.append) as ingestor:
        await inbox.add([message("Where is my order?")], START)
        await ring(ingestor)
    due = {each["_id"] async for each in database["conversations"].find({"botDue": True})}
    assert len(due) == 1
    assert [ingested.bot_due for ingested in told] == [due]


async def test_a_message_that_starts_a_flow_is_reacted_to_and_no_matter_for_the_chatbot(
    inbox: Inbox, client: Client, database: Database
) -> None:
    await database["aiSettings"].insert_one({"_id": "m1", "enabled": True})
    await active_flow(database, "message_received", config={"keywords": ["order"]})
    told: list[Ingested] = []
    async with working(inbox, ingest_of(client, database), reacted=told.append) as ingestor:
        await inbox.add([message("Where is my order?"), message("Where is my invoice?", user="201")], START)
        await ring(ingestor)
    contacts = {each["twitterUserId"]: each["_id"] for each in await everything(database, "contacts")}
    conversations = {each["twitterUserId"]: each["_id"] for each in await everything(database, "conversations")}
    assert frozenset[str]().union(*(ingested.flow_contacts for ingested in told)) == {contacts["200"]}
    assert frozenset[str]().union(*(ingested.bot_due for ingested in told)) == {conversations["201"]}


async def test_it_is_behind_while_batches_are_full(
    inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    read = inbox.read

    async def watched(lanes: range, start: int, limit: int) -> list[Document]:
        seen.append(ingestor.is_behind)
        return await read(lanes, start, limit)

    monkeypatch.setattr(inbox, "read", watched)
    for count in (5, 5, 1):
        await inbox.add([message() for _ in range(count)], START)
    async with working(inbox, ingest_of(database.client, database), batch=5) as ingestor:
        await ring(ingestor)
        # Nothing read, a full batch, another one, a short one.
        assert seen[:4] == [False, True, True, False]
        assert not ingestor.is_behind
        ingestor.ease(60)
        assert ingestor.is_behind
