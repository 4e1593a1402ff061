"""What the actors of flows are at: occurrences of a schedule, the members of a segment, executions to be cancelled.

Each write of an actor's document is conditional on its revision, and what a part of the work means for executors is
written with the progress that it makes. So a part is done once, whole, or not yet, and work that was cut off goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TypedDict, cast

from pymongo import DeleteOne, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from domain.segment_change import Change
from storage.client import Database, Document, Session, session_of
from storage.flow_documents import FlowDocument, FlowEventDocument, flow_event_id
from storage.flow_starts import note_events
from storage.indexes import EXECUTIONS_RUNNING

_BATCH = 500


class OccurrenceDocument(TypedDict):
    """A time of a schedule whose contacts are being started, up to the one with the id `after`."""

    dueAt: datetime
    after: str


class PassDocument(TypedDict):
    """A comparison of a segment with its members, up to the contact with the id `after`; the next comes at `nextAt`.

    The first one after an activation only notes who is there: nobody has entered.
    """

    number: int
    startedAt: datetime
    after: str
    nextAt: datetime | None


class WorkDocument(TypedDict):
    """What the actor of a flow is at; `activatedAt` is the activation that it is about.

    `cancelUntil`: executions are being cancelled, those too that begin until then.
    """

    _id: str
    merchantId: str
    revision: int
    activatedAt: datetime | None
    dueAt: datetime | None
    occurrence: OccurrenceDocument | None
    comparison: PassDocument | None
    cancelUntil: datetime | None


class WorkMoved(Exception):
    """The document is not as it was read."""


class FlowWork:
    """Keeps what the actors of flows are at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._work = database["flowWork"]
        self._members = database["segmentMembers"]
        self._events = database["flowEvents"]

    async def of(self, flow_id: str) -> WorkDocument | None:
        """Return what the actor of a flow is at."""
        return cast("WorkDocument | None", await self._work.find_one({"_id": flow_id}))

    async def flow(self, flow_id: str) -> FlowDocument | None:
        """Return the flow itself."""
        return cast("FlowDocument | None", await self._database["flows"].find_one({"_id": flow_id}))

    async def flows(self) -> list[str]:
        """Return the ids of the flows, of all merchants, whose actors have something to do, now or at a time."""
        return [str(each["_id"]) async for each in self._work.find({}, {"_id": 1})]

    async def begin(self, flow_id: str, merchant_id: str, **fields: object) -> WorkDocument:
        """Note that there is something to do for a flow.

        Raises:
            WorkMoved: when somebody else was faster.
        """
        work: Document = {"_id": flow_id, "merchantId": merchant_id, "revision": 1, "activatedAt": None, "dueAt": None}
        work |= {"occurrence": None, "comparison": None, "cancelUntil": None, **fields}
        try:
            await self._work.insert_one(work)
        except DuplicateKeyError:
            raise WorkMoved from None
        return cast("WorkDocument", work)

    async def change(self, known: WorkDocument, fields: Document, session: Session | None = None) -> WorkDocument:
        """Change what an actor is at, as it was read, and return it.

        Raises:
            WorkMoved: when it is not as it was read.
        """
        changed = await self._work.find_one_and_update(
            {"_id": known["_id"], "revision": known["revision"]},
            {"$set": fields, "$inc": {"revision": 1}},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if changed is None:
            raise WorkMoved
        return cast("WorkDocument", changed)

    async def end(self, known: WorkDocument) -> None:
        """Note that there is nothing to do for a flow any more."""
        await self._work.delete_one({"_id": known["_id"], "revision": known["revision"]})

    async def start(self, known: WorkDocument, fields: Document, events: Sequence[FlowEventDocument]) -> WorkDocument:
        """Start a flow for some contacts, together with the progress that this is.

        Raises:
            WorkMoved: when the work is not as it was read.
        """
        return await self._step(known, fields, (), events)

    async def note_change(
        self, known: WorkDocument, fields: Document, change: Change, events: Sequence[FlowEventDocument], now: datetime
    ) -> WorkDocument:
        """Note who has entered and left a segment, and start the flow for some, with the progress that this is.

        Raises:
            WorkMoved: when the work is not as it was read.
        """
        flow_id = known["_id"]
        named: Document = {"merchantId": known["merchantId"], "flowId": flow_id, "enteredAt": now}
        writes: list[UpdateOne | DeleteOne] = [
            UpdateOne({"_id": _member(flow_id, each)}, {"$setOnInsert": {**named, "contactId": each}}, upsert=True)
            for each in change.entered
        ]
        writes += [DeleteOne({"_id": _member(flow_id, each)}) for each in change.left]
        return await self._step(known, fields, writes, events)

    async def members(self, flow_id: str, after: str, most: int) -> list[str]:
        """Return the next contacts, in order of their ids, that are noted as members of a flow's segment."""
        query = {"_id": {"$gt": _member(flow_id, after), "$lt": _beyond(flow_id)}}
        found = self._members.find(query, {"_id": 1}).sort("_id", 1).limit(most)
        return [each["_id"].removeprefix(_member(flow_id, "")) async for each in found]

    async def forget_members(self, flow_id: str) -> None:
        """Forget who was in a flow's segment; may be cut off and called again."""
        query = {"_id": {"$gt": _member(flow_id, ""), "$lt": _beyond(flow_id)}}
        while found := await self._members.find(query, {"_id": 1}).limit(_BATCH).to_list(None):
            await self._members.delete_many({"_id": {"$in": [each["_id"] for each in found]}})

    async def withdraw_starts(self, flow_id: str, before: datetime) -> int:
        """Withdraw starts of a flow that executors have not taken; returns how many."""
        query = {"flowId": flow_id, "kind": "start", "at": {"$lt": before}}
        count = 0
        while found := await self._events.find(query, {"_id": 1}).limit(_BATCH).to_list(None):
            deleted = await self._events.delete_many({"_id": {"$in": [each["_id"] for each in found]}})
            count += deleted.deleted_count
        return count

    async def cancel_running(self, merchant_id: str, flow_id: str, before: datetime, now: datetime) -> int:
        """Ask executors to cancel the executions of a flow that began before a moment; returns how many were found.

        Asking again is asking once.
        """
        count = 0
        async for batch in self._running(merchant_id, flow_id, before):
            count += len(batch)
            await note_events(self._database, [_cancel(each, now) for each in batch])
        return count

    async def _running(self, merchant_id: str, flow_id: str, before: datetime) -> AsyncIterator[list[Document]]:
        query = {"merchantId": merchant_id, "flowId": flow_id, "status": "running", "startedAt": {"$lt": before}}
        fields = dict.fromkeys(("merchantId", "accountId", "contactId", "flowId"), 1)
        found = self._database["flowExecutions"].find(query, fields, batch_size=_BATCH).hint(EXECUTIONS_RUNNING)
        batch: list[Document] = []
        async for execution in found:
            batch.append(execution)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _step(
        self,
        known: WorkDocument,
        fields: Document,
        members: Sequence[UpdateOne | DeleteOne],
        events: Sequence[FlowEventDocument],
    ) -> WorkDocument:
        async def work(session: Session) -> WorkDocument:
            changed = await self.change(known, fields, session)
            if members:
                await self._members.bulk_write(members, ordered=False, session=session)
            await note_events(self._database, events, session)
            return changed

        async with session_of(self._database.client) as session:
            return await session.with_transaction(work)


def _member(flow_id: str, contact_id: str) -> str:
    return f"{flow_id}|{contact_id}"


def _beyond(flow_id: str) -> str:
    """Return what comes after the ids of all members of a flow."""
    return f"{flow_id}}}"


def _cancel(execution: Document, now: datetime) -> FlowEventDocument:
    return {
        "_id": flow_event_id(execution["contactId"], f"cancel|{execution['_id']}"),
        "merchantId": execution["merchantId"],
        "accountId": execution["accountId"],
        "contactId": execution["contactId"],
        "kind": "cancel",
        "at": now,
        "flowId": execution["flowId"],
        "executionId": execution["_id"],
    }
