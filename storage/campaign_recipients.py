"""The recipients of a run: taken by their accounts, taken back, given up, tried again.

Each step is one transaction: a recipient, its message, its lane and the counters agree at any time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo import InsertOne, UpdateOne
from pymongo.read_concern import ReadConcern

from domain.campaign_outcomes import Remembered
from domain.campaign_state import FailReason, SkipReason, StopReason
from storage.campaign_counts import FAILED, CountChanges
from storage.campaign_documents import RecipientDocument, RunDocument, lane_id
from storage.campaign_runs import Lane
from storage.client import Client, Database, Document, Session, session_of
from storage.conversation_sums import started_in

_SNAPSHOT = ReadConcern("snapshot")
#: Recipients changed in one transaction.
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Send:
    """A recipient gets this message now; `conversation` is there where the contact has no open one."""

    recipient: RecipientDocument
    message: Document
    conversation: Document | None
    links: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A recipient gets nothing; `remembered` is there for who is held back to compare with."""

    recipient: RecipientDocument
    reason: SkipReason
    remembered: Remembered | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """A message can't be made for a recipient."""

    recipient: RecipientDocument
    reason: FailReason


@dataclass(frozen=True, slots=True)
class Delay:
    """A recipient gets its message later."""

    recipient: RecipientDocument
    until: datetime


Decision = Send | Skip | Fail | Delay


@dataclass(frozen=True, slots=True)
class Candidates:
    """Recipients that are due, with their contacts and open conversations by contact id."""

    recipients: Sequence[RecipientDocument]
    contacts: Mapping[str, Document]
    conversations: Mapping[str, Document]


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of taking: messages to be sent, and how many recipients were decided on."""

    messages: Sequence[Document]
    decided: int


class CampaignRecipients:
    """Recipients of all runs."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._recipients = database["campaignRecipients"]
        self._lanes = database["campaignLanes"]

    async def take(
        self, lane: Lane, most: int, now: datetime, decide: Callable[[Candidates], Sequence[Decision]]
    ) -> Taken | None:
        """Take some recipients that are due, and do with each what `decide` says; None when the lane is not active.

        `decide` is pure: it may be asked again with what is read anew.
        """

        async def work(session: Session) -> Taken | None:
            # The lane is written first: pausing it and taking from it exclude each other.
            active = await self._lanes.update_one(
                {"_id": lane.id, "status": "active"}, {"$set": {"takenAt": now}}, session=session
            )
            if active.matched_count != 1:
                return None
            candidates = await self._candidates(session, lane, most, now)
            if not candidates.recipients:
                return Taken((), 0)
            decisions = decide(candidates)
            await self._write(session, lane, decisions, now)
            return Taken([each.message for each in decisions if isinstance(each, Send)], len(decisions))

        async with session_of(self._client) as session:
            return await session.with_transaction(work, read_concern=_SNAPSHOT)

    async def next_due(self, lane: Lane) -> datetime | None:
        """Return when the next pending recipient of a lane is due; None when there is none."""
        query = {"runId": lane.run_id, "status": "pending", "accountId": lane.account_id, "open": True}
        found = await self._recipients.find_one(query, {"dueAt": 1}, sort=[("dueAt", 1), ("_id", 1)])
        return cast("datetime", found["dueAt"]) if found else None

    async def withdraw(self, run_id: str, account_id: str | None = None) -> None:
        """Take back the messages of a run, or of one account in it, that nobody has begun to send.

        Their recipients wait again.
        """
        query: Document = {"runId": run_id, "status": "queued", "open": True}
        if account_id is not None:
            query["accountId"] = account_id
        async for found in self._parts(query):

            async def work(session: Session, found: Sequence[Document] = found) -> None:
                await self._withdraw_in(session, found)

            async with session_of(self._client) as session:
                await session.with_transaction(work, read_concern=_SNAPSHOT)

    async def give_up_pending(self, run_id: str, reason: StopReason, now: datetime) -> None:
        """Skip every recipient of a run that waits."""
        async for found in self._parts({"runId": run_id, "status": "pending", "open": True}):

            async def work(session: Session, found: Sequence[Document] = found) -> None:
                await self._give_up_in(session, found, reason, now)

            async with session_of(self._client) as session:
                await session.with_transaction(work, read_concern=_SNAPSHOT)

    async def retry_failed(self, run: RunDocument, excluded: Sequence[str], now: datetime) -> int:
        """Let the recipients of a run that failed wait again, but for these reasons; returns how many they are."""
        query: Document = {
            "merchantId": run["merchantId"],
            "campaignId": run["campaignId"],
            "runId": run["_id"],
            "status": "failed",
            "reason": {"$nin": list(excluded)},
        }
        count = 0
        async for found in self._parts(query):

            async def work(session: Session, found: Sequence[Document] = found) -> int:
                return await self._retry_in(session, found, now)

            async with session_of(self._client) as session:
                count += await session.with_transaction(work, read_concern=_SNAPSHOT)
        return count

    async def _parts(self, query: Document) -> AsyncIterator[list[Document]]:
        """Yield what matches, part by part; what is changed meanwhile is looked at again within its transaction."""
        part: list[Document] = []
        async for document in self._recipients.find(query, batch_size=_BATCH):
            part.append(document)
            if len(part) == _BATCH:
                yield part
                part = []
        if part:
            yield part

    # --- parts of transactions

    async def _candidates(self, session: Session, lane: Lane, most: int, now: datetime) -> Candidates:
        query: Document = {
            "runId": lane.run_id,
            "status": "pending",
            "accountId": lane.account_id,
            "open": True,
            "dueAt": {"$lte": now},
        }
        cursor = self._recipients.find(query, session=session).sort([("dueAt", 1), ("_id", 1)]).limit(most)
        recipients = cast("list[RecipientDocument]", await cursor.to_list(None))
        ids = [recipient["contactId"] for recipient in recipients]
        contacts: dict[str, Document] = {}
        conversations: dict[str, Document] = {}
        if ids:
            people = self._database["contacts"].find({"_id": {"$in": ids}}, session=session)
            contacts = {contact["_id"]: contact for contact in await people.to_list(None)}
            dialogues = {"accountId": lane.account_id, "contactId": {"$in": ids}, "status": "open"}
            found = self._database["conversations"].find(dialogues, session=session)
            conversations = {conversation["contactId"]: conversation for conversation in await found.to_list(None)}
        return Candidates(recipients, contacts, conversations)

    async def _write(self, session: Session, lane: Lane, decisions: Sequence[Decision], now: datetime) -> None:
        writes: list[UpdateOne] = []
        counts = CountChanges()
        ended = 0
        for decision in decisions:
            recipient = decision.recipient
            writes.append(_recipient_write(decision, now))
            if isinstance(decision, Skip):
                counts.add(_named(recipient), ["skipped"], now)
                ended += 1
            elif isinstance(decision, Fail):
                counts.add(_named(recipient), FAILED, now)
                ended += 1
        await self._recipients.bulk_write(writes, ordered=False, session=session)
        await self._send_in(session, [each for each in decisions if isinstance(each, Send)])
        await self._remember_in(session, [each for each in decisions if isinstance(each, Skip) and each.remembered])
        if ended:
            await self._lanes.update_one({"_id": lane.id}, {"$inc": {"remaining": -ended}}, session=session)
        await counts.write_in(self._database, session)

    async def _send_in(self, session: Session, sends: Sequence[Send]) -> None:
        if not sends:
            return
        conversations = [each.conversation for each in sends if each.conversation is not None]
        if conversations:
            inserts = [InsertOne(each) for each in conversations]
            await self._database["conversations"].bulk_write(inserts, ordered=False, session=session)
            more = [UpdateOne({"_id": each["contactId"]}, {"$inc": {"conversationCount": 1}}) for each in conversations]
            await self._database["contacts"].bulk_write(more, ordered=False, session=session)
            await started_in(self._database, session, conversations)
        messages = [each.message for each in sends]
        await self._database["messages"].insert_many(messages, ordered=False, session=session)
        links = [link for each in sends for link in each.links]
        if links:
            await self._database["trackedLinks"].insert_many(links, ordered=False, session=session)

    async def _remember_in(self, session: Session, held_back: Sequence[Skip]) -> None:
        writes = [
            UpdateOne(
                {"_id": each.recipient["contactId"]},
                {"$push": {"recentCampaigns": {"$each": [each.remembered], "$slice": -20}}},
            )
            for each in held_back
        ]
        if writes:
            await self._database["contacts"].bulk_write(writes, ordered=False, session=session)

    async def _withdraw_in(self, session: Session, found: Sequence[Document]) -> None:
        messages = self._database["messages"]
        ids = [each["messageId"] for each in found]
        cursor = messages.find({"_id": {"$in": ids}, "status": "queued"}, {"_id": 1}, session=session)
        withdrawn = [message["_id"] async for message in cursor]
        await messages.delete_many({"_id": {"$in": withdrawn}, "status": "queued"}, session=session)
        gone = set(withdrawn)
        back = [each["_id"] for each in found if each["messageId"] in gone]
        await self._recipients.update_many(
            {"_id": {"$in": back}}, {"$set": {"status": "pending", "messageId": None}}, session=session
        )
        # Only those of the message: links of an earlier attempt, whose outcome is not known, may be in use.
        links = {"recipientId": {"$in": back}, "messageId": {"$in": withdrawn}}
        await self._database["trackedLinks"].delete_many(links, session=session)

    async def _give_up_in(self, session: Session, found: Sequence[Document], reason: StopReason, now: datetime) -> None:
        still = await self._still_in(session, found, "pending")
        await self._recipients.update_many(
            {"_id": {"$in": [each["_id"] for each in still]}},
            {"$set": {"status": "skipped", "reason": reason}, "$unset": {"open": ""}},
            session=session,
        )
        counts = CountChanges()
        for each in still:
            counts.add(each, ["skipped"], now)
        await counts.write_in(self._database, session)
        await self._change_lanes_in(session, still, -1)

    async def _retry_in(self, session: Session, found: Sequence[Document], now: datetime) -> int:
        still = await self._still_in(session, found, "failed")
        await self._recipients.update_many(
            {"_id": {"$in": [each["_id"] for each in still]}},
            {
                "$set": {"status": "pending", "reason": None, "open": True, "messageId": None, "dueAt": now},
                "$unset": {"failedAt": ""},
                "$inc": {"attempt": 1},
            },
            session=session,
        )
        counts = CountChanges()
        for each in still:
            # Taken from the hour in which it was counted, so that the timeline stays what happened.
            counts.add(each, FAILED, each["failedAt"], -1)
        await counts.write_in(self._database, session)
        await self._change_lanes_in(session, still, 1)
        return len(still)

    async def _still_in(self, session: Session, found: Sequence[Document], status: str) -> list[Document]:
        """Return those that are still as they were found; nobody else changes them until the transaction ends."""
        query = {"_id": {"$in": [each["_id"] for each in found]}, "status": status}
        return await self._recipients.find(query, session=session).to_list()

    async def _change_lanes_in(self, session: Session, recipients: Iterable[Document], each: int) -> None:
        lanes: dict[str, int] = {}
        for recipient in recipients:
            lane = lane_id(recipient["runId"], recipient["accountId"])
            lanes[lane] = lanes.get(lane, 0) + each
        writes = [UpdateOne({"_id": lane}, {"$inc": {"remaining": change}}) for lane, change in sorted(lanes.items())]
        if writes:
            await self._lanes.bulk_write(writes, ordered=False, session=session)


def _recipient_write(decision: Decision, now: datetime) -> UpdateOne:
    where = {"_id": decision.recipient["_id"], "status": "pending"}
    over = {"$unset": {"open": ""}}
    match decision:
        case Send():
            return UpdateOne(where, {"$set": {"status": "queued", "messageId": decision.message["_id"]}})
        case Skip():
            return UpdateOne(where, {"$set": {"status": "skipped", "reason": decision.reason}, **over})
        case Fail():
            change = {"status": "failed", "reason": decision.reason, "failedAt": now}
            return UpdateOne(where, {"$set": change, **over})
        case Delay():
            return UpdateOne(where, {"$set": {"dueAt": decision.until}})


def _named(recipient: RecipientDocument) -> Mapping[str, str]:
    return cast("Mapping[str, str]", recipient)
