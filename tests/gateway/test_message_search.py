from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from domain.message_words import words_of
from tests.gateway.conftest import Api, later


async def said(api: Api, conversation_id: str, text: str, minutes: float = 0, **fields: Any) -> str:
    """Store a message as it is once it is searchable."""
    return await api.inbound(conversation_id, text, later(minutes=minutes), words=list(words_of(text)), **fields)


async def found(api: Api, query: str) -> list[str]:
    status, answer = await api.get(f"/messages/search?{query}")
    assert status == 200, answer
    assert answer["pagination"]["total"] == len(answer["data"])
    return [each["id"] for each in answer["data"]]


async def test_a_message_is_found_with_its_conversation_and_contact(api: Api) -> None:
    conversation_id = await api.dialogue()
    message_id = await said(api, conversation_id, "Where is my order #12345?")
    _, answer = await api.get("/messages/search?q=ORDER")
    (message,) = answer["data"]
    assert (message["id"], message["content"]) == (message_id, "Where is my order #12345?")
    assert message["conversation"]["id"] == message["conversationId"] == conversation_id
    assert message["conversation"]["contact"] == {"username": "customer_john", "displayName": "John Doe"}
    assert "words" not in message


async def test_the_newest_comes_first_page_by_page(api: Api) -> None:
    conversation_id = await api.dialogue()
    ids = [await said(api, conversation_id, "hello", minute) for minute in range(5)]
    assert await found(api, "q=hello") == ids[::-1]
    _, answer = await api.get("/messages/search?q=hello&skip=1&take=2")
    assert [each["id"] for each in answer["data"]] == [ids[3], ids[2]]
    assert answer["pagination"] == {"page": 1, "limit": 2, "total": 5, "totalPages": 3}


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("don hang", True),
        ("Đơn Hàng", True),
        ('"đơn hàng"', True),
        ('"hàng đơn"', False),
        ("hàng trả", False),
        ("退款", True),
        ("款退", False),
        ("12345", True),
        ("!?", False),
    ],
)
async def test_words_and_phrases_of_any_language(api: Api, query: str, hit: bool) -> None:
    message_id = await said(api, await api.dialogue(), "Đơn hàng #12345 退款")
    assert await found(api, f"q={quote(query)}") == ([message_id] if hit else [])


@pytest.mark.parametrize("query", ['{"$gt":""}', "$where", ".*", "/order/", "-order", 'a"', "\x00", "order\\"])
async def test_a_search_is_data(api: Api, query: str) -> None:
    await said(api, await api.dialogue(), "something else")
    assert await found(api, f"q={quote(query)}") == []


async def test_conditions_narrow_a_search(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    first = await api.conversation(account_id, contact_id, status="closed")
    second = await api.conversation(account_id, contact_id)
    other = await api.dialogue()
    one = await said(api, first, "hello", 0)
    two = await said(api, second, "hello", 10, direction="outbound")
    three = await said(api, other, "hello", 20)
    assert await found(api, "q=hello") == [three, two, one]
    assert await found(api, f"q=hello&accountId={account_id}") == [two, one]
    assert await found(api, f"q=hello&contactId={contact_id}") == [two, one]
    assert await found(api, f"q=hello&conversationId={first}") == [one]
    assert await found(api, f"q=hello&conversationId={other}&contactId={contact_id}") == []
    assert await found(api, "q=hello&direction=outbound") == [two]
    assert await found(api, "q=hello&from=2026-01-18T10:10:00Z") == [three, two]
    assert await found(api, "q=hello&from=2026-01-18T10:00:00Z&to=2026-01-18T10:20:00Z") == [two, one]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "q"),
        ("?q=", "q"),
        (f"?q={'x' * 201}", "q"),
        ("?q=a&direction=up", "direction"),
        ("?q=a&from=today", "from"),
    ],
)
async def test_a_search_that_says_nothing_is_refused(api: Api, query: str, field: str) -> None:
    status, answer = await api.get(f"/messages/search{query}")
    assert (status, answer["details"]["field"]) == (400, field)


async def test_nothing_of_another_merchant_is_found(api: Api) -> None:
    conversation_id = await api.dialogue()
    await said(api, conversation_id, "hello")
    stranger = api.other_merchant()
    assert await found(stranger, "q=hello") == []
    assert await found(stranger, f"q=hello&conversationId={conversation_id}") == []
    _, answer = await stranger.get("/conversations?search=hello")
    assert answer["data"] == []


async def test_conversations_are_found_by_what_was_said_in_them(api: Api) -> None:
    account_id = await api.account()
    first = await api.conversation(account_id, await api.contact(account_id), lastMessageAt=later(hours=2))
    second = await api.conversation(account_id, await api.contact(account_id), lastMessageAt=later(hours=1))
    await api.dialogue()
    for conversation_id in (second, first, first):
        await said(api, conversation_id, "a broken cup")
    await said(api, second, "and a plate")

    async def ids(query: str) -> list[str]:
        _, answer = await api.get(f"/conversations?{query}")
        assert answer["pagination"]["total"] == len(answer["data"])
        return [each["id"] for each in answer["data"]]

    assert await ids("search=cup") == [first, second]
    assert await ids("search=plate") == [second]
    # All words in one message.
    assert await ids("search=cup%20plate") == []
    phrase = quote('"broken cup"')
    assert await ids(f"search={phrase}&order=asc") == [second, first]
    assert await ids("search=cup&status=closed") == []
    assert await ids(f"search=cup&accountId={account_id}") == [first, second]
    assert await ids("search=%3F%3F") == []
