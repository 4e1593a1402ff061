"""Outbound messages that X has: what that means for every document, for many messages in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo import UpdateOne

from domain.campaign_outcomes import Remembered, remembered
from domain.conversation_drafts import count_sent, seen
from domain.draft import Draft
from domain.rollup import Tally
from storage import campaign_outcomes
from storage.client import Database, Document, Session
from storage.flow_events import note_messages_in
from storage.message_words import note_in
from storage.rollups import add_in

#: States of a message that X may have.
UNCONFIRMED = ["sending", "unknown"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """X has a message of ours under this id, since a moment; `settled_by` is what tells so.

    `answered_after_s` is after how many seconds it answers the customer, where that is known already.
    """

    message_id: str
    x_id: str
    at: datetime
    settled_by: str
    answered_after_s: int | None = None


async def mark_sent_in(
    database: Database, session: Session, confirmations: Sequence[Confirmation], writer: str
) -> list[Document]:
    """Within a transaction: X has these messages, which count for their campaign or flow.

    Returns those for which that is news, as they were, each with its `at`. What it means for contact, conversation and
    rollups is the caller's to write, in the same transaction. `writer` keeps counts apart that are written at once.
    """
    messages = await _unconfirmed_in(database, session, confirmations)
    await _write_sent_in(database, session, messages, confirmations, writer)
    return messages


async def confirm_in(
    database: Database, session: Session, confirmations: Sequence[Confirmation], writer: str
) -> list[Document]:
    """Within a transaction: X has these messages. Returns those for which that is news, as they were.

    The contact's counters, the conversation's response time and the message change together, once.
    """
    messages = await _unconfirmed_in(database, session, confirmations)
    if not messages:
        return []
    dialogues = {"_id": {"$in": list({message["conversationId"] for message in messages})}}
    found = database["conversations"].find(dialogues, session=session)
    conversations = {each["_id"]: Draft(each, is_new=False) for each in await found.to_list(None)}
    contacts: dict[str, Draft] = {}
    sent: dict[str, list[Remembered]] = {}
    for message in sorted(messages, key=lambda each: each["at"]):
        contact_id = message["contactId"]
        contact = contacts.setdefault(contact_id, Draft({"_id": contact_id}, is_new=False))
        conversation = conversations.get(message["conversationId"])
        seconds = count_sent(contact, conversation, message["at"])
        if seconds is not None:
            message["answeredAfterS"] = seconds
        if conversation is not None:
            seen(conversation, message["source"], message["at"])
        if "campaign" in message:
            sent.setdefault(contact_id, []).append(remembered(message))
    await _write_sent_in(database, session, messages, confirmations, writer)
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
    tally = Tally()
    for message in messages:
        tally.message({**message, "status": "sent"})
    await add_in(database, session, tally, f"sent-{writer}")
    return messages


async def _unconfirmed_in(
    database: Database, session: Session, confirmations: Sequence[Confirmation]
) -> list[Document]:
    """Within a transaction: return the messages for which it is news that X has them, each with its `at`."""
    known = {each.message_id: each for each in confirmations}
    query = {"_id": {"$in": list(known)}, "status": {"$in": UNCONFIRMED}}
    messages = await database["messages"].find(query, session=session).to_list(None) if known else []
    for message in messages:
        confirmation = known[message["_id"]]
        message["at"] = confirmation.at
        if confirmation.answered_after_s is not None:
            message["answeredAfterS"] = confirmation.answered_after_s
    return messages


async def _write_sent_in(
    database: Database,
    session: Session,
    messages: Sequence[Document],
    confirmations: Sequence[Confirmation],
    writer: str,
) -> None:
    """Within a transaction: X has these messages, and what each counts for its campaign or flow."""
    if not messages:
        return
    known = {each.message_id: each for each in confirmations}
    await database["messages"].bulk_write(
        [_sent(message, known[message["_id"]]) for message in messages], ordered=False, session=session
    )
    await note_in(database, session, [message["_id"] for message in messages])
    of_campaigns = [remembered(message) for message in messages if "campaign" in message]
    await campaign_outcomes.sent_in(database, session, of_campaigns, writer)
    await note_messages_in(database, session, messages, "sent")


def _sent(message: Document, confirmation: Confirmation) -> UpdateOne:
    at = confirmation.at
    fields: Document = {"status": "sent", "twitterMessageId": confirmation.x_id, "sentAt": at, "at": at}
    fields["settledBy"] = confirmation.settled_by
    if "answeredAfterS" in message:
        fields["answeredAfterS"] = message["answeredAfterS"]
    return UpdateOne({"_id": message["_id"]}, {"$set": fields, "$unset": {"pending": "", "claim": ""}})


def _update_of(draft: Draft) -> Document:
    update: Document = {}
    if draft.changes:
        update["$set"] = draft.changes
    if draft.increments:
        update["$inc"] = draft.increments
    return update
