from __future__ import annotations

import pytest

from domain.ids import new_id
from tests.gateway.conftest import Api, later


async def ids(api: Api, query: str) -> list[str]:
    status, answer = await api.get(f"/conversations{query}")
    assert status == 200
    assert answer["pagination"]["total"] == len(answer["data"])
    return [each["id"] for each in answer["data"]]


async def colleague(api: Api, status: str = "active") -> str:
    user_id = new_id()
    await api.database["users"].insert_one(
        {
            "_id": user_id,
            "merchantId": api.merchant_id,
            "email": f"{user_id}@example.com",
            "passwordHash": "",
            "name": "A Colleague",
            "roles": ["agent"],
            "status": status,
        }
    )
    return user_id


async def test_a_listed_conversation_has_the_fields_of_the_api_document(api: Api) -> None:
    conversation_id = await api.dialogue(messageCount=12)
    _, answer = await api.get("/conversations")
    (shown,) = answer["data"]
    assert shown["id"] == conversation_id
    assert shown["channel"] == "direct_message"
    assert shown["messageCount"] == 12
    assert shown["assignedToUserId"] is None
    assert shown["startedAt"] == "2026-01-18T10:00:00Z"
    assert shown["contact"] == {"username": "customer_john", "displayName": "John Doe"}


async def test_conversations_are_filtered_and_sorted_by_their_latest_message(api: Api) -> None:
    account_id = await api.account()
    user_id = new_id()
    old = await api.conversation(account_id, await api.contact(account_id), assignedToUserId=user_id)
    new = await api.conversation(account_id, await api.contact(account_id), lastMessageAt=later(hours=1))
    closed = await api.conversation(
        account_id, await api.contact(account_id), status="closed", lastMessageAt=later(minutes=30)
    )
    other = await api.dialogue(lastMessageAt=later(hours=2))
    assert await ids(api, "") == [other, new, closed, old]
    assert await ids(api, f"?accountId={account_id}") == [new, closed, old]
    assert await ids(api, f"?accountId={account_id}&status=open") == [new, old]
    assert await ids(api, "?status=closed") == [closed]
    assert await ids(api, f"?assignedTo={user_id}") == [old]
    assert await ids(api, "?assignedTo=none") == [other, new, closed]
    assert await ids(api, "?assignedTo=none&status=open") == [other, new]


async def test_a_conversation_comes_with_its_messages_oldest_first(api: Api) -> None:
    conversation_id = await api.dialogue()
    second = await api.inbound(conversation_id, "second", later(minutes=2))
    first = await api.inbound(conversation_id, "first", later(minutes=1, milliseconds=5))
    _, answer = await api.get(f"/conversations/{conversation_id}")
    assert [each["id"] for each in answer["data"]["messages"]] == [first, second]
    shown = answer["data"]["messages"][0]
    assert shown["conversationId"] == conversation_id
    assert (shown["direction"], shown["type"], shown["content"]) == ("inbound", "text", "first")
    assert (shown["attachments"], shown["isFromBot"]) == ([], False)
    assert shown["sentAt"] == "2026-01-18T10:01:00.005Z"


async def test_a_long_conversation_says_that_there_are_older_messages(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.conversations._MOST_MESSAGES", 2)
    conversation_id = await api.dialogue()
    for number, has_older in ((1, False), (2, False), (3, True)):
        await api.inbound(conversation_id, str(number), later(minutes=number))
        _, answer = await api.get(f"/conversations/{conversation_id}")
        shown = [each["content"] for each in answer["data"]["messages"]]
        assert (shown, answer["data"]["hasOlderMessages"]) == (["1", "2", "3"][max(0, number - 2) : number], has_older)


async def test_messages_are_left_out_when_not_asked_for(api: Api) -> None:
    conversation_id = await api.dialogue()
    await api.inbound(conversation_id, "hello")
    _, answer = await api.get(f"/conversations/{conversation_id}?includeMessages=false")
    assert answer["data"]["messages"] is None


async def test_history_is_paged_in_either_order(api: Api) -> None:
    conversation_id = await api.dialogue()
    for number in range(5):
        await api.inbound(conversation_id, str(number), later(minutes=number))
    _, answer = await api.get(f"/conversations/{conversation_id}/messages?skip=2&take=2")
    assert [each["content"] for each in answer["data"]] == ["2", "3"]
    assert answer["pagination"] == {"page": 2, "limit": 2, "total": 5, "totalPages": 3}
    _, newest = await api.get(f"/conversations/{conversation_id}/messages?take=2&order=desc")
    assert [each["content"] for each in newest["data"]] == ["4", "3"]


async def test_messages_that_arrived_together_are_in_the_order_in_which_they_were_sent(api: Api) -> None:
    conversation_id = await api.dialogue()
    for number in (3, 1, 2):
        await api.inbound(conversation_id, str(number), later(seconds=number), createdAt=later(minutes=1))
    _, answer = await api.get(f"/conversations/{conversation_id}/messages")
    assert [each["content"] for each in answer["data"]] == ["1", "2", "3"]


async def test_closing_keeps_the_first_reason(api: Api) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.put(f"/conversations/{conversation_id}/close", {"reason": "resolved"})
    assert status == 200
    assert (answer["data"]["status"], answer["data"]["closeReason"]) == ("closed", "resolved")
    _, again = await api.put(f"/conversations/{conversation_id}/close", {"reason": "another"})
    assert again["data"] == answer["data"]


async def test_closing_needs_no_body(api: Api) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.call("PUT", f"/conversations/{conversation_id}/close")
    assert (status, answer["data"]["status"], answer["data"]["closeReason"]) == (200, "closed", None)


async def test_a_conversation_is_assigned_to_a_person_and_taken_back(api: Api) -> None:
    conversation_id, user_id = await api.dialogue(), await colleague(api)
    _, answer = await api.post(f"/conversations/{conversation_id}/assign", {"userId": user_id})
    assert answer["data"]["assignedToUserId"] == user_id
    assert await ids(api, f"?assignedTo={user_id}") == [conversation_id]
    _, freed = await api.post(f"/conversations/{conversation_id}/assign", {"userId": None})
    assert freed["data"]["assignedToUserId"] is None


async def test_people_take_conversations_themselves(api: Api) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/conversations/{conversation_id}/assign", {"userId": api.user_id})
    assert (status, answer["data"]["assignedToUserId"]) == (200, api.user_id)


async def test_a_person_of_another_merchant_or_one_who_left_is_refused(api: Api) -> None:
    conversation_id = await api.dialogue()
    strangers = [await colleague(api.other_merchant()), await colleague(api, status="disabled"), new_id()]
    for user_id in strangers:
        status, answer = await api.post(f"/conversations/{conversation_id}/assign", {"userId": user_id})
        assert (status, answer["details"]["field"]) == (422, "userId")
    _, shown = await api.get(f"/conversations/{conversation_id}")
    assert shown["data"]["assignedToUserId"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/messages", None),
        ("POST", "/messages", {"content": "hello"}),
        ("PUT", "/close", {"reason": "resolved"}),
        ("POST", "/assign", {"userId": None}),
    ],
)
async def test_another_merchant_s_conversation_is_not_there(api: Api, method: str, path: str, body: object) -> None:
    conversation_id = await api.dialogue()
    before = await api.database["conversations"].find_one({"_id": conversation_id})
    stranger = api.other_merchant()
    status, answer = await stranger.call(method, f"/conversations/{conversation_id}{path}", json=body)
    unknown_status, unknown = await stranger.call(method, f"/conversations/{new_id()}{path}", json=body)
    assert (status, answer["code"]) == (unknown_status, unknown["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert answer["error"] == unknown["error"]
    assert await api.database["conversations"].find_one({"_id": conversation_id}) == before
    assert await api.database["messages"].count_documents({"conversationId": conversation_id}) == 0


async def test_another_merchant_s_conversations_are_not_listed(api: Api) -> None:
    await api.dialogue()
    assert await ids(api.other_merchant(), "") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/messages", {"content": "hello"}), ("PUT", "/close", {}), ("POST", "/assign", {"userId": None})],
)
async def test_viewers_only_read(api: Api, method: str, path: str, body: object) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.as_role("viewer").call(method, f"/conversations/{conversation_id}{path}", json=body)
    assert (status, answer["code"]) == (403, "FORBIDDEN")
    assert (await api.as_role("viewer").get(f"/conversations/{conversation_id}"))[0] == 200
    assert (await api.as_role("agent").call(method, f"/conversations/{conversation_id}{path}", json=body))[0] == 200
