"""Everything that the executor of a contact decides by, read for many contacts with a few queries."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from domain.flow_triggers import ExecutionStatus
from storage.client import Collection as Stored
from storage.client import Database, Document
from storage.flow_documents import ExecutionDocument, FlowEventDocument
from storage.flow_events import in_order
from storage.together import Together

#: Contacts that are looked at together.
_MOST_AT_ONCE = 128


class Asked(NamedTuple):
    """Whose situation is asked for, and which of its executions are to be looked at whatever has happened to them."""

    contact_id: str
    woken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Situation:
    """A contact, what has happened to it, and the executions that this concerns.

    There is no contact where it was erased or merged into another one; `is_moving` while a merge moves its executions.
    `entered` says by flow where each of the contact's executions is, for flows that are to start, and `active` which
    of these flows are active. `texts` are those of messages by id.
    """

    contact: Document | None
    is_moving: bool = False
    events: Sequence[FlowEventDocument] = ()
    executions: Mapping[str, ExecutionDocument] = field(default_factory=dict)
    entered: Mapping[str, Sequence[ExecutionStatus]] = field(default_factory=dict)
    active: Collection[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


class FlowSituations:
    """Reads situations; those that are asked for at the same moment are read together."""

    def __init__(self, database: Database) -> None:
        self._contacts = database["contacts"]
        self._merges = database["contactMerges"]
        self._events = database["flowEvents"]
        self._executions = database["flowExecutions"]
        self._flows = database["flows"]
        self._messages = database["messages"]
        self._together = Together(self._read_all, most=_MOST_AT_ONCE)

    async def read(self, asked: Asked) -> Situation:
        """Return a contact's situation.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        return await self._together(asked)

    async def _read_all(self, asked: Sequence[Asked]) -> list[Situation]:
        contact_ids = sorted({each.contact_id for each in asked})
        contacts, events = await asyncio.gather(
            _by_id(self._contacts, contact_ids), _listed(self._events, {"contactId": {"$in": contact_ids}})
        )
        missing = [each for each in contact_ids if each not in contacts]
        starts = [event for event in events if event["kind"] == "start"]
        replies = [event for event in events if event["kind"] == "reply"]
        named = {event["executionId"] for event in events if "executionId" in event}
        named.update(*(each.woken for each in asked))
        listening = {"contactId": {"$in": sorted({event["contactId"] for event in replies})}, "listening": True}
        entered = {
            "contactId": {"$in": sorted({event["contactId"] for event in starts})},
            "flowId": {"$in": sorted({event["flowId"] for event in starts})},
        }
        merges, by_name, by_ear, earlier, flows, messages = await asyncio.gather(
            _by_id(self._merges, missing, "_id"),
            _by_id(self._executions, sorted(named)),
            _listed(self._executions, listening if replies else None),
            _listed(self._executions, entered if starts else None, "contactId", "flowId", "status"),
            _by_id(self._flows, sorted({event["flowId"] for event in starts}), "status"),
            _by_id(self._messages, sorted({event["messageId"] for event in replies}), "content"),
        )
        executions = by_name | {each["_id"]: each for each in by_ear}
        active = {flow_id for flow_id, flow in flows.items() if flow["status"] == "active"}
        texts = {message_id: str(message.get("content", "")) for message_id, message in messages.items()}
        return [_situation(each, contacts, merges, events, executions, earlier, active, texts) for each in asked]


def _situation(
    asked: Asked,
    contacts: Mapping[str, Document],
    merges: Mapping[str, Document],
    events: Iterable[Document],
    executions: Mapping[str, Document],
    earlier: Iterable[Document],
    active: Collection[str],
    texts: Mapping[str, str],
) -> Situation:
    key = asked.contact_id
    mine = in_order(cast("FlowEventDocument", event) for event in events if event["contactId"] == key)
    named = {event["executionId"] for event in mine if "executionId" in event} | asked.woken
    concerned = {
        name: cast("ExecutionDocument", each)
        for name, each in executions.items()
        if name in named or (each["contactId"] == key and each.get("listening"))
    }
    entered: dict[str, list[ExecutionStatus]] = {}
    for each in earlier:
        if each["contactId"] == key:
            entered.setdefault(each["flowId"], []).append(each["status"])
    return Situation(contacts.get(key), key in merges, mine, concerned, entered, active, texts)


async def _by_id(collection: Stored, ids: Sequence[str], *shown: str) -> dict[str, Document]:
    query: Document | None = {"_id": {"$in": list(ids)}} if ids else None
    return {each["_id"]: each for each in await _listed(collection, query, *shown)}


async def _listed(collection: Stored, query: Document | None, *shown: str) -> list[Document]:
    """Return what a query finds; without one nothing is asked."""
    if query is None:
        return []
    return await collection.find(query, dict.fromkeys(shown, 1) if shown else None).to_list(None)
