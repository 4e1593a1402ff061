"""Flows that an answer to a campaign starts which was there before the campaign's message was known to be sent.

A person may answer while our call of X is under way, or while nobody knows yet what became of it. Such an answer is
noted with the confirmation; so is what it starts, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.campaign_outcomes import LateAnswer
from domain.flow_triggers import Happening, OnCampaignReplied
from storage.client import Database, Document, Session
from storage.flow_starts import FlowStarts


async def start_late_in(database: Database, session: Session, answers: Sequence[LateAnswer]) -> None:
    """Within a transaction: start the flows that answers start; a recipient's answer is known by the recipient."""
    starts = FlowStarts(database)
    for answer in answers:
        note = answer.note
        happening = Happening(OnCampaignReplied.kind, note.recipient["campaignId"])
        key = f"{OnCampaignReplied.kind}|{note.recipient['recipientId']}"
        message = await _message(database, session, answer)
        message_id = None if message is None else str(message["_id"])
        await starts.happened(answer.contact, [happening], key, note.at, session=session, message_id=message_id)


async def _message(database: Database, session: Session, answer: LateAnswer) -> Document | None:
    """Return the message that is the answer, None where it is gone."""
    contact, conversations = answer.contact, database["conversations"]
    query = {"accountId": contact["accountId"], "contactId": contact["_id"]}
    ids = [each["_id"] async for each in conversations.find(query, {"_id": 1}, session=session)]
    written: Document = {"conversationId": {"$in": ids}, "at": answer.note.at, "direction": "inbound"}
    return await database["messages"].find_one(written, {"_id": 1}, session=session)
