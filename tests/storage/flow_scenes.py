"""Flows as merchants have them, and what they are started by."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from domain.ids import new_id
from storage.client import Database, Document
from storage.flow_documents import FlowDocument
from storage.flows import FlowFields, Flows
from tests.storage.arrivals import START

_MOMENTS = count(1)
END = [{"id": "end", "type": "end", "config": {}}]
LISTENS = [{"id": "ask", "type": "wait_for_reply", "config": {"timeout": 3600}}]


async def add_flow(database: Database, kind: str, *, merchant: str = "m1", **fields: Any) -> FlowDocument:
    """Store a draft that is started by a trigger of this kind, whose `config` may be given."""
    given: Any = {
        "name": kind,
        "accountId": None,
        "trigger": {"type": kind, "config": fields.pop("config", {})},
        "nodes": END,
        "connections": [],
        "reEntry": "always",
    } | fields
    flow_fields: FlowFields = given
    return await Flows(database).add(merchant, new_id(), flow_fields, START)


async def activate(database: Database, flow: FlowDocument) -> FlowDocument:
    return await Flows(database).activate(flow, START + timedelta(milliseconds=next(_MOMENTS)))


async def deactivate(database: Database, flow: FlowDocument) -> FlowDocument:
    return await Flows(database).deactivate(flow, START + timedelta(milliseconds=next(_MOMENTS)))


async def change(database: Database, flow: FlowDocument, **fields: Any) -> FlowDocument:
    names = ("name", "accountId", "trigger", "nodes", "connections", "reEntry")
    given: Any = {name: fields.get(name, flow[name]) for name in names}  # type: ignore[literal-required]
    return await Flows(database).change(flow, given, START + timedelta(milliseconds=next(_MOMENTS)))


async def active_flow(database: Database, kind: str, **fields: Any) -> FlowDocument:
    return await activate(database, await add_flow(database, kind, **fields))


async def flow_events(database: Database, kind: str = "start", **query: Any) -> list[Document]:
    """Return what executors have yet to take, in order."""
    return await database["flowEvents"].find({"kind": kind, **query}).sort([("at", 1), ("_id", 1)]).to_list()


async def started(database: Database) -> list[str]:
    """Return the flows of the starts that executors have yet to take, in order."""
    return [event["flowId"] for event in await flow_events(database)]
