from __future__ import annotations

from dataclasses import replace

import pytest

from domain.ids import new_id
from tests.gateway.conftest import Api, later


async def ids(api: Api, query: str) -> list[str]:
    status, answer = await api.get(f"/conversations?{query}")
    assert status == 200, answer
    assert answer["pagination"]["total"] == len(answer["data"])
    return [each["id"] for each in answer["data"]]


async def unread_count(api: Api, conversation_id: str) -> int:
    _, answer = await api.get(f"/conversations/{conversation_id}?includeMessages=false")
    return int(answer["data"]["unreadCount"])


async def test_conversations_of_one_contact(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    old = await api.conversation(account_id, contact_id, status="closed")
    new = await api.conversation(account_id, contact_id, lastMessageAt=later(hours=1))
    await api.dialogue()
    assert await ids(api, f"contactId={contact_id}") == [new, old]
    assert await ids(api, f"contactId={contact_id}&status=closed") == [old]


async def test_read_and_unread(api: Api) -> None:
    read = await api.dialogue(unreadCount=0)
    unread = await api.dialogue(unreadCount=3, lastMessageAt=later(hours=1))
    assert await ids(api, "unread=true") == [unread]
    assert await ids(api, "unread=false") == [read]
    assert await ids(api, "") == [unread, read]


async def test_a_conversation_that_nobody_has_escalated_is_not_escalated(api: Api) -> None:
    plain = await api.dialogue()
    escalated = await api.dialogue(escalated=True, lastMessageAt=later(hours=2))
    handed_back = await api.dialogue(escalated=False, lastMessageAt=later(hours=1))
    assert await ids(api, "escalated=true") == [escalated]
    assert await ids(api, "escalated=false") == [handed_back, plain]
    _, answer = await api.get("/conversations")
    assert [each["escalated"] for each in answer["data"]] == [True, False, False]


async def test_the_time_of_the_last_message(api: Api) -> None:
    first, second, third = [await api.dialogue(lastMessageAt=later(hours=hour)) for hour in range(3)]
    assert await ids(api, "from=2026-01-18T11:00:00Z") == [third, second]
    assert await ids(api, "to=2026-01-18T11:00:00Z") == [first]
    assert await ids(api, "from=2026-01-18T10:30:00Z&to=2026-01-18T12:00:00Z") == [second]
    assert await ids(api, "order=asc") == [first, second, third]


@pytest.mark.parametrize(
    ("query", "field"),
    [("unread=perhaps", "unread"), ("from=today", "from"), ("order=up", "order"), ("tag=vip", "tag")],
)
async def test_a_filter_that_is_none_is_refused(api: Api, query: str, field: str) -> None:
    status, answer = await api.get(f"/conversations?{query}")
    assert (status, answer["details"]["field"]) == (400, field)


async def test_reading_is_noted_as_often_as_wanted(api: Api) -> None:
    conversation_id = await api.dialogue(unreadCount=3)
    for _ in range(2):
        status, answer = await api.call("PUT", f"/conversations/{conversation_id}/read")
        assert (status, answer["data"]["unreadCount"]) == (200, 0)
    assert await unread_count(api, conversation_id) == 0


async def test_what_is_closed_is_read(api: Api) -> None:
    conversation_id = await api.dialogue(unreadCount=3)
    _, answer = await api.put(f"/conversations/{conversation_id}/close", {})
    assert answer["data"]["unreadCount"] == 0


async def test_unread_conversations_are_counted_by_account_and_for_the_caller(api: Api) -> None:
    accounts = sorted([await api.account(), await api.account()])
    for account_id, unread, user_id in (
        (accounts[0], 2, api.user_id),
        (accounts[0], 1, None),
        (accounts[0], 0, api.user_id),
        (accounts[1], 5, new_id()),
    ):
        contact_id = await api.contact(account_id)
        await api.conversation(account_id, contact_id, unreadCount=unread, assignedToUserId=user_id)
    # What is closed waits for nobody.
    await api.conversation(accounts[1], await api.contact(accounts[1]), status="closed")
    _, answer = await api.get("/conversations/unread")
    assert answer["data"] == {
        "conversations": 3,
        "assignedToMe": 1,
        "accounts": [
            {"accountId": accounts[0], "conversations": 2},
            {"accountId": accounts[1], "conversations": 1},
        ],
        "complete": True,
    }
    _, other = await replace(api, user_id=new_id()).get("/conversations/unread")
    assert (other["data"]["conversations"], other["data"]["assignedToMe"]) == (3, 0)


async def test_nothing_unread_is_nothing(api: Api) -> None:
    _, answer = await api.get("/conversations/unread")
    assert answer["data"] == {"conversations": 0, "assignedToMe": 0, "accounts": [], "complete": True}
