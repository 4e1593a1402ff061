"""Change streams over each driver that has them, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from config.settings import Settings
from storage.change_position import Position
from storage.changes import Change, Changes, ChangesFrom, HistoryLost, Watched
from storage.client import Database, close_client, database_of, open_client

WATCHED = [
    Watched("notes", ("_id", "merchantId", "text"), changes=("status",), shown={"status": {"$ne": "hidden"}}),
    Watched("things", ("_id", "merchantId", "count"), changes=("count",), any_change=True),
]
NOTE = {"merchantId": "m", "text": "hello", "secret": "s", "status": "new"}


@pytest.fixture(params=["pymongo", "motor"])
async def database(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Database]:
    client = open_client(settings.model_copy(update={"mongodb_driver": request.param}))
    yield database_of(client, settings)
    await client.drop_database(settings.mongodb_database)
    await close_client(client)


async def take(stream: ChangesFrom, count: int) -> list[Change]:
    changes: list[Change] = []
    while len(changes) < count:
        change = await stream.next()
        if change is not None:
            changes.append(change)
    return changes


async def test_what_is_watched_is_seen_and_no_more_of_it(database: Database) -> None:
    async with Changes(database, WATCHED).open(None) as stream:
        await database["others"].insert_one({"_id": "o"})
        await database["notes"].insert_one({"_id": "hidden", **NOTE, "status": "hidden"})
        await database["notes"].insert_one({"_id": "n", **NOTE})
        await database["notes"].update_one({"_id": "n"}, {"$set": {"text": "changed"}})
        await database["notes"].update_one({"_id": "n"}, {"$set": {"status": "done", "text": "again"}})
        await database["things"].insert_one({"_id": "t", "merchantId": "m", "count": 1})
        await database["things"].update_one({"_id": "t"}, {"$set": {"count": None}})
        await database["things"].update_one({"_id": "t"}, {"$set": {"other": 1}})
        changes = await take(stream, 5)
        assert [(each.collection, each.id, each.inserted, each.updated) for each in changes] == [
            ("notes", "n", {"_id": "n", "merchantId": "m", "text": "hello"}, {}),
            ("notes", "n", None, {"status": "done"}),
            ("things", "t", {"_id": "t", "merchantId": "m", "count": 1}, {}),
            ("things", "t", None, {"count": None}),
            ("things", "t", None, {}),
        ]
        positions = [each.position for each in changes]
        assert positions == sorted(set(positions))
        assert stream.position >= positions[-1]


async def test_a_stream_goes_on_after_a_position_of_another(database: Database) -> None:
    async with Changes(database, WATCHED).open(None) as stream:
        await database["notes"].insert_many([{"_id": f"{number}", **NOTE} for number in range(6)])
        changes = await take(stream, 6)
    for narrower in (WATCHED, WATCHED[:1]):
        async with Changes(database, narrower).open(changes[2].position) as stream:
            assert await take(stream, 3) == changes[3:]


async def test_a_stream_that_begins_now_is_where_any_other_gets_to(database: Database) -> None:
    await database["others"].insert_one({"_id": "o"})
    changes = Changes(database, WATCHED)
    async with changes.open(None) as first:
        since = first.position
        await database["others"].insert_one({"_id": "p"})
        async with changes.open(None) as second, changes.open(since, wait_ms=50) as late:
            # Nothing more is written: a place that only the next change would reach is not found.
            for _ in range(20):
                assert await late.batch(second.position) == []
                if late.position >= second.position:
                    break
            assert late.position >= second.position


async def test_a_batch_is_what_there_is(database: Database) -> None:
    changes = Changes(database, WATCHED)
    async with changes.open(None) as stream:
        since = stream.position
    await database["notes"].insert_many([{"_id": f"{number}", **NOTE} for number in range(9)])
    async with changes.open(since, wait_ms=50) as stream:
        batch = await stream.batch(Position(b"\x82" + b"\xff" * 8))
        assert [each.id for each in batch] == [str(number) for number in range(9)]


async def test_a_database_that_is_dropped_has_no_more_changes(database: Database) -> None:
    await database["notes"].insert_one({"_id": "n", **NOTE})
    async with Changes(database, WATCHED).open(None) as stream:
        await database.client.drop_database(database.name)
        with pytest.raises(HistoryLost):
            await take(stream, 2)


async def test_documents_are_read_for_the_merchants_asked_for(database: Database) -> None:
    changes = Changes(database, WATCHED)
    await database["notes"].insert_many(
        [
            {"_id": "1", **NOTE},
            {"_id": "2", **NOTE, "merchantId": "other"},
            {"_id": "3", **NOTE, "status": "hidden"},
            {"_id": "4", **NOTE},
        ]
    )
    found = await changes.read("notes", ["1", "2", "3"], {"m"})
    assert found == {"1": {"_id": "1", "merchantId": "m", "text": "hello"}}
