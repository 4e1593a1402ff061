"""Exporting and erasing contacts over HTTP; what is erased, and how it survives being cut off, is storage's to test."""

from __future__ import annotations

from typing import Any

from bson import encode

from domain.ids import new_id
from tests.gateway.conftest import Api

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
    activity = {"_id": new_id(), "merchantId": api.merchant_id, "contactId": contact_id, "kind": "follow", "data": {}}
    await api.database["activities"].insert_one(activity)
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
    mine = {"forUserId": account["twitterUserId"], "participantId": "4242", "data": {"text": "waiting"}}
    events = [mine, mine | {"participantId": "4243"}, mine | {"forUserId": "1"}]
    await api.database["inbox"].insert_one({"_id": new_id(), "events": events})
    _, answer = await api.get(f"/contacts/{contact_id}/export")
    assert answer["data"]["waitingEvents"] == [mine]
    await api.database["inbox"].delete_many({})
