"""What became of a campaign's message: written and counted in the transaction that learns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from pymongo import UpdateOne

from domain.campaign_outcomes import (
    LAST,
    MOMENTS,
    MOST_REMEMBERED,
    LateAnswer,
    Note,
    Remembered,
    known_already,
    late_answers,
    noted,
    remembered,
)
from storage.campaign_counts import DELIVERED, FAILED, CountChanges
from storage.campaign_documents import lane_id
from storage.client import Database, Document, Session
from storage.flow_late_starts import start_late_in


async def sent_in(database: Database, session: Session, sent: Sequence[Remembered], writer: str) -> None:
    """Within a transaction: X has these messages. What their contacts remember is the caller's to write."""
    if not sent:
        return
    await database["campaignRecipients"].bulk_write(
        [
            UpdateOne(
                {"_id": each["recipientId"]},
                {"$set": {"status": "sent", "reason": None, "sentAt": each["at"]}, "$unset": {"open": ""}},
            )
            for each in sent
        ],
        ordered=False,
        session=session,
    )
    counts = CountChanges(writer)
    lanes: dict[str, int] = {}
    for each in sent:
        counts.add(_named(each), DELIVERED, each["at"])
        lane = lane_id(each["runId"], each["accountId"])
        lanes[lane] = lanes.get(lane, 0) - 1
    await counts.write_in(database, session)
    updates = [UpdateOne({"_id": lane}, {"$inc": {"remaining": change}}) for lane, change in sorted(lanes.items())]
    await database["campaignLanes"].bulk_write(updates, ordered=False, session=session)


async def failed_in(
    database: Database, session: Session, message: Mapping[str, object], reason: str, now: datetime
) -> None:
    """Within a transaction: X will not get the message."""
    sent = remembered(message)
    await _ended_in(database, session, sent, {"status": "failed", "reason": reason, "failedAt": now})
    counts = CountChanges()
    counts.add(_named(sent), FAILED, now)
    await counts.write_in(database, session)


async def skipped_in(
    database: Database, session: Session, message: Mapping[str, object], reason: str, now: datetime
) -> None:
    """Within a transaction: the message is not sent, because its contact gets nothing of the kind any more."""
    sent = remembered(message)
    await _ended_in(database, session, sent, {"status": "skipped", "reason": reason})
    counts = CountChanges()
    counts.add(_named(sent), ["skipped"], now)
    await counts.write_in(database, session)


async def taken_back_in(database: Database, session: Session, message: Mapping[str, object]) -> None:
    """Within a transaction: it is not known any more whether X has the message."""
    sent = remembered(message)
    recipient = await database["campaignRecipients"].find_one_and_update(
        {"_id": sent["recipientId"], "status": "sent"},
        {"$set": {"status": "queued", "sentAt": None, "open": True}},
        session=session,
    )
    if recipient is None:
        return
    await _lane_in(database, session, sent, 1)
    counts = CountChanges()
    counts.add(_named(sent), DELIVERED, recipient["sentAt"], -1)
    await counts.write_in(database, session)
    await database["contacts"].update_one(
        {"_id": message["contactId"]},
        {"$pull": {"recentCampaigns": {"recipientId": sent["recipientId"]}}},
        session=session,
    )


def remembering(sent: Sequence[Remembered]) -> Document:
    """Return the part of a contact's update by which it remembers messages."""
    return {"$push": {"recentCampaigns": {"$each": list(sent), "$slice": -MOST_REMEMBERED}}} if sent else {}


async def catch_up_in(
    database: Database, session: Session, sent: Mapping[str, Sequence[Remembered]], writer: str
) -> None:
    """Within a transaction: note what contacts did after messages that are only now known to have been sent."""
    if not sent:
        return
    fields = dict.fromkeys((*LAST.values(), "merchantId", "accountId"), 1)
    notes: list[Note] = []
    late: list[LateAnswer] = []
    async for contact in database["contacts"].find({"_id": {"$in": list(sent)}}, fields, session=session):
        for each in sent[contact["_id"]]:
            recent: list[Remembered] = [each]
            for outcome, at in known_already(contact, each):
                recent, news = noted(recent, outcome, at)
                notes += news
                late += late_answers(contact, news)
            if recent[0] is not each:
                await database["contacts"].update_one(
                    {"_id": contact["_id"], "recentCampaigns.recipientId": each["recipientId"]},
                    {"$set": {"recentCampaigns.$": recent[0]}},
                    session=session,
                )
    await note_in(database, session, notes, writer)
    await start_late_in(database, session, late)


async def note_in(database: Database, session: Session, notes: Sequence[Note], writer: str) -> None:
    """Within a transaction: write outcomes to their recipients, and count them."""
    counts = CountChanges(writer)
    writes: list[UpdateOne] = []
    for note in notes:
        writes.append(UpdateOne({"_id": note.recipient["recipientId"]}, {"$set": {MOMENTS[note.outcome]: note.at}}))
        counts.add(_named(note.recipient), [note.outcome], note.at)
    if writes:
        await database["campaignRecipients"].bulk_write(writes, ordered=False, session=session)
        await counts.write_in(database, session)


async def _ended_in(database: Database, session: Session, sent: Remembered, fields: Document) -> None:
    await database["campaignRecipients"].update_one(
        {"_id": sent["recipientId"]}, {"$set": fields, "$unset": {"open": ""}}, session=session
    )
    await _lane_in(database, session, sent, -1)


async def _lane_in(database: Database, session: Session, sent: Remembered, change: int) -> None:
    lane = lane_id(sent["runId"], sent["accountId"])
    await database["campaignLanes"].update_one({"_id": lane}, {"$inc": {"remaining": change}}, session=session)


def _named(sent: Remembered) -> Mapping[str, str]:
    return cast("Mapping[str, str]", sent)
