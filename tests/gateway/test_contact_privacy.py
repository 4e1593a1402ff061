"""Exporting and erasing contacts over HTTP; what is erased, and how it survives being cut off, is storage's to test."""

from __future__ import annotations

from typing import Any

import orjson
from bson import encode

from domain.ids import new_id
from domain.lone_message import lone_message
from domain.x_normalise import normalise
from storage.inbox import Inbox
from tests.domain import x_payloads as x
from tests.gateway.conftest import NOW, Api

SECRETS = ("planted_username", "Planted Name", "planted text", "planted note", "55512345678901")


async def planted(api: Api) -> tuple[str, str]:
    """Return the ids of a contact and a conversation that hold what must not be left."""
    account_id = await api.account()
    contact_id = await api.contact(
        account_id,
        "planted_username",
        displayName="Planted Name",
        twitterUserId="55512345678901",
        attributes={"notes": "planted note"},
    )
    conversation_id = await api.conversation(account_id, contact_id, twitterUserId="55512345678901")
    await api.inbound(conversation_id, "planted text")
    return contact_id, conversation_id


async def left_of(api: Api) -> set[str]:
    found = set()
    for name in await api.database.list_collection_names():
        async for document in api.database[name].find():
            if any(secret.encode() in encode(document) for secret in SECRETS):
                found.add(name)
    return found


async def test_an_erased_contact_is_gone_with_all_that_was_said_and_answered(api: Api) -> None:
    contact_id, conversation_id = await planted(api)
    headers = {"Idempotency-Key": new_id()}
    content = {"content": "planted text of ours"}
    assert (await api.post(f"/conversations/{conversation_id}/messages", content, headers=headers))[0] == 200
    assert await left_of(api) == {"contacts", "conversations", "messages", "idempotencyKeys"}
    assert await api.delete(f"/contacts/{contact_id}") == (200, {"success": True, "data": None})
    assert await left_of(api) == set()
    for path in (f"/contacts/{contact_id}", f"/conversations/{conversation_id}", f"/contacts/{contact_id}/export"):
        assert (await api.get(path))[0] == 404
    assert (await api.delete(f"/contacts/{contact_id}"))[0] == 404


async def test_everything_that_is_held_is_exported(api: Api) -> None:
    contact_id, conversation_id = await planted(api)
    other = await api.dialogue()
    await api.inbound(other, "somebody else's")
    named = {"_id": new_id(), "merchantId": api.merchant_id, "contactId": contact_id}
    await api.database["activities"].insert_one({**named, "kind": "follow", "at": NOW, "data": {}})
    status, answer = await api.get(f"/contacts/{contact_id}/export")
    assert status == 200
    exported: dict[str, Any] = answer["data"]
    assert exported["contact"]["id"] == contact_id
    assert exported["contact"]["attributes"] == {"notes": "planted note"}
    assert exported["contact"]["twitterUserId"] == "55512345678901"
    assert [each["id"] for each in exported["conversations"]] == [conversation_id]
    assert [each["content"] for each in exported["messages"]] == ["planted text"]
    assert [each["kind"] for each in exported["activities"]] == ["follow"]
    assert exported["waitingEvents"] == exported["campaignRecipients"] == exported["flowExecutions"] == []
    assert "merchantId" not in str(exported)
    assert (await api.delete(f"/contacts/{contact_id}"))[0] == 200


async def test_an_event_that_waits_is_exported_too(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id, twitterUserId="4242")
    account = await api.database["accounts"].find_one({"_id": account_id})
    assert account is not None
    shop = account["twitterUserId"]
    payloads = [
        x.aaa(x.item("1", "4242", shop, "waiting"), for_user=shop),
        x.aaa(x.item("2", "4243", shop, "somebody else's"), for_user=shop),
        x.aaa(x.item("3", "4242", "1", "to another shop"), for_user="1"),
    ]
    kept = [lone_message(payload, orjson.dumps(payload)) for payload in payloads]
    inbox = Inbox(api.database.client, api.database)
    await inbox.add([each for each in kept if each is not None], NOW)
    await inbox.add(normalise(x.aaa(x.item("4", "4242", shop, "read already"), for_user=shop), NOW), NOW)
    _, answer = await api.get(f"/contacts/{contact_id}/export")
    waiting = answer["data"]["waitingEvents"]
    assert sorted(each["data"]["text"] for each in waiting) == ["read already", "waiting"]
    assert waiting[0].keys() == waiting[1].keys()
    await api.database["inbox"].delete_many({})
