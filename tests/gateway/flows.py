"""Flows and their executions, and stand-ins for the actors that run them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from domain.ids import new_id

if TYPE_CHECKING:
    from tests.gateway.conftest import Actors, Api

STARTED = datetime(2026, 1, 18, 9, 0, tzinfo=UTC)
STATE: dict[str, Any] = {
    "depth": 0,
    "visit": 1,
    "attempt": 0,
    "waiting": None,
    "variables": {},
    "heard": [],
    "unheard": None,
    "failure": None,
}
MANUAL: dict[str, Any] = {"type": "manual", "config": {}}
ENDS: list[dict[str, Any]] = [{"id": "node-1", "type": "end", "config": {}}]
TAG: dict[str, Any] = {"id": "node-1", "type": "add_tag", "config": {"tag": "vip"}}


def seed_flow(template_ids: tuple[str, str]) -> dict[str, Any]:
    """Return the body of "Create Automation Flow" in the API document, with templates that the merchant has."""
    first, second = template_ids
    return {
        "name": "Welcome Flow",
        "trigger": {"type": "new_follower", "config": {}},
        "nodes": [
            {"id": "node-1", "type": "send_message", "config": {"templateId": first, "delay": 0}},
            {"id": "node-2", "type": "wait", "config": {"duration": 86400}},
            {"id": "node-3", "type": "send_message", "config": {"templateId": second, "delay": 0}},
        ],
        "connections": [
            {"fromNodeId": "node-1", "toNodeId": "node-2"},
            {"fromNodeId": "node-2", "toNodeId": "node-3"},
        ],
    }


async def flow(api: Api, **fields: object) -> dict[str, Any]:
    """Make a flow; a draft that adds a tag where nothing else is given."""
    body = {"name": "Flow", "trigger": MANUAL, "nodes": [TAG]} | fields
    status, answer = await api.post("/automation/flows", body)
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def active_flow(api: Api, **fields: object) -> dict[str, Any]:
    made = await flow(api, **fields)
    status, answer = await api.post(f"/automation/flows/{made['id']}/activate")
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def execution(api: Api, flow_id: str, contact_id: str | None = None, **fields: object) -> str:
    """Return the id of an execution that the executor would have written."""
    document = {
        "_id": new_id(),
        "merchantId": api.merchant_id,
        "accountId": "an-account",
        "contactId": contact_id or new_id(),
        "flowId": flow_id,
        "version": 1,
        "status": "running",
        "currentNodeId": "node-1",
        "startedAt": STARTED,
        "completedAt": None,
        "updatedAt": STARTED,
        "state": STATE,
        "history": [],
        "revision": 1,
    } | fields
    await api.database["flowExecutions"].insert_one(document)
    return str(document["_id"])


@dataclass
class ExecutorStandIn:
    """Takes what is there for its contact as the executor does, and runs nothing, unless the test has it fail."""

    actors: Actors
    key: str

    async def take(self) -> None:
        self.actors.calls.append(("take", self.key))
        if self.actors.flows_fail is not None:
            raise self.actors.flows_fail
        events, executions = self.actors.database["flowEvents"], self.actors.database["flowExecutions"]
        async for event in events.find({"contactId": self.key}):
            if event["kind"] == "start" and not self.actors.refuses_starts:
                await executions.insert_one(_begun(event))
            status = {"cancel": "cancelled", "retry": "running"}.get(event["kind"])
            if status is not None:
                await executions.update_one({"_id": event["executionId"]}, {"$set": {"status": status}})
            await events.delete_one({"_id": event["_id"]})


@dataclass
class FlowStandIn:
    """Notes what it is told."""

    actors: Actors
    key: str

    async def changed(self) -> None:
        await self._told("changed")

    async def cancel_running(self) -> None:
        await self._told("cancel_running")

    async def _told(self, name: str) -> None:
        self.actors.calls.append((name, self.key))
        if self.actors.flows_fail is not None:
            raise self.actors.flows_fail


def _begun(event: dict[str, Any]) -> dict[str, Any]:
    kept = ("merchantId", "accountId", "contactId", "flowId", "version")
    return {name: event[name] for name in kept} | {
        "_id": event["executionId"],
        "status": "running",
        "currentNodeId": "node-1",
        "startedAt": event["at"],
        "completedAt": None,
        "updatedAt": event["at"],
        "state": STATE | {"variables": event["variables"]},
        "history": [
            {
                "nodeId": "node-1",
                "visit": 1,
                "outcome": "waiting",
                "at": event["at"],
                "branch": None,
                "error": None,
            }
        ],
        "revision": 1,
    }
