"""Runs a flow on a virtual clock, with what the world would answer given beforehand; nothing is sent.

It is the interpreter of real executions (`domain/flow_execution.py`) with scripted events, so that both take the same
path. Effects take no time. Source: the contract, part 5, "Flows" (`POST …/flows/{id}/simulate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from domain.flow_execution import MOST_ATTEMPTS, advance
from domain.flow_graph import FlowGraph
from domain.flow_nodes import ESCALATED, NEXT, AddTag, AiReply, RemoveTag, UpdateAttributes, Variable
from domain.flow_state import (
    Effect,
    EffectFailed,
    EffectSucceeded,
    Event,
    Execution,
    HistoryEntry,
    Replied,
    Reply,
    Started,
    Step,
    Surroundings,
    TimeReached,
)
from domain.segment_conditions import All
from domain.segment_matching import matches
from domain.segment_query import CampaignContacts

#: Answers why an effect can't be done for a contact's document at a moment; None where it can.
Refuses: TypeAlias = Callable[[Effect, Mapping[str, Any], datetime], str | None]

MOST_EVENTS = 1_000
#: How far a simulation looks ahead: a year and a day.
LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """What the contact answers, so long after the flow has begun to wait for it."""

    text: str
    after_s: int = 0


@dataclass(frozen=True, slots=True)
class ScriptedFailure:
    """How a node's effect fails, and how many attempts of each visit do."""

    reason: str
    attempts: int = MOST_ATTEMPTS
    final: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """What the world would answer.

    `contact` is a contact's document; `replies` holds one entry for each time that a reply is waited for, None where
    the contact is silent, as it is once they are used up; `failures` and `results` are by node, and an `ai_reply` whose
    result is `escalated` goes to people. `refuses` says why an effect could not be done for this contact, as it is by
    then and at that moment, whatever the script has.
    """

    contact: Mapping[str, Any]
    campaigns: CampaignContacts = field(default_factory=dict)
    replies: Sequence[ScriptedReply | None] = ()
    failures: Mapping[str, ScriptedFailure] = field(default_factory=dict)
    results: Mapping[str, Variable] = field(default_factory=dict)
    refuses: Refuses = lambda _effect, _contact, _at: None


@dataclass(frozen=True, slots=True)
class SimulatedEffect:
    """What would have been done, and when."""

    at: datetime
    effect: Effect


@dataclass(frozen=True, slots=True)
class Simulation:
    """The path taken, what would have been done on it, and how it ended.

    The execution is still `running` where the simulation came to its bounds, `MOST_EVENTS` and `LONGEST`.
    """

    execution: Execution
    path: tuple[HistoryEntry, ...]
    effects: tuple[SimulatedEffect, ...]


def simulate(
    graph: FlowGraph, execution: Execution, at: datetime, script: Script, random: Callable[[], float] = lambda: 0.5
) -> Simulation:
    """Run an execution that has not begun, from a moment on."""
    world = _World(script)
    surroundings = Surroundings(world.holds, random)
    path: list[HistoryEntry] = []
    effects: list[SimulatedEffect] = []
    event: Event | None = Started(at)
    for _ in range(MOST_EVENTS):
        if event is None or event.at - at > LONGEST:
            break
        step = advance(graph, execution, event, surroundings)
        execution = step.execution
        path += step.history
        if step.effect is not None:
            effects.append(SimulatedEffect(event.at, step.effect))
        event = world.answer(step, event.at)
    return Simulation(execution, tuple(path), tuple(effects))


class _World:
    """Answers as scripted, and remembers what was done to the contact."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._contact = dict(script.contact)
        self._waits = 0

    def holds(self, conditions: All, at: datetime) -> bool:
        return matches(conditions, self._contact, at, self._script.campaigns)

    def answer(self, step: Step, now: datetime) -> Event | None:
        """Return what happens next; None where the execution is over."""
        if step.effect is not None:
            return self._done(step.effect, now)
        waiting = step.execution.waiting
        if waiting is None or waiting.until is None:
            return None
        if waiting.reason == "reply":
            return self._reply(waiting.until, now)
        return TimeReached(waiting.until)

    def _reply(self, until: datetime, now: datetime) -> Event:
        number = self._waits
        self._waits += 1
        scripted = self._script.replies[number] if number < len(self._script.replies) else None
        if scripted is None or scripted.after_s >= (until - now).total_seconds():
            return TimeReached(until)
        return Replied(now + timedelta(seconds=scripted.after_s), Reply(f"simulated-{number}", scripted.text))

    def _done(self, effect: Effect, now: datetime) -> Event:
        failure = self._script.failures.get(effect.key.node_id)
        if failure is not None and effect.attempt <= failure.attempts:
            return EffectFailed(now, effect.key, effect.attempt, failure.reason, final=failure.final)
        refused = self._script.refuses(effect, self._contact, now)
        if refused is not None:
            return EffectFailed(now, effect.key, effect.attempt, refused, final=True)
        self._change_contact(effect)
        result = self._script.results.get(effect.key.node_id)
        is_escalated = isinstance(effect.action, AiReply) and result == ESCALATED
        return EffectSucceeded(now, effect.key, result, ESCALATED if is_escalated else NEXT)

    def _change_contact(self, effect: Effect) -> None:
        tags = list(self._contact.get("tags", []))
        match effect.action:
            case AddTag(tag):
                self._contact["tags"] = [*tags, tag] if tag not in tags else tags
            case RemoveTag(tag):
                self._contact["tags"] = [each for each in tags if each != tag]
            case UpdateAttributes(attributes):
                changed = {**self._contact.get("attributes", {}), **attributes}
                self._contact["attributes"] = {name: value for name, value in changed.items() if value is not None}
            case _:
                pass
