from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from storage.client import Database, Document
from storage.contact_queries import ContactFilter, contact_query
from storage.indexes import INDEXES, ensure_indexes


def as_stored(key: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return an index's key as the database names it: the fields of a text index are one of its own."""
    plain = tuple((name, kind) for name, kind in key.items() if kind != "text")
    return plain if len(plain) == len(key) else (*plain, ("_fts", "text"), ("_ftsx", 1))


async def test_every_index_is_there_and_making_them_again_changes_nothing(database: Database) -> None:
    await ensure_indexes(database)
    for name, models in INDEXES.items():
        there = await database[name].index_information()
        wanted = {as_stored(dict(model.document["key"])) for model in models}
        assert wanted <= {tuple(index["key"]) for index in there.values()}


async def plan_of(database: Database, collection: str, query: Document, sort: dict[str, int]) -> set[str]:
    explained = await database.command(
        "explain", {"find": collection, "filter": query, "sort": sort, "limit": 20}, verbosity="queryPlanner"
    )
    stages: set[str] = set()

    def walk(stage: dict[str, Any]) -> None:
        stages.add(stage["stage"])
        for inner in (stage.get("inputStage"), *stage.get("inputStages", ())):
            if inner:
                walk(inner)

    walk(explained["queryPlanner"]["winningPlan"])
    return stages


NEWEST_CONTACT = {"_id": -1}
NEWEST_CONVERSATION = {"lastMessageAt": -1, "_id": -1}
ANY = {"$in": ["open", "closed"]}


@pytest.mark.parametrize(
    ("collection", "query", "sort"),
    [
        ("contacts", contact_query("m", ContactFilter()), NEWEST_CONTACT),
        ("contacts", contact_query("m", ContactFilter(account_id="a")), NEWEST_CONTACT),
        ("contacts", contact_query("m", ContactFilter(tags=("vip",))), NEWEST_CONTACT),
        ("conversations", {"merchantId": "m", "status": ANY}, NEWEST_CONVERSATION),
        ("conversations", {"merchantId": "m", "status": "open", "accountId": "a"}, NEWEST_CONVERSATION),
        ("conversations", {"merchantId": "m", "status": ANY, "assignedToUserId": None}, NEWEST_CONVERSATION),
        ("messages", {"merchantId": "m", "conversationId": "c"}, {"at": -1, "_id": -1}),
        ("messages", {"accountId": "a", "pending": True}, {"priority": 1, "createdAt": 1}),
    ],
)
async def test_lists_are_read_from_an_index_in_their_order(
    database: Database, collection: str, query: Document, sort: dict[str, int]
) -> None:
    stages = await plan_of(database, collection, query, sort)
    assert "IXSCAN" in stages
    assert not stages & {"COLLSCAN", "SORT"}


async def test_a_search_is_one_range_of_the_index(database: Database) -> None:
    people = [
        {"_id": str(n), "merchantId": "m", "accountId": "a", "twitterUserId": str(n), "searchTerms": [f"person{n}"]}
        for n in range(500)
    ]
    await database["contacts"].insert_many(people)
    query = contact_query("m", ContactFilter(search="person77"))
    command = {"find": "contacts", "filter": query, "sort": NEWEST_CONTACT, "limit": 20}
    explained = await database.command("explain", command, verbosity="executionStats")
    assert explained["executionStats"]["nReturned"] == 1
    assert explained["executionStats"]["totalKeysExamined"] <= 2
    assert explained["executionStats"]["totalDocsExamined"] == 1


async def test_uniqueness_is_kept_by_the_database(database: Database) -> None:
    pairs: list[tuple[str, Document]] = [
        ("users", {"email": "a@example.com"}),
        ("accounts", {"twitterUserId": "1", "connected": True}),
        ("contacts", {"accountId": "a", "twitterUserId": "1"}),
        ("conversations", {"accountId": "a", "contactId": "c", "status": "open"}),
        ("messages", {"accountId": "a", "twitterMessageId": "1"}),
    ]
    for name, document in pairs:
        await database[name].insert_one({"_id": "one", **document})
        with pytest.raises(DuplicateKeyError):
            await database[name].insert_one({"_id": "two", **document})


async def test_what_may_be_there_twice_may_be_there_twice(database: Database) -> None:
    pairs: list[tuple[str, Document]] = [
        ("accounts", {"twitterUserId": "1", "connected": False}),
        ("conversations", {"accountId": "a", "contactId": "c", "status": "closed"}),
        ("messages", {"accountId": "a", "twitterMessageId": None}),
    ]
    for name, document in pairs:
        await database[name].insert_many([{"_id": "one", **document}, {"_id": "two", **document}])
        assert await database[name].count_documents(document) == 2
