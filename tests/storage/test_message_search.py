"""What a search costs the database: bounded, and read from an index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import InvalidRequest
from domain.message_words import Asked, asked_for, words_of
from storage.client import Database, Document
from storage.message_search import MOST_FOUND, MessageFilter, MessageSearch
from storage.paging import Slice
from tests.storage.test_indexes import plan_of

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
NEWEST = {"at": -1, "_id": -1}
ANY = MessageFilter()
#: MongoDB's code of a command that took longer than it was given.
MAX_TIME_MS_EXPIRED = 50


def asked(text: str) -> Asked:
    found = asked_for(text)
    assert found is not None
    return found


async def store(database: Database, texts: list[str], merchant_id: str = "m1", **fields: Any) -> None:
    documents = [
        {
            "_id": f"{merchant_id}-{number:06d}",
            "merchantId": merchant_id,
            "accountId": "a1",
            "conversationId": f"c{number % 7}",
            "direction": "inbound",
            "content": text,
            "words": list(words_of(text)),
            "at": NOW + timedelta(seconds=number),
            **fields,
        }
        for number, text in enumerate(texts)
    ]
    await database["messages"].insert_many(documents)


async def query_of(search: MessageSearch, text: str, wanted: MessageFilter = ANY) -> Document:
    return await search._query("m1", asked(text), wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        MessageFilter(),
        MessageFilter(account_id="a1"),
        MessageFilter(direction="inbound", since=NOW, until=NOW + timedelta(days=1)),
        MessageFilter(conversation_id="c1"),
    ],
)
@pytest.mark.parametrize("text", ["order", "order refund"])
async def test_a_search_is_read_from_an_index_in_its_order(
    database: Database, text: str, wanted: MessageFilter
) -> None:
    await store(database, [f"order refund {number}" for number in range(50)])
    stages = await plan_of(database, "messages", await query_of(MessageSearch(database), text, wanted), NEWEST)
    assert "IXSCAN" in stages
    assert not stages & {"COLLSCAN", "SORT"}


async def test_a_search_looks_at_no_more_than_it_answers(database: Database) -> None:
    await store(database, ["common"] * 500 + ["common rare"] * 3 + ["common"] * 500)
    await store(database, ["common rare"] * 500, "m2")
    search = MessageSearch(database)
    for text, most in (("common", 25), ("rare", 10), ("common rare", 25)):
        command = {"find": "messages", "filter": await query_of(search, text), "sort": NEWEST, "limit": 20}
        explained = await database.command("explain", command, verbosity="executionStats")
        assert explained["executionStats"]["totalDocsExamined"] <= most


async def test_no_more_than_the_newest_are_found(database: Database) -> None:
    await store(database, ["hello there"] * (MOST_FOUND + 50))
    search = MessageSearch(database)
    for text in ("hello", '"hello there"'):
        last, total = await search.page("m1", asked(text), MessageFilter(), Slice(MOST_FOUND - 5, 20))
        assert (len(last), total) == (5, MOST_FOUND)
        beyond, _ = await search.page("m1", asked(text), MessageFilter(), Slice(MOST_FOUND, 20))
        assert beyond == []
        first, _ = await search.page("m1", asked(text), MessageFilter(), Slice(0, 1))
        assert first[0]["_id"] == f"m1-{MOST_FOUND + 49:06d}"


async def test_conversations_are_those_of_the_messages_each_once(database: Database) -> None:
    await store(database, ["hello"] * 20)
    found = await MessageSearch(database).conversation_ids("m1", asked("hello"), MessageFilter())
    assert sorted(found) == [f"c{number}" for number in range(7)]


async def test_what_takes_too_long_is_given_up(database: Database) -> None:
    await store(database, ["hello"])
    search = MessageSearch(database)
    with pytest.raises(InvalidRequest) as refused:
        async with taking_too_long(database):
            await search.page("m1", asked('"hello there"'), MessageFilter(), Slice())
    with pytest.raises(InvalidRequest):
        async with taking_too_long(database):
            await search.conversation_ids("m1", asked("hello"), MessageFilter())
    assert [problem.field for problem in refused.value.problems] == ["q"]


@asynccontextmanager
async def taking_too_long(database: Database) -> AsyncIterator[None]:
    """Have the server give up what is read of these messages, as it does after the time limit of a command."""
    admin, fail_point = database.client.admin, {"configureFailPoint": "failCommand"}
    failure = {
        "failCommands": ["find", "aggregate", "count"],
        "namespace": f"{database.name}.messages",
        "errorCode": MAX_TIME_MS_EXPIRED,
    }
    await admin.command(fail_point | {"mode": "alwaysOn", "data": failure})
    try:
        yield
    finally:
        await admin.command(fail_point | {"mode": "off"})
