"""The actor of a contact's executions of flows: whatever happens to them is decided here, one thing at a time.

What is to be taken waits in `flowEvents`, when to wake in `reminders`, and each step is one write
(`storage/flow_executions.py`). So the actor may be lost at any moment: what was not written has not happened, and is
found again. Effects are done beside its turns.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from random import SystemRandom

import structlog
from prometheus_client import Counter, Histogram
from pymongo.errors import PyMongoError

from actors.campaign_run import Tell
from actors.flow_effects import FlowEffects
from actors.flow_surroundings import knowledge_of
from actors.flow_turn import Decided, FlowTurn
from actors.runtime.actor import Actor
from domain.clock import Waker
from domain.errors import Unavailable
from domain.flow_state import Effect
from domain.reminder import Reminder
from storage.client import Document
from storage.flow_documents import EXECUTOR, ExecutionDocument, FlowEventDocument
from storage.flow_events import FlowEvents
from storage.flow_executions import ContactGone, FlowExecutions, StepSuperseded, due_of
from storage.flow_situations import Asked, FlowSituations, Situation
from storage.flow_versions import FlowVersions
from storage.reminders import Reminders
from storage.segments import Segments

log = structlog.get_logger()

STEPS = Counter("mktx_flow_steps_total", "Steps of executors of flows, by outcome", ["outcome"])
EXECUTIONS = Counter("mktx_flow_executions_total", "Executions of flows, by outcome", ["outcome"])
LATENESS = Histogram(
    "mktx_flow_lateness_seconds",
    "Time from the moment that an execution waited for to the step",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0),
)

#: Times that a step is decided anew because something has changed meanwhile.
_ATTEMPTS = 10
_RETRY_S = 2
#: Waits that are shorter than this are not left to the reminders alone, which are read every few seconds.
_SHORT = timedelta(seconds=5)
_chance = SystemRandom()


@dataclass(frozen=True, slots=True)
class ExecutorServices:
    """What the executors of flows work with."""

    situations: FlowSituations
    executions: FlowExecutions
    events: FlowEvents
    versions: FlowVersions
    segments: Segments
    reminders: Reminders
    effects: FlowEffects
    clock: Waker
    tell: Tell
    random: Callable[[], float] = _chance.random


class FlowExecutor(Actor):
    """Takes what happens to one contact's executions."""

    kind = EXECUTOR

    def __init__(self, key: str, services: ExecutorServices) -> None:
        super().__init__(key)
        self._services = services
        self._alone = asyncio.Lock()
        self._doing: dict[str, asyncio.Task[None]] = {}

    def busy(self) -> bool:
        """Stay in memory while an effect is being done."""
        return bool(self._doing)

    def on_deactivate(self) -> None:
        """Let go of effects that are being done: they are found again."""
        for task in self._doing.values():
            task.cancel()

    async def drain(self) -> None:
        """Wait for the effects that are being done."""
        while self._doing:
            await asyncio.wait(set(self._doing.values()))

    # --- messages

    async def take(self) -> None:
        """Take everything that has happened.

        Raises:
            Unavailable: when the database is not to be reached, or the contact is being merged.
        """
        await self._look(frozenset())

    async def on_reminder(self, name: str, payload: Mapping[str, object]) -> None:  # noqa: ARG002  # the name says it
        """Wake an execution whose time has come.

        Raises:
            Unavailable: when the database is not to be reached, or the contact is being merged.
        """
        await self._look(frozenset({name}))

    # --- turns

    async def _look(self, woken: frozenset[str]) -> None:
        async with self._alone:
            try:
                for _ in range(_ATTEMPTS):
                    if await self._step(woken):
                        return
            except PyMongoError as error:
                STEPS.labels("unavailable").inc()
                raise Unavailable("The database is not to be reached", retry_after_s=_RETRY_S) from error
        raise Unavailable("The executions are being changed by others", retry_after_s=_RETRY_S)

    async def _step(self, woken: frozenset[str]) -> bool:
        """Decide and write; answers whether that was it, and nothing has changed meanwhile."""
        services = self._services
        # What ends between the reading and the end of the step is told of once more.
        under_way = set(self._doing)
        situation = await self._pass_on(await services.situations.read(Asked(self.key, woken)), woken)
        if not situation.events and not situation.executions:
            return True
        if situation.contact is None:
            await self._without_contact(situation)
            return True
        decided = await self._decided(situation, situation.contact, woken)
        if not decided.is_empty:
            try:
                await services.executions.write(decided.step)
            except (StepSuperseded, ContactGone) as error:
                STEPS.labels("superseded" if isinstance(error, StepSuperseded) else "contact_gone").inc()
                return False
            self._note(decided)
        for event, effect in decided.to_do:
            if event["_id"] not in under_way:
                self._begin(event, effect)
        return True

    async def _decided(self, situation: Situation, contact: Document, woken: frozenset[str]) -> Decided:
        services = self._services
        knowledge = await knowledge_of(situation, contact, services.versions, services.segments)
        turn = FlowTurn(situation, knowledge, services.clock.now(), services.random)
        return turn.decide(self.key, woken)

    def _note(self, decided: Decided) -> None:
        """Count what was written, and see to it that short waits end in time."""
        services = self._services
        STEPS.labels("written").inc()
        for seconds in decided.late_s:
            LATENESS.observe(seconds)
        outcomes = Tally[str]()
        for each in decided.step.executions:
            outcomes["started"] += each.former is None
            if each.execution.status != "running":
                outcomes[each.execution.status] += 1
            due = due_of(each)
            if due is not None and due.due_at <= decided.step.at + _SHORT:
                services.clock.call_at(due.due_at, partial(self._wake, due.name))
        for outcome, count in outcomes.items():
            EXECUTIONS.labels(outcome).inc(count)

    def _wake(self, execution_id: str) -> None:
        self._services.tell(EXECUTOR, self.key, "on_reminder", execution_id, {})

    # --- contacts that are gone

    async def _pass_on(self, situation: Situation, woken: frozenset[str]) -> Situation:
        """Give what is about executions of another contact, with which this one was merged, to that one's executor.

        Returns the situation without it.
        """
        services = self._services
        elsewhere = {name: each for name, each in situation.executions.items() if each["contactId"] != self.key}
        for execution_id, execution in elsewhere.items():
            contact_id = execution["contactId"]
            events = [each["_id"] for each in situation.events if each.get("executionId") == execution_id]
            if events:
                await services.events.move(events, contact_id)
                services.tell(EXECUTOR, contact_id, "take")
            if execution_id in woken:
                await self._remind(execution)
        return replace(
            situation,
            events=[each for each in situation.events if each.get("executionId") not in elsewhere],
            executions={name: each for name, each in situation.executions.items() if name not in elsewhere},
        )

    async def _remind(self, execution: ExecutionDocument) -> None:
        waiting = execution["state"]["waiting"]
        if waiting is not None and waiting["until"] is not None:
            reminder = Reminder(EXECUTOR, execution["contactId"], execution["_id"], waiting["until"])
            await self._services.reminders.set(reminder)

    async def _without_contact(self, situation: Situation) -> None:
        if situation.is_moving:
            raise Unavailable("The contact is being merged", retry_after_s=_RETRY_S)
        log.info("flow.contact_gone", contact_id=self.key, events=len(situation.events))
        await self._services.executions.remove_of([self.key])

    # --- effects

    def _begin(self, event: FlowEventDocument, effect: Effect) -> None:
        event_id = event["_id"]
        if event_id not in self._doing:
            task = asyncio.create_task(self._do(event, effect))
            self._doing[event_id] = task
            task.add_done_callback(lambda done: self._ended(event_id, done))

    async def _do(self, event: FlowEventDocument, effect: Effect) -> None:
        if await self._services.effects.do(event, effect):
            self._services.tell(EXECUTOR, self.key, "take")

    def _ended(self, event_id: str, task: asyncio.Task[None]) -> None:
        del self._doing[event_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("flow.effect_task_failed", contact_id=self.key, exc_info=error)
