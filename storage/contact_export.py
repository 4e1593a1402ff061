"""Everything that is held about a contact (contract, part 5, "Contacts"): what an erasure would erase."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from storage.client import Database, Document
from storage.contact_holdings import BY_CONTACT, Person, people_of, waiting_events
from storage.inbox import entry_of, event_of


async def holdings_of(database: Database, merchant_id: str, contact_id: str) -> dict[str, object] | None:
    """Return the contact, and by collection the documents about it, oldest first; nothing where there is no contact.

    Documents are as they are kept, with their `_id` as `id` and without the merchant.
    """
    contact = await database["contacts"].find_one({"_id": contact_id, "merchantId": merchant_id})
    if contact is None:
        return None
    people = await people_of(database, contact)
    # What was said and done before a merge names the contacts of that time until it is moved.
    of_contact = {"merchantId": merchant_id, "contactId": {"$in": [each.contact_id for each in people]}}
    conversations, waiting, *others = await asyncio.gather(
        _found(database, "conversations", of_contact),
        _waiting(database, people),
        *(_found(database, name, of_contact) for name in BY_CONTACT),
    )
    ids = [conversation["id"] for conversation in conversations]
    messages = await _found(database, "messages", {"merchantId": merchant_id, "conversationId": {"$in": ids}})
    return {
        "contact": _shown(contact),
        "conversations": conversations,
        "messages": messages,
        "waitingEvents": waiting,
        **dict(zip(BY_CONTACT, others, strict=True)),
    }


async def _found(database: Database, collection: str, query: Mapping[str, object]) -> list[Document]:
    # Ids grow with time; what has another kind of id is in a stable order all the same.
    return [_shown(document) async for document in database[collection].find(query).sort("_id", 1)]


async def _waiting(database: Database, people: Sequence[Person]) -> list[Document]:
    wanted = {(each.for_user_id, each.twitter_user_id) for each in people}
    found = database["inbox"].find({"$or": [waiting_events(*each) for each in sorted(wanted)]}).sort("_id", 1)
    return [
        entry_of(event_of(entry, document["receivedAt"]))
        async for document in found
        for entry in document["events"]
        if (entry["forUserId"], entry["participantId"]) in wanted
    ]


def _shown(document: Document) -> Document:
    rest = {name: value for name, value in document.items() if name not in {"_id", "merchantId"}}
    return {"id": document["_id"], **rest}
