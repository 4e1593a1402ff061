"""Outbound messages that X has: what that means for every document, for many messages in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo import UpdateOne

from domain.campaign_outcomes import Remembered, remembered
from domain.ingestion import Draft, count_sent, seen
from storage import campaign_outcomes
from storage.client import Database, Document, Session
from storage.message_counts import additions
from storage.message_words import note_in

#: States of a message that X may have.
UNCONFIRMED = ["sending", "unknown"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """X has a message of ours under this id, since a moment; `settled_by` is what tells so."""

    message_id: str
    x_id: str
    at: datetime
    settled_by: str


async def mark_sent_in(
    database: Database, session: Session, confirmations: Sequence[Confirmation], writer: str
) -> list[Document]:
    """Within a transaction: X has these messages, which count for their month and for their campaign.

    Returns those for which that is news, as they were, each with its `at`. What it means for contact and conversation
    is the caller's to write, in the same transaction. `writer` keeps counts apart that are written side by side.
    """
    by_id = {each.message_id: each for each in confirmations}
    query = {"_id": {"$in": list(by_id)}, "status": {"$in": UNCONFIRMED}}
    messages = await database["messages"].find(query, session=session).to_list(None)
    if not messages:
        return []
    writes = []
    for message in messages:
        known = by_id[message["_id"]]
        message["at"] = known.at
        sent = {"status": "sent", "twitterMessageId": known.x_id, "sentAt": known.at, "at": known.at}
        writes.append(
            UpdateOne(
                {"_id": message["_id"]},
                {"$set": {**sent, "settledBy": known.settled_by}, "$unset": {"pending": "", "claim": ""}},
            )
        )
    await database["messages"].bulk_write(writes, ordered=False, session=session)
    counts = additions(messages, f"sent-{writer}")
    await database["messageCounts"].bulk_write(counts, ordered=False, session=session)
    await note_in(database, session, [message["_id"] for message in messages])
    of_campaigns = [remembered(message) for message in messages if "campaign" in message]
    await campaign_outcomes.sent_in(database, session, of_campaigns, writer)
    return messages


async def confirm_in(
    database: Database, session: Session, confirmations: Sequence[Confirmation], writer: str
) -> set[str]:
    """Within a transaction: X has these messages. Returns the ids of those for which that is news.

    The contact's counters, the conversation's response time and the message change together, once.
    """
    messages = await mark_sent_in(database, session, confirmations, writer)
    if not messages:
        return set()
    dialogues = {"_id": {"$in": list({message["conversationId"] for message in messages})}}
    found = database["conversations"].find(dialogues, session=session)
    conversations = {each["_id"]: Draft(each, is_new=False) for each in await found.to_list(None)}
    contacts: dict[str, Draft] = {}
    sent: dict[str, list[Remembered]] = {}
    for message in sorted(messages, key=lambda each: each["at"]):
        contact_id = message["contactId"]
        contact = contacts.setdefault(contact_id, Draft({"_id": contact_id}, is_new=False))
        conversation = conversations.get(message["conversationId"])
        count_sent(contact, conversation, message["at"])
        if conversation is not None:
            seen(conversation, message["source"], message["at"])
        if "campaign" in message:
            sent.setdefault(contact_id, []).append(remembered(message))
    await database["contacts"].bulk_write(
        [
            UpdateOne({"_id": key}, {"$inc": draft.increments, **campaign_outcomes.remembering(sent.get(key, []))})
            for key, draft in contacts.items()
        ],
        ordered=False,
        session=session,
    )
    changed = [draft for draft in conversations.values() if draft.is_changed]
    if changed:
        updates = [UpdateOne({"_id": draft.document["_id"]}, _update_of(draft)) for draft in changed]
        await database["conversations"].bulk_write(updates, ordered=False, session=session)
    await campaign_outcomes.catch_up_in(database, session, sent, writer)
    return {message["_id"] for message in messages}


def _update_of(draft: Draft) -> Document:
    update: Document = {}
    if draft.changes:
        update["$set"] = draft.changes
    if draft.increments:
        update["$inc"] = draft.increments
    return update
