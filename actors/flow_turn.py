"""What the executor of a contact decides: everything that has happened to the contact, in order, makes one step.

Nothing is read or done here, so that a step which comes too late can be decided anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from actors.flow_surroundings import Knowledge
from domain.flow_execution import advance, listens, outstanding
from domain.flow_nodes import SendMessage
from domain.flow_state import (
    Cancelled,
    Effect,
    EffectFailed,
    EffectKey,
    EffectSucceeded,
    Event,
    Execution,
    HistoryEntry,
    Replied,
    Reply,
    Retried,
    Started,
    Surroundings,
    TimeReached,
)
from domain.flow_triggers import may_enter
from storage.flow_documents import ExecutionDocument, FlowEventDocument, flow_event_id, flow_message_id
from storage.flow_executions import ExecutionWrite, FlowStep, execution_of
from storage.flow_situations import Situation
from storage.flow_versions import FlowVersion

#: By how much a timer may go off too early: the clock is cut to milliseconds, and a loop's timers have a resolution.
_EARLY = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Decided:
    """A step; the effects that are to be done once it is written; and by how much executions were woken too late."""

    step: FlowStep
    to_do: tuple[tuple[FlowEventDocument, Effect], ...]
    late_s: tuple[float, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.step.executions or self.step.taken)


@dataclass(slots=True)
class _Open:
    """An execution in the turn; without a version its flow was deleted."""

    former: ExecutionDocument | None
    number: int
    version: FlowVersion | None
    execution: Execution
    merchant_id: str
    account_id: str
    history: list[HistoryEntry] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        return self.former is None or bool(self.history) or self.execution != execution_of(self.former)

    @property
    def has_tried(self) -> bool:
        """Whether an attempt was begun that nobody has been told of."""
        before = (0, 0) if self.former is None else (self.former["state"]["visit"], self.former["state"]["attempt"])
        return (self.execution.visit, self.execution.attempt) != before


class FlowTurn:
    """One turn of a contact's executor."""

    def __init__(self, situation: Situation, knowledge: Knowledge, now: datetime, random: Callable[[], float]) -> None:
        self._situation = situation
        self._knowledge = knowledge
        self._now = now
        self._surroundings = Surroundings(knowledge.holds, random)
        self._open: dict[str, _Open] = {}
        self._taken: list[str] = []
        self._waiting_effects: list[tuple[FlowEventDocument, Effect]] = []
        self._withdrawn: list[str] = []
        self._late_s: list[float] = []
        for document in situation.executions.values():
            self._take_up(document)

    def decide(self, contact_id: str, woken: frozenset[str]) -> Decided:
        """Take everything that has happened, then wake those whose time has come."""
        for event in self._situation.events:
            self._take(event)
        for execution_id in sorted(woken):
            self._wake(execution_id)
        for each in self._open.values():
            self._end_without_flow(each)
        changed = [each for each in self._open.values() if each.is_changed]
        effects = [self._effect_event(each) for each in changed]
        new = [each for each in effects if each is not None]
        step = FlowStep(
            contact_id,
            self._now,
            executions=tuple(map(_write_of, changed)),
            taken=tuple(self._taken),
            effects=tuple(event for event, _ in new),
            withdrawn=tuple(self._withdrawn),
        )
        return Decided(step, (*self._waiting_effects, *new), tuple(self._late_s))

    # --- what has happened

    def _take(self, event: FlowEventDocument) -> None:
        match event["kind"]:
            case "start":
                self._start(event)
            case "reply":
                self._hear(event)
            case "effect":
                if not self._is_to_be_done(event):
                    self._taken.append(event["_id"])
                return
            case "sent":
                self._tell(event, lambda _: EffectSucceeded(self._now, _key_of(event)))
            case "failed":
                self._tell(event, lambda known: self._failed(event, known))
            case "cancel":
                self._withdraw_message(event)
                self._tell(event, lambda _: Cancelled(self._now))
            case "retry":
                self._tell(event, lambda _: Retried(self._now))
        self._taken.append(event["_id"])

    def _start(self, event: FlowEventDocument) -> None:
        execution_id, flow_id = event["executionId"], event["flowId"]
        version = self._knowledge.versions.get((flow_id, event["version"]))
        if execution_id in self._open or version is None or flow_id not in self._situation.active:
            return
        # What began in this very turn is not among those that were read.
        begun = [each.execution.status for each in self._open.values() if each.former is None and _of(each, flow_id)]
        if not may_enter(version.re_entry, [*self._situation.entered.get(flow_id, ()), *begun]):
            return
        execution = Execution(
            execution_id,
            flow_id,
            event["contactId"],
            depth=event.get("depth", 0),
            variables=event.get("variables", {}),
        )
        self._open[execution_id] = _Open(
            None, event["version"], version, execution, event["merchantId"], event["accountId"]
        )
        self._advance(self._open[execution_id], Started(self._now, event.get("messageId")))

    def _hear(self, event: FlowEventDocument) -> None:
        text = self._situation.texts.get(event["messageId"])
        if text is None:
            return  # it was erased
        reply = Replied(self._now, Reply(event["messageId"], text))
        for each in self._open.values():
            is_own = each.execution.contact_id == event["contactId"]
            if is_own and each.version is not None and listens(each.version.graph, each.execution):
                self._advance(each, reply)

    def _is_to_be_done(self, event: FlowEventDocument) -> bool:
        """Take what became of an effect; answers whether it is still to be done."""
        known = self._open.get(event["executionId"])
        if known is None or known.version is None:
            return False
        effect = outstanding(known.version.graph, known.execution)
        is_it = effect is not None and (effect.key, effect.attempt) == (_key_of(event), event["attempt"])
        outcome = event.get("outcome")
        if outcome is None:
            if effect is not None and is_it:
                self._waiting_effects.append((event, effect))
            return is_it
        key = _key_of(event)
        if outcome["reason"] is None:
            self._advance(known, EffectSucceeded(self._now, key, outcome["result"], outcome["branch"]))
        else:
            self._advance(
                known,
                EffectFailed(
                    self._now,
                    key,
                    event["attempt"],
                    outcome["reason"],
                    final=outcome["final"],
                    retry_after_s=outcome["retryAfterS"],
                ),
            )
        return False

    def _failed(self, event: FlowEventDocument, known: Execution) -> Event:
        # The account's actor has tried whatever could help: a message that has failed is not sent a second time.
        return EffectFailed(self._now, _key_of(event), known.attempt, event.get("reason", "failed"), final=True)

    def _withdraw_message(self, event: FlowEventDocument) -> None:
        known = self._open.get(event["executionId"])
        effect = None
        if known is not None and known.version is not None:
            effect = outstanding(known.version.graph, known.execution)
        if effect is not None and isinstance(effect.action, SendMessage):
            self._withdrawn.append(flow_message_id(effect.key))

    def _tell(self, event: FlowEventDocument, said: Callable[[Execution], Event]) -> None:
        known = self._open.get(event["executionId"])
        if known is not None:
            self._advance(known, said(known.execution))

    def _wake(self, execution_id: str) -> None:
        known = self._open.get(execution_id)
        if known is None:
            return
        waiting = known.execution.waiting
        if waiting is None or waiting.until is None or waiting.until > self._now + _EARLY:
            return
        at = max(self._now, waiting.until)
        self._late_s.append((at - waiting.until).total_seconds())
        self._advance(known, TimeReached(at))

    # --- executions

    def _take_up(self, document: ExecutionDocument) -> None:
        version = self._knowledge.versions.get((document["flowId"], document["version"]))
        self._open[document["_id"]] = _Open(
            document,
            document["version"],
            version,
            execution_of(document),
            document["merchantId"],
            document["accountId"],
        )

    def _advance(self, known: _Open, event: Event) -> None:
        if known.version is None:
            return
        step = advance(known.version.graph, known.execution, event, self._surroundings)
        known.execution = step.execution
        known.history += step.history

    def _end_without_flow(self, each: _Open) -> None:
        """End an execution whose flow was deleted: there is nothing to go on by."""
        if each.version is None and each.execution.status == "running":
            each.execution = replace(
                each.execution, status="cancelled", waiting=None, unheard=None, failure="flow_deleted"
            )

    def _effect_event(self, each: _Open) -> tuple[FlowEventDocument, Effect] | None:
        if each.version is None or not each.has_tried:
            return None
        effect = outstanding(each.version.graph, each.execution)
        if effect is None:
            return None
        key, contact_id = effect.key, each.execution.contact_id
        event = FlowEventDocument(
            _id=flow_event_id(contact_id, f"effect|{key}|{effect.attempt}"),
            merchantId=each.merchant_id,
            accountId=each.account_id,
            contactId=contact_id,
            kind="effect",
            at=self._now,
            flowId=each.execution.flow_id,
            version=each.number,
            executionId=key.execution_id,
            nodeId=key.node_id,
            visit=key.visit,
            attempt=effect.attempt,
        )
        return event, effect


def _write_of(each: _Open) -> ExecutionWrite:
    return ExecutionWrite(
        each.execution,
        each.merchant_id,
        each.account_id,
        each.number,
        each.former,
        tuple(each.history),
        listening=each.version is not None and listens(each.version.graph, each.execution),
    )


def _of(each: _Open, flow_id: str) -> bool:
    return each.execution.flow_id == flow_id


def _key_of(event: FlowEventDocument) -> EffectKey:
    return EffectKey(event["executionId"], event["nodeId"], event["visit"])
