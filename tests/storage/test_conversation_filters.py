"""Every filter of the list of conversations is served by an index, in its order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.client import Database, Document
from storage.conversations import Assignee, ConversationFilter, query_of
from tests.storage.test_indexes import plan_of

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
COUNT = 2_000


async def store(database: Database, **every: Any) -> None:
    """Store as many conversations of one merchant; `every` says each how many has which fields."""
    documents: list[Document] = [
        {
            "_id": f"{number:06d}",
            "merchantId": "m",
            "accountId": f"a{number % 5}",
            "contactId": f"c{number}",
            "status": "open",
            "assignedToUserId": None,
            "unreadCount": 0 if number % every.get("unread", COUNT) else 3,
            "lastMessageAt": NOW + timedelta(seconds=number),
            **({} if number % every.get("escalated", COUNT) else {"escalated": True}),
        }
        for number in range(1, COUNT + 1)
    ]
    await database["conversations"].insert_many(documents)


async def examined(database: Database, wanted: ConversationFilter, direction: int = -1) -> int:
    sort = {"lastMessageAt": direction, "_id": direction}
    command = {"find": "conversations", "filter": query_of("m", wanted), "sort": sort, "limit": 20}
    explained = await database.command("explain", command, verbosity="executionStats")
    return int(explained["executionStats"]["totalDocsExamined"])


@pytest.mark.parametrize(
    "wanted",
    [
        ConversationFilter(),
        ConversationFilter(status="open"),
        ConversationFilter(account_id="a1"),
        ConversationFilter(assigned=Assignee(None)),
        ConversationFilter(assigned=Assignee("u1")),
        ConversationFilter(unread=False),
        ConversationFilter(escalated=False),
        ConversationFilter(since=NOW, until=NOW + timedelta(hours=1)),
        ConversationFilter(status="open", account_id="a1", unread=False, escalated=False, since=NOW),
    ],
)
@pytest.mark.parametrize("direction", [-1, 1])
async def test_a_list_is_read_from_an_index_in_its_order(
    database: Database, wanted: ConversationFilter, direction: int
) -> None:
    await store(database)
    sort = {"lastMessageAt": direction, "_id": direction}
    stages = await plan_of(database, "conversations", query_of("m", wanted), sort)
    assert "IXSCAN" in stages
    assert not stages & {"COLLSCAN", "SORT"}


@pytest.mark.parametrize("name", ["unread", "escalated"])
@pytest.mark.parametrize("each", [1, 1_000])
async def test_few_and_many_are_both_found_without_looking_at_all(database: Database, name: str, each: int) -> None:
    """Few by an index of their own, many among the latest: the database sees which it is."""
    await store(database, **{name: each})
    assert await examined(database, ConversationFilter(**{name: True})) <= 60  # type: ignore[arg-type]  # both are bool
    assert await examined(database, ConversationFilter(status="open", **{name: True})) <= 60  # type: ignore[arg-type]


async def test_a_contact_s_conversations_are_found_by_the_contact(database: Database) -> None:
    await store(database)
    assert await examined(database, ConversationFilter(contact_id="c7")) <= 2


async def test_a_time_is_a_range_of_the_index(database: Database) -> None:
    await store(database)
    middle = NOW + timedelta(seconds=COUNT // 2)
    assert await examined(database, ConversationFilter(since=middle, until=middle + timedelta(seconds=10))) == 10


async def test_totals_look_at_what_is_unread_only(database: Database) -> None:
    await store(database, unread=1_000)
    query = query_of("m", ConversationFilter(status="open", unread=True))
    command = {"aggregate": "conversations", "pipeline": [{"$match": query}], "cursor": {}}
    explained = await database.command("explain", command, verbosity="executionStats")
    assert explained["executionStats"]["totalDocsExamined"] == 2
