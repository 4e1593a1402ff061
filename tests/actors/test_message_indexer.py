"""Messages become searchable in the background, also after the database was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from actors.message_indexer import MessageIndexer
from domain.partition import LANES
from storage.client import Client, Database
from storage.message_words import MessageWords
from tests.actors.desk import failing
from tests.storage.arrivals import everything

ALL = range(LANES)


@asynccontextmanager
async def working(database: Database, *, is_behind: Callable[[], bool] = lambda: False) -> AsyncIterator[None]:
    indexer = MessageIndexer(MessageWords(database), ALL, is_behind, look_s=0.01)
    indexer.start()
    yield
    await indexer.stop()


async def leave_notes(database: Database, count: int) -> None:
    messages = [{"_id": f"m{number}", "merchantId": "m1", "content": f"hello {number}"} for number in range(count)]
    notes = [{"_id": f"{number % LANES:02x}-{number:04}", "messageIds": [f"m{number}"]} for number in range(count)]
    await database["messages"].insert_many(messages)
    await database["searchNotes"].insert_many(notes)


async def all_done(database: Database) -> None:
    async with asyncio.timeout(60):
        while await database["searchNotes"].count_documents({}):  # what is waited for is in the database
            await asyncio.sleep(0.01)


async def test_every_note_of_every_lane_is_worked_through(database: Database) -> None:
    await leave_notes(database, 60)
    async with working(database):
        await all_done(database)
    assert [each["words"] for each in await everything(database, "messages", _id="m7")] == [["hello", "7"]]
    assert await everything(database, "messages", words={"$exists": False}) == []


async def test_it_goes_on_beside_events(database: Database) -> None:
    await leave_notes(database, 20)
    async with working(database, is_behind=lambda: True):
        await all_done(database)
    assert await everything(database, "messages", words={"$exists": False}) == []


async def test_a_database_that_fails_stops_nothing(client: Client, database: Database) -> None:
    await leave_notes(database, 3)
    async with failing(client, ["update"], {"times": 1}, errorCode=8000), working(database):
        await all_done(database)
    assert await everything(database, "messages", words={"$exists": False}) == []


async def test_what_is_left_stays_for_the_next(database: Database) -> None:
    await leave_notes(database, 3)
    indexer = MessageIndexer(MessageWords(database), range(1, LANES), lambda: False, look_s=0.01)
    indexer.start()
    async with asyncio.timeout(60):
        while await database["searchNotes"].count_documents({}) > 1:
            await asyncio.sleep(0.01)
    await indexer.stop()
    assert [each["_id"] for each in await everything(database, "searchNotes")] == ["00-0000"]
