"""Simulated and real executions of any sound flow take the same path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import Settings
from domain.clock import ManualClock
from domain.flow_graph import read_flow
from domain.flow_nodes import ESCALATED
from domain.flow_simulation import Script, ScriptedFailure, ScriptedReply, simulate
from domain.flow_state import Execution
from storage.client import Client, Database, Document
from tests.actors.flow_stage import FlowStage, open_flow_stage
from tests.domain.flow_bodies import ACTIONS, sound_flows

START = datetime(2026, 1, 18, 9, 0, tzinfo=UTC)
_MOST_TURNS = 60


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[FlowStage]:
    async with open_flow_stage(client, database, settings, clock=ManualClock(START)) as stage:
        await stage.account()
        stage.start()
        yield stage


class Scripted:
    """Does the effects of an executor as a script says, without anything outside."""

    def __init__(self, stage: FlowStage, kinds: dict[str, str], script: Script) -> None:
        self._stage = stage
        self._kinds = kinds
        self._script = script

    async def do(self, event: Document, effect: Any) -> bool:
        failure = self._script.failures.get(effect.key.node_id)
        result = self._script.results.get(effect.key.node_id)
        outcome: Document = {"reason": None, "final": True, "retryAfterS": 0.0, "result": result, "branch": "next"}
        if failure is not None and effect.attempt <= failure.attempts:
            outcome |= {"reason": failure.reason, "final": failure.final}
        elif self._kinds[effect.key.node_id] == "ai_reply" and result == ESCALATED:
            outcome["branch"] = ESCALATED
        else:
            await self._change(effect.action)
        await self._stage.database["flowEvents"].update_one({"_id": event["_id"]}, {"$set": {"outcome": outcome}})
        return False

    async def _change(self, action: Any) -> None:
        contacts = self._stage.database["contacts"]
        match action.kind:
            case "add_tag":
                await contacts.update_many({}, {"$addToSet": {"tags": action.tag}})
            case "remove_tag":
                await contacts.update_many({}, {"$pull": {"tags": action.tag}})
            case _:
                pass


def scripts(data: st.DataObject, kinds: dict[str, str]) -> Script:
    acting = [name for name, kind in kinds.items() if kind in ACTIONS]
    some = st.lists(st.sampled_from(acting), unique=True) if acting else st.just([])
    failures = {
        name: ScriptedFailure("broken", data.draw(st.integers(1, 5)), data.draw(st.booleans()))
        for name in data.draw(some)
    }
    return Script(
        {"_id": "c1", "tags": [], "attributes": {}},
        replies=data.draw(st.lists(st.one_of(st.none(), st.just(ScriptedReply("yes"))), max_size=6)),
        failures=failures,
        results=dict.fromkeys(data.draw(some), ESCALATED),
    )


async def run(stage: FlowStage, execution_id: str, contact_id: str, script: Script) -> None:
    """Let an execution go on, as long as something happens."""
    replies = [*script.replies]
    for _ in range(_MOST_TURNS):
        found: Any = await stage.execution(execution_id)
        waiting = found["state"]["waiting"]
        if waiting is None:
            return
        if waiting["reason"] == "effect":
            executor: Any = stage.host._activations["flow_executor", contact_id].actor  # type: ignore[union-attr]
            await asyncio.gather(*executor._doing.values())
            await stage.executor(contact_id).take()
        elif waiting["reason"] == "reply" and replies and (reply := replies.pop(0)) is not None:
            await stage.say(contact_id, reply.text)
        else:
            now = stage.clock.now()
            await stage.pass_time(max(0.0, (waiting["until"] - now).total_seconds()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=sound_flows(), data=st.data())
async def test_a_real_execution_takes_the_path_that_was_simulated(
    stage: FlowStage, body: dict[str, Any], data: Any
) -> None:
    kinds = {each["id"]: each["type"] for each in body["nodes"]}
    script = scripts(data, kinds)
    for name in ("contacts", "flowExecutions", "flowEvents", "reminders", "flows", "flowVersions"):
        await stage.database[name].delete_many({})
    [contact_id] = await stage.contacts(stage.accounts[0], 1)
    flow = await stage.flow(*body["nodes"], links=body["connections"])
    # A split asks the contact's id and the flow's.
    new = Execution("simulated", flow["_id"], contact_id)
    simulated = simulate(read_flow(**body).graph, new, stage.clock.now(), script)
    executor: Any = stage.executor(contact_id)
    await executor.take()
    actor: Any = stage.host._activations["flow_executor", contact_id].actor  # type: ignore[union-attr]
    object.__setattr__(actor._services, "effects", Scripted(stage, kinds, script))
    execution_id = await stage.begin(flow, contact_id)
    await run(stage, execution_id, contact_id, script)
    expected = [(each.node_id, each.visit, each.outcome, each.branch, each.error) for each in simulated.path]
    history = (await stage.execution(execution_id))["history"]
    taken = [tuple(each[name] for name in ("nodeId", "visit", "outcome", "branch", "error")) for each in history]
    # What goes round for long is not followed to its end.
    assert taken == expected[: len(taken)]
    assert len(taken) == len(expected) or len(taken) >= _MOST_TURNS / 2
