"""Runs a flow on a virtual clock for one contact: nothing is sent, and nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actors.flow_effects_send import SOURCE, given_of
from domain.campaign_message import fillings_for
from domain.contact_policy import ContactPolicy
from domain.errors import InvalidContent, Problem
from domain.flow_graph import FlowGraph, read_flow
from domain.flow_nodes import Branch, SendMessage
from domain.flow_simulation import Script, ScriptedFailure, ScriptedReply, Simulation, simulate
from domain.flow_state import Effect, Execution
from domain.segment_conditions import All
from domain.templates import MissingVariable, render
from gateway.dependencies import Dependencies
from gateway.flow_answers import entry_answer
from gateway.models.flow_simulations import (
    SimulatedContact,
    SimulatedEffectAnswer,
    SimulateFlow,
    SimulationAnswer,
)
from storage.client import Document
from storage.flow_documents import FlowDocument

#: Messages that are rendered for one simulation: what goes round for long need not be seen to its end.
MOST_RENDERED = 100
#: What a message is filled with where no account is known.
_SAMPLE_ACCOUNT = {"displayName": "GoodGo Official", "username": "goodgo_shop", "connected": True}
_NOBODY = "simulated"


async def try_flow(deps: Dependencies, flow: FlowDocument, body: SimulateFlow, execution_id: str) -> SimulationAnswer:
    """Return the way that a contact would take through a flow as it is now, active or not.

    Raises:
        InvalidContent: when the contact does not exist, or something is scripted for a node that does not.
    """
    graph = read_flow(flow["trigger"], flow["nodes"], flow["connections"], private_allowed=True).graph
    _check_nodes(graph, body)
    contact = await _contact(deps, flow["merchantId"], body)
    trial = _Trial(await _account(deps, flow, contact), await _templates(deps, flow["merchantId"], graph), {})
    start_at = body.start_at or deps.clock.now()
    script = Script(
        contact=contact,
        campaigns=await deps.repositories.segments.reached(flow["merchantId"], contact["_id"], _conditions(graph)),
        replies=[None if each is None else ScriptedReply(each.text, each.after) for each in body.replies],
        failures={
            node_id: ScriptedFailure(each.reason, each.attempts, each.final) for node_id, each in body.failures.items()
        },
        results=body.results,
        refuses=trial.refuses,
    )
    execution = Execution(execution_id, flow["_id"], contact["_id"], variables=body.variables)
    found = await asyncio.to_thread(simulate, graph, execution, start_at, script)
    return _answer(found, start_at, trial.texts)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Says what would keep a message from being sent, as the real thing would; `texts` are those that were made."""

    account: Mapping[str, object]
    templates: Mapping[str, str]
    texts: dict[tuple[str, int], str]

    def refuses(self, effect: Effect, contact: Mapping[str, Any], at: datetime) -> str | None:
        if not isinstance(effect.action, SendMessage):
            return None
        if not self.account.get("connected"):
            return "closed_account"
        if effect.action.template_id not in self.templates:
            return "template_missing"
        refused = ContactPolicy.of(self.account).refusal(contact, SOURCE, at)
        return refused or self._unrendered(effect, self.templates[effect.action.template_id], contact)

    def _unrendered(self, effect: Effect, content: str, contact: Mapping[str, Any]) -> str | None:
        if len(self.texts) >= MOST_RENDERED:
            return None
        try:
            text = render(content, fillings_for(contact, self.account, given_of(effect.variables)))
        except MissingVariable:
            return "missing_variable"
        except InvalidContent:
            return "unrenderable"
        self.texts[effect.key.node_id, effect.key.visit] = text
        return None


def _answer(found: Simulation, start_at: datetime, texts: Mapping[tuple[str, int], str]) -> SimulationAnswer:
    execution = found.execution
    return SimulationAnswer(
        status=execution.status,
        currentNodeId=execution.node_id,
        failure=execution.failure,
        startedAt=start_at,
        endedAt=found.path[-1].at if found.path else start_at,
        variables=dict(execution.variables),
        path=[entry_answer(each) for each in found.path],
        effects=[
            SimulatedEffectAnswer(
                at=each.at,
                node=each.effect.key.node_id,
                type=each.effect.action.kind,
                attempt=each.effect.attempt,
                text=texts.get((each.effect.key.node_id, each.effect.key.visit)),
            )
            for each in found.effects
        ],
    )


def _check_nodes(graph: FlowGraph, body: SimulateFlow) -> None:
    problems = [
        Problem(f"{name}.{node_id}", "is the id of no node")
        for name, given in (("failures", body.failures), ("results", body.results))
        for node_id in given
        if node_id not in graph.nodes
    ]
    if problems:
        raise InvalidContent("There is no such node", problems=tuple(problems))


async def _contact(deps: Dependencies, merchant_id: str, body: SimulateFlow) -> Document:
    if body.contact_id is None:
        return _made_up(body.contact or SimulatedContact(), deps.clock.now())
    contact = await deps.repositories.contacts.get(merchant_id, body.contact_id)
    if contact is None:
        raise InvalidContent("There is no such contact", problems=(Problem("contactId", "is no contact of yours"),))
    return dict(contact)


def _made_up(given: SimulatedContact, now: datetime) -> Document:
    return {
        "_id": _NOBODY,
        "accountId": None,
        "username": given.username,
        "displayName": given.display_name,
        "tags": given.tags,
        "attributes": given.attributes,
        "consent": {"state": given.consent, "at": now, "source": _NOBODY},
        "source": _NOBODY,
        "conversationCount": 0,
        "firstInteractionAt": now,
        "lastInteractionAt": now,
        "createdAt": now,
        "updatedAt": now,
    }


async def _account(deps: Dependencies, flow: FlowDocument, contact: Document) -> Mapping[str, object]:
    account_id = contact["accountId"] or flow["accountId"]
    account = account_id and await deps.repositories.accounts.get(flow["merchantId"], account_id)
    return account or _SAMPLE_ACCOUNT


async def _templates(deps: Dependencies, merchant_id: str, graph: FlowGraph) -> dict[str, str]:
    """Return the contents of the templates that a flow sends, by their ids."""
    ids = {node.config.template_id for node in graph.nodes.values() if isinstance(node.config, SendMessage)}
    return await deps.repositories.templates.contents(merchant_id, ids)


def _conditions(graph: FlowGraph) -> All:
    """Return everything that a flow asks about its contact."""
    return All(tuple(node.config.conditions for node in graph.nodes.values() if isinstance(node.config, Branch)))
