"""What starts flows, put where the executors of contacts take it from (docs/flows.md).

A start is known by the flow and by what has happened: noted twice it is one, and its execution has one id, so that it
does not begin again where it was taken in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import structlog
from pymongo import UpdateOne

from domain.flow_execution import MOST_DEPTH
from domain.flow_index import ActiveFlow
from domain.flow_nodes import Variable
from domain.flow_triggers import Happening, OnNewContact, OnTagAdded
from storage.client import Database, Document, Session
from storage.flow_directory import active_flows
from storage.flow_documents import FlowEventDocument, flow_event_id

log = structlog.get_logger()

#: What ids of executions are made in.
_STARTS = UUID("6f0d8a5e-53a6-4a3c-9a5e-3a8b5f3f3d17")


def start_event(
    contact: Mapping[str, Any],
    flow: ActiveFlow,
    key: str,
    at: datetime,
    *,
    depth: int = 0,
    variables: Mapping[str, Variable] | None = None,
    message_id: str | None = None,
) -> FlowEventDocument:
    """Return the event by which a flow starts for a contact.

    Args:
        contact: its document: `_id`, `merchantId`, `accountId`.
        flow: the flow as it is active.
        key: what it is that has happened, unique for the flow and the contact.
        at: when it has happened.
        depth: how many flows have started one another before it.
        variables: what the execution begins with.
        message_id: the contact's message that starts it, if one does.
    """
    event_id = flow_event_id(contact["_id"], f"start|{flow.id}|{key}")
    event: FlowEventDocument = {
        "_id": event_id,
        "merchantId": contact["merchantId"],
        "accountId": contact["accountId"],
        "contactId": contact["_id"],
        "kind": "start",
        "at": at,
        "flowId": flow.id,
        "version": flow.version,
        "executionId": str(uuid5(_STARTS, event_id)),
        "depth": depth,
        "variables": dict(variables or {}),
    }
    if message_id is not None:
        event["messageId"] = message_id
    return event


async def note_events(database: Database, events: Sequence[FlowEventDocument], session: Session | None = None) -> None:
    """Put events where executors take them from; one that is there already stays as it is."""
    if events:
        writes = [
            UpdateOne({"_id": event["_id"]}, {"$setOnInsert": _without_id(event)}, upsert=True) for event in events
        ]
        await database["flowEvents"].bulk_write(writes, ordered=False, session=session)


class FlowStarts:
    """Starts flows by what happens to contacts outside of the ingestion of events.

    That is seldom: the flows are read each time, exact to the moment.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def concern(self, merchant_id: str, kinds: Collection[str]) -> bool:
        """Return whether a merchant has active flows with triggers of some kinds."""
        query = {"merchantId": merchant_id, "status": "active", "trigger.type": {"$in": sorted(kinds)}}
        return await self._database["flows"].find_one(query, {"_id": 1}) is not None

    async def happened(
        self,
        contact: Mapping[str, Any],
        happenings: Sequence[Happening],
        key: str,
        at: datetime,
        *,
        session: Session | None = None,
        depth: int = 0,
        message_id: str | None = None,
    ) -> int:
        """Start what something starts that happened to a contact; returns how many flows.

        With the session of the transaction that makes it happen, both are done or neither. Without one it is to be
        called right after, and again where a request is repeated: by the same `key` it is the same start. `message_id`
        is the contact's message that it is, if it is one.
        """
        if not happenings:
            return 0
        index = await active_flows(self._database, contact["merchantId"], {each.kind for each in happenings}, session)
        flows = {flow.id: flow for each in happenings for flow in index.started_by(contact["accountId"], each)}
        if flows and depth > MOST_DEPTH:
            log.warning("flows.too_deep", contact_id=contact["_id"], flows=list(flows))
            return 0
        events = [start_event(contact, flow, key, at, depth=depth, message_id=message_id) for flow in flows.values()]
        await note_events(self._database, events, session)
        return len(events)


def tags_added(before: Iterable[str], after: Iterable[str]) -> list[Happening]:
    """Return what it is that a contact has these tags now; those that it had already are nothing new."""
    known = set(before)
    return [Happening(OnTagAdded.kind, tag) for tag in after if tag not in known]


def contact_made(tags: Iterable[str]) -> list[Happening]:
    """Return what it is that a contact was made with these tags."""
    return [Happening(OnNewContact.kind), *tags_added((), tags)]


def _without_id(event: FlowEventDocument) -> Document:
    return {name: value for name, value in event.items() if name != "_id"}
