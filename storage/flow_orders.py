"""What people ask of executions, put where the executor of the contact takes it from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from domain.flow_index import ActiveFlow
from domain.flow_nodes import Variable
from domain.flow_triggers import OnManual
from storage.client import Database
from storage.contacts import ContactDocument
from storage.flow_documents import ExecutionDocument, FlowDocument, FlowEventDocument, flow_event_id
from storage.flow_starts import note_events, start_event


class FlowOrders:
    """Asks for executions to begin, to go on after a failure, or to end; asking twice is asking once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = database["flowEvents"]

    async def start(self, start: FlowEventDocument) -> None:
        """Ask for an execution to begin, as of `started_by_hand`."""
        await note_events(self._database, [start])

    async def retry(self, execution: ExecutionDocument, now: datetime) -> None:
        """Ask for an execution that has failed to go on from the node at which it did."""
        await self._about("retry", execution, now)

    async def cancel(self, execution: ExecutionDocument, now: datetime) -> None:
        """Ask for an execution that is under way to end."""
        await self._about("cancel", execution, now)

    async def is_waiting(self, asked: FlowEventDocument) -> bool:
        """Whether the executor has yet to take what was asked."""
        return await self._events.find_one({"_id": asked["_id"]}, {"_id": 1}) is not None

    async def _about(self, kind: Literal["retry", "cancel"], execution: ExecutionDocument, now: datetime) -> None:
        event: FlowEventDocument = {
            "_id": flow_event_id(execution["contactId"], f"{kind}|{execution['_id']}"),
            "merchantId": execution["merchantId"],
            "accountId": execution["accountId"],
            "contactId": execution["contactId"],
            "kind": kind,
            "at": now,
            "flowId": execution["flowId"],
            "executionId": execution["_id"],
        }
        await note_events(self._database, [event])


def started_by_hand(
    flow: FlowDocument, contact: ContactDocument, request_id: str, variables: Mapping[str, Variable], now: datetime
) -> FlowEventDocument:
    """Return the start of an active flow for a contact, whatever its trigger is; a request repeated is the same one."""
    active = ActiveFlow(flow["_id"], flow["version"], flow["accountId"], OnManual())
    return start_event(contact, active, f"{OnManual.kind}|{request_id}", now, variables=variables)
