"""How an execution of a flow goes on: a state and an event make a new state, what is to be done, and what is recorded.

Nothing is done here. A step goes through nodes until something must be done or waited for, so that it is one write:
the new state, the entries of history, and at most one effect, which is known by execution, node and visit. The state
says whether its effect is still to be done (`outstanding`), hence after a crash the very same is done again, under the
same key. What comes twice, or too late, changes nothing.

An effect that fails is tried again, after delays that double and are spread by chance (the "equal jitter" of the AWS
Architecture Blog, "Exponential Backoff And Jitter"); when that does not help, the node's `error` branch is taken, and
where there is none the execution fails. Source: the contract, part 5, "Flows".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from domain.contact_fields import LONGEST_TEXT
from domain.flow_graph import FlowGraph
from domain.flow_nodes import (
    ERROR,
    FALSE,
    NEXT,
    REPLY,
    TIMEOUT,
    TRUE,
    Branch,
    End,
    HttpRequest,
    NodeConfig,
    SendMessage,
    Split,
    StartFlow,
    Variable,
    Wait,
    WaitForReply,
    branches_of,
)
from domain.flow_state import (
    Cancelled,
    Effect,
    EffectFailed,
    EffectKey,
    EffectSucceeded,
    Event,
    Execution,
    Happened,
    HistoryEntry,
    Outcome,
    Replied,
    Reply,
    Retried,
    Started,
    Step,
    Surroundings,
    TimeReached,
    Waiting,
    WaitReason,
)
from domain.flow_triggers import ExecutionStatus
from domain.variants import assigned

#: Times that an effect is tried.
MOST_ATTEMPTS = 5
FIRST_DELAY_S = 5.0
LONGEST_DELAY_S = 900.0
#: What a failure itself may ask to be waited for: a day.
LONGEST_RETRY_AFTER_S = 86_400.0
#: Nodes that one execution comes to; one that goes round for ever ends here.
MOST_VISITS = 10_000
#: Last messages of a contact that are known again when they come a second time.
MOST_HEARD = 20
#: Flows that start one another.
MOST_DEPTH = 10

TOO_MANY_VISITS, TOO_DEEP = "too_many_visits", "too_many_nested_flows"


def advance(graph: FlowGraph, execution: Execution, event: Event, surroundings: Surroundings) -> Step:
    """Return what an event makes of an execution of this graph."""
    turn = _Turn(graph, execution, event.at, surroundings)
    is_running = execution.status == "running"
    match event:
        case Cancelled():
            if is_running:
                turn.cancel()
        case Retried():
            if execution.status == "failed":
                turn.begin_again()
        case _:
            if is_running:
                turn.take(event)
    effect = outstanding(graph, turn.execution) if turn.has_tried else None
    return Step(turn.execution, effect, tuple(turn.history))


def outstanding(graph: FlowGraph, execution: Execution) -> Effect | None:
    """Return the effect that an execution waits for; it is the one of the step that made this state."""
    if execution.waiting is None or execution.waiting.reason != "effect" or execution.node_id is None:
        return None
    action = graph.config(execution.node_id)
    if isinstance(action, Wait | WaitForReply | Branch | Split | End):
        return None
    given = action.variables if isinstance(action, SendMessage) else {}
    variables = {**execution.variables, **given}
    key = EffectKey(execution.id, execution.node_id, execution.visit)
    return Effect(key, execution.attempt, action, variables, execution.depth)


def listens(graph: FlowGraph, execution: Execution) -> bool:
    """Return whether a message of the contact may matter to an execution.

    It does where a reply is waited for, or will be before the flow sends its next message.
    """
    if execution.status != "running" or execution.node_id is None:
        return False
    seen, ahead = set[str](), [execution.node_id]
    while ahead:
        node_id = ahead.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        config = graph.config(node_id)
        if isinstance(config, WaitForReply):
            return True
        # What is written before a message is no answer to it; one that is on its way may be answered already.
        is_on_its_way = node_id == execution.node_id and execution.waiting == Waiting("effect")
        if not isinstance(config, SendMessage) or is_on_its_way:
            following = (graph.after(node_id, branch) for branch in branches_of(config))
            ahead += [each for each in following if each is not None]
    return False


def retry_delay(attempt: int, random: Callable[[], float]) -> timedelta:
    """Return how long is waited after a failed attempt, counted from 1: half to all of a doubled time."""
    whole = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 64))
    return timedelta(seconds=whole / 2 + whole / 2 * random())


class _Way(NamedTuple):
    """By which branch the flow leaves a node, and which error made it."""

    branch: str
    error: str | None = None


class _Turn:
    """One step under way."""

    def __init__(self, graph: FlowGraph, execution: Execution, at: datetime, surroundings: Surroundings) -> None:
        self.execution = execution
        self.history: list[HistoryEntry] = []
        self.has_tried = False
        self._graph = graph
        self._at = at
        self._surroundings = surroundings

    def take(self, event: Happened) -> None:
        """Take what has happened to an execution that is under way."""
        waiting = self.execution.waiting
        match event:
            case Started(message_id=message_id):
                if not self.execution.visit:
                    heard = () if message_id is None else (message_id,)
                    self.execution = replace(self.execution, heard=heard, unheard=None)
                    self._go(self._graph.start)
            case TimeReached():
                if waiting is not None and waiting.until is not None and waiting.until <= event.at:
                    self._time_is_over(waiting.reason)
            case Replied(reply=reply):
                self._hear(reply, is_awaited=waiting is not None and waiting.reason == "reply")
            case EffectSucceeded(key=key):
                if self._is_about(key):
                    self._succeed(event)
            case EffectFailed(key=key, attempt=attempt):
                if self._is_about(key) and waiting == Waiting("effect") and attempt == self.execution.attempt:
                    self._fail_attempt(event)

    def cancel(self) -> None:
        """End the execution where it is."""
        self._note("cancelled")
        self._end("cancelled")

    def begin_again(self) -> None:
        """Come to the node again at which the execution has failed; a message is not delayed a second time."""
        node_id = self._here()
        self.execution = replace(self.execution, status="running", failure=None)
        if isinstance(self._config(), SendMessage):
            if self._come_to(node_id):
                self._try()
        else:
            self._go(node_id)

    def _is_about(self, key: EffectKey) -> bool:
        """Whether an effect is the one that is tried; it may succeed late, while it is to be tried again."""
        now = self.execution
        is_tried = now.waiting is not None and now.waiting.reason in {"effect", "retry"}
        return is_tried and (now.id, now.node_id, now.visit) == (key.execution_id, key.node_id, key.visit)

    def _time_is_over(self, reason: WaitReason) -> None:
        if reason == "reply":
            self._leave(_Way(TIMEOUT))
        elif reason == "retry" or isinstance(self._config(), SendMessage):
            self._try()
        else:
            self._leave(_Way(NEXT))

    def _hear(self, reply: Reply, *, is_awaited: bool) -> None:
        heard = self.execution.heard
        if reply.message_id in heard:
            return
        self.execution = replace(self.execution, heard=(*heard, reply.message_id)[-MOST_HEARD:], unheard=reply)
        config = self._config() if is_awaited else None
        way = self._take_unheard(config) if isinstance(config, WaitForReply) else None
        if way is not None:
            self._leave(way)

    def _take_unheard(self, config: WaitForReply) -> _Way | None:
        """Take the reply that is there, if one is."""
        reply = self.execution.unheard
        if reply is None:
            return None
        self._keep(config.save_as, reply.text)
        self.execution = replace(self.execution, unheard=None)
        return _Way(REPLY)

    def _succeed(self, done: EffectSucceeded) -> None:
        config = self._config()
        if isinstance(config, HttpRequest):
            self._keep(config.save_as, done.result)
        self._leave(_Way(done.branch))

    def _fail_attempt(self, failed: EffectFailed) -> None:
        if failed.final or self.execution.attempt >= MOST_ATTEMPTS:
            self._fail(failed.reason)
            return
        asked = timedelta(seconds=min(max(failed.retry_after_s, 0.0), LONGEST_RETRY_AFTER_S))
        delay = max(asked, retry_delay(self.execution.attempt, self._surroundings.random))
        self._note("retrying", error=failed.reason)
        self._wait("retry", self._at + delay)

    def _fail(self, reason: str) -> None:
        """Go on by the branch for errors; without one, the execution is over."""
        way = self._way_out(reason)
        if way is not None:
            self._leave(way)

    def _way_out(self, reason: str) -> _Way | None:
        if self._graph.after(self._here(), ERROR) is not None:
            return _Way(ERROR, reason)
        self._note("failed", error=reason)
        self._end("failed", reason)
        return None

    def _leave(self, way: _Way) -> None:
        self._go(self._left_by(way))

    def _left_by(self, way: _Way) -> str | None:
        """Record that a node was left; return the next."""
        self._note("done" if way.error is None else "failed", branch=way.branch, error=way.error)
        return self._graph.after(self._here(), way.branch)

    def _go(self, node_id: str | None) -> None:
        """Go through nodes until something must be done or waited for, or nothing is left."""
        while node_id is not None:
            if not self._come_to(node_id):
                return
            way = self._way_on()
            if way is None:
                return
            node_id = self._left_by(way)
        self._end("completed")

    def _come_to(self, node_id: str) -> bool:
        """Begin a visit, unless the execution has made too many and ends with that."""
        if self.execution.visit >= MOST_VISITS:
            self._end("failed", TOO_MANY_VISITS)
            return False
        visit = self.execution.visit + 1
        self.execution = replace(self.execution, node_id=node_id, visit=visit, attempt=0, waiting=None)
        return True

    def _way_on(self) -> _Way | None:
        """Return the way by which the flow leaves a node at once; None where it stays there, or is over."""
        config = self._config()
        way: _Way | None = None
        match config:
            case Branch(conditions):
                way = _Way(TRUE if self._surroundings.holds(conditions, self._at) else FALSE)
            case Split():
                way = _Way(self._drawn(config))
            case WaitForReply(timeout_s):
                way = self._take_unheard(config)
                if way is None:
                    self._stand("reply", self._at + timedelta(seconds=timeout_s))
            case Wait():
                until = _end_of(config, self._at)
                if until <= self._at:
                    way = _Way(NEXT)
                else:
                    self._stand("time", until)
            case SendMessage(delay_s=delay) if delay:
                self._stand("time", self._at + timedelta(seconds=delay))
            case StartFlow() if self.execution.depth >= MOST_DEPTH:
                way = self._way_out(TOO_DEEP)
            case End():
                self._note("done")
                self._end("completed")
            case _:
                self._try()
        return way

    def _drawn(self, split: Split) -> str:
        """Return a split's branch: the same for the contact at the same visit, simulated or real, now or repeated."""
        now = self.execution
        of = f"{now.flow_id}|{now.node_id}|{now.visit}"
        return assigned(of, now.contact_id, tuple(split.weights.items())) or NEXT

    def _try(self) -> None:
        if isinstance(self._config(), SendMessage):
            # What was written before the message is no answer to it.
            self.execution = replace(self.execution, unheard=None)
        self.execution = replace(self.execution, attempt=self.execution.attempt + 1)
        self._wait("effect")
        self.has_tried = True

    def _stand(self, reason: WaitReason, until: datetime) -> None:
        self._note("waiting")
        self._wait(reason, until)

    def _wait(self, reason: WaitReason, until: datetime | None = None) -> None:
        self.execution = replace(self.execution, waiting=Waiting(reason, until))

    def _end(self, status: ExecutionStatus, failure: str | None = None) -> None:
        node_id = None if status == "completed" else self.execution.node_id
        self.execution = replace(
            self.execution, status=status, node_id=node_id, waiting=None, unheard=None, failure=failure
        )

    def _keep(self, name: str | None, value: Variable) -> None:
        if name is not None:
            kept = value[:LONGEST_TEXT] if isinstance(value, str) else value
            self.execution = replace(self.execution, variables={**self.execution.variables, name: kept})

    def _note(self, outcome: Outcome, *, branch: str | None = None, error: str | None = None) -> None:
        entry = HistoryEntry(self._here(), self.execution.visit, outcome, self._at, branch, error)
        self.history.append(entry)

    def _here(self) -> str:
        if self.execution.node_id is None:
            raise RuntimeError("an execution that is at no node waits for nothing")
        return self.execution.node_id

    def _config(self) -> NodeConfig:
        return self._graph.config(self._here())


def _end_of(wait: Wait, at: datetime) -> datetime:
    if wait.until is not None:
        return wait.until
    return at + timedelta(seconds=wait.duration_s or 0)
