"""Steps of executions, each one write: what the executor of a contact has decided, whole or not at all.

A step is conditional on the revision of each execution and on the events that it takes being there still. So a host
that is only believed dead, or two executors while a contact is merged, can't both write: the later one starts over.
Steps of the same moment share one transaction; where that fails, each goes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from domain.flow_state import Execution, HistoryEntry, Reply, Waiting
from domain.reminder import Reminder
from domain.rollup import Tally
from storage.client import Client, Database, Document, Session, session_of
from storage.flow_counts import NodeCounts
from storage.flow_documents import (
    EXECUTOR,
    ExecutionDocument,
    FlowEventDocument,
    HistoryDocument,
    ReplyDocument,
    StateDocument,
    WaitingDocument,
)
from storage.reminders import reminder_fields
from storage.rollup_remains import remove_executions
from storage.rollups import add_in
from storage.together import Together

#: Entries of a history that are kept, the newest.
MOST_HISTORY = 200
#: Steps that share a transaction.
_MOST_AT_ONCE = 128


class StepSuperseded(Exception):
    """Something that a step was decided by is not as it was; nothing of it is written."""


class ContactGone(Exception):
    """An execution was to begin for a contact that is not there any more; nothing is written."""


@dataclass(frozen=True, slots=True)
class ExecutionWrite:
    """An execution as it will be; `former` is what was read, None where it begins."""

    execution: Execution
    merchant_id: str
    account_id: str
    version: int
    former: ExecutionDocument | None
    history: tuple[HistoryEntry, ...] = ()
    listening: bool = False


@dataclass(frozen=True, slots=True)
class FlowStep:
    """What one turn of a contact's executor writes.

    `taken` are ids of events; `effects` what is to be done for it; `withdrawn` ids of messages that are not to be sent,
    unless somebody has begun to.
    """

    contact_id: str
    at: datetime
    executions: tuple[ExecutionWrite, ...] = ()
    taken: tuple[str, ...] = ()
    effects: tuple[FlowEventDocument, ...] = ()
    withdrawn: tuple[str, ...] = ()

    @property
    def begins(self) -> bool:
        """Whether an execution begins with it."""
        return any(each.former is None for each in self.executions)


class FlowExecutions:
    """Writes steps; `name` keeps counts apart from those of other processes."""

    def __init__(self, client: Client, database: Database, *, name: str) -> None:
        self._client = client
        self._database = database
        self._name = name
        self._together = Together(self._write_all, most=_MOST_AT_ONCE)

    async def write(self, step: FlowStep) -> None:
        """Write a step.

        Raises:
            StepSuperseded: when it is to be decided anew.
            ContactGone: when the contact was erased before an execution could begin.
            PyMongoError: when the database failed; nothing is written then, or all of it.
        """
        await self._together(step)

    async def remove_of(self, contact_ids: Sequence[str]) -> None:
        """Delete the executions and events of contacts that are gone."""
        query = {"contactId": {"$in": list(contact_ids)}}
        found = await self._database["flowExecutions"].find(query, {"_id": 1}).to_list(None)
        await remove_executions(self._database, [each["_id"] for each in found])
        await self._database["flowEvents"].delete_many(query)

    async def _write_all(self, steps: Sequence[FlowStep]) -> list[Exception | None]:
        outcomes: list[Exception | None]
        try:
            await self._write(steps)
            outcomes = [None] * len(steps)
        except (StepSuperseded, ContactGone, BulkWriteError) as error:
            outcomes = [_told(error)] if len(steps) == 1 else [await self._alone(step) for step in steps]
        await self._look_after_erased(steps)
        return outcomes

    async def _alone(self, step: FlowStep) -> Exception | None:
        try:
            await self._write([step])
        except (StepSuperseded, ContactGone, PyMongoError) as error:
            return _told(error)
        return None

    async def _write(self, steps: Sequence[FlowStep]) -> None:
        async def work(session: Session) -> None:
            await self._check_contacts(session, steps)
            await self._write_executions(session, steps)
            await self._write_events(session, steps)
            await self._write_reminders(session, steps)
            await self._withdraw(session, steps)
            counts = NodeCounts(self._name)
            for step in steps:
                for each in step.executions:
                    visit = each.former["state"]["visit"] if each.former is not None else 0
                    counts.add(each.merchant_id, each.version, visit, each.execution, each.history)
            await counts.write_in(self._database, session)
            await add_in(self._database, session, _tally_of(steps), f"flows-{self._name}")

        async with session_of(self._client) as session:
            await session.with_transaction(work)

    async def _check_contacts(self, session: Session, steps: Sequence[FlowStep]) -> None:
        ids = {step.contact_id for step in steps if step.begins}
        if not ids:
            return
        query = {"_id": {"$in": sorted(ids)}}
        if await self._database["contacts"].count_documents(query, session=session) != len(ids):
            raise ContactGone

    async def _look_after_erased(self, steps: Sequence[FlowStep]) -> None:
        """Delete what began while its contact was being erased: that has looked for executions too early, or finds it.

        An erasure removes the contact first and what belongs to it afterwards. A contact that is being merged is gone
        as well; its executions are moved.
        """
        ids = {step.contact_id for step in steps if step.begins}
        if not ids:
            return
        query = {"_id": {"$in": sorted(ids)}}
        there = {each["_id"] async for each in self._database["contacts"].find(query, {"_id": 1})}
        gone = ids - there
        if gone:
            moving = self._database["contactMerges"].find({"_id": {"$in": sorted(gone)}}, {"_id": 1})
            await self.remove_of(sorted(gone - {each["_id"] async for each in moving}))

    async def _write_executions(self, session: Session, steps: Sequence[FlowStep]) -> None:
        writes = [(each, step.at) for step in steps for each in step.executions]
        if not writes:
            return
        changed = sum(each.former is not None for each, _ in writes)
        collection = self._database["flowExecutions"]
        # In order: a key that is there already aborts the transaction, and an update after it would only find it
        # aborted. That reads as trouble that passes, and all of it would be tried again for minutes.
        updates = [_write_of(each, at) for each, at in writes]
        result = await collection.bulk_write(updates, session=session)
        if result.matched_count != changed:
            raise StepSuperseded

    async def _write_events(self, session: Session, steps: Sequence[FlowStep]) -> None:
        events = self._database["flowEvents"]
        taken = [event_id for step in steps for event_id in step.taken]
        if taken:
            deleted = await events.delete_many({"_id": {"$in": taken}}, session=session)
            if deleted.deleted_count != len(taken):
                raise StepSuperseded
        effects = [cast("Document", effect) for step in steps for effect in step.effects]
        if effects:
            inserts = [InsertOne(effect) for effect in effects]
            await events.bulk_write(inserts, ordered=False, session=session)

    async def _write_reminders(self, session: Session, steps: Sequence[FlowStep]) -> None:
        writes = [write for step in steps for each in step.executions for write in _reminder_writes(each)]
        if writes:
            await self._database["reminders"].bulk_write(writes, ordered=False, session=session)

    async def _withdraw(self, session: Session, steps: Sequence[FlowStep]) -> None:
        ids = [message_id for step in steps for message_id in step.withdrawn]
        if ids:
            failure = {"reason": "cancelled", "code": None, "text": ""}
            await self._database["messages"].update_many(
                {"_id": {"$in": ids}, "status": "queued"},
                {"$set": {"status": "failed", "failure": failure}, "$unset": {"pending": "", "claim": ""}},
                session=session,
            )


def execution_of(document: ExecutionDocument) -> Execution:
    """Return the state that a document keeps."""
    state = document["state"]
    waiting, unheard = state["waiting"], state["unheard"]
    return Execution(
        id=document["_id"],
        flow_id=document["flowId"],
        contact_id=document["contactId"],
        depth=state["depth"],
        status=document["status"],
        node_id=document["currentNodeId"],
        visit=state["visit"],
        attempt=state["attempt"],
        waiting=None if waiting is None else Waiting(waiting["reason"], waiting["until"]),
        variables=state["variables"],
        heard=tuple(state["heard"]),
        unheard=None if unheard is None else Reply(unheard["messageId"], unheard["text"]),
        failure=state["failure"],
    )


def due_of(write: ExecutionWrite) -> Reminder | None:
    """Return by what an execution is woken, if it waits for a time."""
    execution = write.execution
    if execution.waiting is None or execution.waiting.until is None:
        return None
    return Reminder(EXECUTOR, execution.contact_id, execution.id, execution.waiting.until)


def _tally_of(steps: Iterable[FlowStep]) -> Tally:
    """Return what steps change in the rollups: an execution counts as it is, and no more as it was."""
    tally = Tally()
    for step in steps:
        for each in step.executions:
            tally.execution(
                {
                    "merchantId": each.merchant_id,
                    "accountId": each.account_id,
                    "flowId": each.execution.flow_id,
                    "status": each.execution.status,
                    "startedAt": step.at if each.former is None else each.former["startedAt"],
                    "completedAt": None if each.execution.status == "running" else step.at,
                }
            )
            if each.former is not None:
                tally.execution(each.former, -1)
    return tally


def _state_of(execution: Execution) -> StateDocument:
    waiting, unheard = execution.waiting, execution.unheard
    return StateDocument(
        depth=execution.depth,
        visit=execution.visit,
        attempt=execution.attempt,
        waiting=None if waiting is None else WaitingDocument(reason=waiting.reason, until=waiting.until),
        variables=dict(execution.variables),
        heard=list(execution.heard),
        unheard=None if unheard is None else ReplyDocument(messageId=unheard.message_id, text=unheard.text),
        failure=execution.failure,
    )


def _write_of(write: ExecutionWrite, at: datetime) -> InsertOne[Document] | UpdateOne:
    execution = write.execution
    fields: Document = {
        "status": execution.status,
        "currentNodeId": execution.node_id,
        "completedAt": None if execution.status == "running" else at,
        "updatedAt": at,
        "state": _state_of(execution),
    }
    history = list(_entries(write.history))
    if write.former is None:
        named = {"_id": execution.id, "merchantId": write.merchant_id, "accountId": write.account_id}
        named |= {"contactId": execution.contact_id, "flowId": execution.flow_id}
        begun = {"version": write.version, "startedAt": at, "history": history[-MOST_HISTORY:], "revision": 1}
        listening = {"listening": True} if write.listening else {}
        return InsertOne({**named, **begun, **fields, **listening})
    update: Document = {"$set": fields, "$inc": {"revision": 1}}
    if write.listening:
        fields["listening"] = True
    else:
        update["$unset"] = {"listening": ""}
    if history:
        update["$push"] = {"history": {"$each": history, "$slice": -MOST_HISTORY}}
    # A merge gives it to another contact without a new revision.
    known = {"_id": execution.id, "revision": write.former["revision"], "contactId": write.former["contactId"]}
    return UpdateOne(known, update)


def _entries(history: Iterable[HistoryEntry]) -> Iterable[HistoryDocument]:
    for entry in history:
        yield HistoryDocument(
            nodeId=entry.node_id,
            visit=entry.visit,
            outcome=entry.outcome,
            at=entry.at,
            branch=entry.branch,
            error=entry.error,
        )


def _reminder_writes(write: ExecutionWrite) -> Iterable[ReplaceOne[Document] | DeleteOne]:
    due = due_of(write)
    if due is not None:
        yield ReplaceOne({"_id": due.id}, reminder_fields(due), upsert=True)
    elif write.former is not None and (waited := write.former["state"]["waiting"]) is not None and waited["until"]:
        yield DeleteOne({"_id": Reminder(EXECUTOR, write.execution.contact_id, write.execution.id, waited["until"]).id})


def _told(error: Exception) -> Exception:
    """Return what a caller is told: a key that was there already is one more way of being too late."""
    is_duplicate = isinstance(error, BulkWriteError | DuplicateKeyError)
    return StepSuperseded() if is_duplicate else error
