from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from domain.ids import new_id
from storage.notes import Notes
from tests.gateway.conftest import NOW, Api


async def noted(api: Api, conversation_id: str, text: str = "a regular") -> dict[str, Any]:
    status, answer = await api.post(f"/conversations/{conversation_id}/notes", {"text": text})
    assert status == 200, answer
    return dict(answer["data"])


async def texts(api: Api, conversation_id: str) -> list[str]:
    _, answer = await api.get(f"/conversations/{conversation_id}/notes")
    assert answer["pagination"]["total"] == len(answer["data"])
    return [each["text"] for each in answer["data"]]


async def note_count(api: Api, conversation_id: str) -> int:
    _, answer = await api.get(f"/conversations/{conversation_id}")
    return int(answer["data"]["noteCount"])


async def test_notes_are_listed_oldest_first_and_counted(api: Api) -> None:
    conversation_id = await api.dialogue()
    assert await note_count(api, conversation_id) == 0
    first = await noted(api, conversation_id, "first")
    await noted(api, conversation_id, "second")
    assert await texts(api, conversation_id) == ["first", "second"]
    assert await note_count(api, conversation_id) == 2
    assert (first["authorUserId"], first["conversationId"]) == (api.user_id, conversation_id)
    _, page = await api.get(f"/conversations/{conversation_id}/notes?skip=1&take=1")
    assert [each["text"] for each in page["data"]] == ["second"]


async def test_a_note_is_no_message_and_reaches_nobody(api: Api) -> None:
    conversation_id = await api.dialogue()
    await noted(api, conversation_id, "owes us money")
    _, answer = await api.get(f"/conversations/{conversation_id}")
    assert answer["data"]["messages"] == []
    assert answer["data"]["messageCount"] == 1
    assert await api.database["messages"].count_documents({"conversationId": conversation_id}) == 0
    _, found = await api.get("/messages/search?q=money")
    assert found["data"] == []


async def test_a_repeated_request_makes_one_note(api: Api) -> None:
    conversation_id = await api.dialogue()
    notes, note_id = Notes(api.database), new_id()
    for _ in range(2):
        added = await notes.add(api.merchant_id, conversation_id, note_id, api.user_id, "once", NOW)
        assert added is not None
        assert added["_id"] == note_id
    assert await texts(api, conversation_id) == ["once"]
    assert await note_count(api, conversation_id) == 1


async def test_its_author_changes_and_deletes_a_note(api: Api) -> None:
    agent = api.as_role("agent")
    conversation_id = await api.dialogue()
    note = await noted(agent, conversation_id)
    path = f"/conversations/{conversation_id}/notes/{note['id']}"
    status, answer = await agent.put(path, {"text": "an old friend"})
    assert (status, answer["data"]["text"]) == (200, "an old friend")
    assert answer["data"]["createdAt"] == note["createdAt"]
    assert answer["data"]["updatedAt"] >= note["updatedAt"]
    assert (await agent.delete(path))[0] == 200
    assert await texts(api, conversation_id) == []
    assert await note_count(api, conversation_id) == 0
    assert (await agent.delete(path))[0] == 404
    assert await note_count(api, conversation_id) == 0


@pytest.mark.parametrize(("role", "status"), [("agent", 403), ("admin", 200), ("owner", 200)])
async def test_a_note_of_somebody_else_is_an_admin_s_to_change(api: Api, role: str, status: int) -> None:
    conversation_id = await api.dialogue()
    note = await noted(api.as_role("agent"), conversation_id)
    path = f"/conversations/{conversation_id}/notes/{note['id']}"
    other = replace(api.as_role(role), user_id=new_id())
    assert (await other.put(path, {"text": "changed"}))[0] == status
    assert await texts(api, conversation_id) == ["changed" if status == 200 else "a regular"]
    assert (await other.delete(path))[0] == status
    assert await note_count(api, conversation_id) == (0 if status == 200 else 1)


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 10_001, None])
async def test_a_note_says_something_and_not_too_much(api: Api, text: str | None) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/conversations/{conversation_id}/notes", {"text": text})
    assert (status, answer["details"]["field"]) == (422, "text")
    await noted(api, conversation_id, "x" * 10_000)


async def test_a_note_of_another_conversation_is_not_there(api: Api) -> None:
    first, second = await api.dialogue(), await api.dialogue()
    note = await noted(api, first)
    path = f"/conversations/{second}/notes/{note['id']}"
    assert (await api.put(path, {"text": "changed"}))[0] == 404
    assert (await api.delete(path))[0] == 404
    assert await texts(api, first) == ["a regular"]


async def test_notes_are_exported_and_erased_with_the_contact(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    conversation_id = await api.conversation(account_id, contact_id)
    await noted(api, conversation_id, "planted note")
    _, answer = await api.get(f"/contacts/{contact_id}/export")
    assert [each["text"] for each in answer["data"]["conversationNotes"]] == ["planted note"]
    assert (await api.delete(f"/contacts/{contact_id}"))[0] == 200
    assert await api.database["conversationNotes"].count_documents({"merchantId": api.merchant_id}) == 0
    assert (await api.post(f"/conversations/{conversation_id}/notes", {"text": "too late"}))[0] == 404


async def test_no_note_is_left_of_a_contact_that_is_erased_at_that_moment(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    conversation_id = await api.conversation(account_id, contact_id)
    writing = [api.post(f"/conversations/{conversation_id}/notes", {"text": "planted note"}) for _ in range(8)]
    erased, *answers = await asyncio.gather(api.delete(f"/contacts/{contact_id}"), *writing)
    assert erased[0] == 200
    assert {status for status, _ in answers} <= {200, 404}
    assert await api.database["conversationNotes"].count_documents({"merchantId": api.merchant_id}) == 0


async def test_notes_follow_a_contact_that_is_merged(api: Api) -> None:
    account_id = await api.account()
    kept, other = await api.contact(account_id), await api.contact(account_id)
    conversation_id = await api.conversation(account_id, other)
    await noted(api, conversation_id, "of the other")
    status, answer = await api.post(f"/contacts/{kept}/merge", {"contactId": other})
    assert status == 200, answer
    _, exported = await api.get(f"/contacts/{kept}/export")
    assert [each["text"] for each in exported["data"]["conversationNotes"]] == ["of the other"]
