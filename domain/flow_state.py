"""The state of an execution of a flow, what happens to it, and what it wants done (contract, part 5, "Flows").

A state is all that is kept of an execution beside its history; it goes on with the version of the flow that it began
with. Moments are in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from domain.flow_nodes import NEXT, Action, Variable
from domain.flow_triggers import ExecutionStatus
from domain.segment_conditions import All

WaitReason: TypeAlias = Literal["time", "reply", "effect", "retry"]
#: `waiting` and `retrying` are said of a visit that goes on; each ends `done`, `failed` or `cancelled`.
Outcome: TypeAlias = Literal["waiting", "retrying", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class EffectKey:
    """What an effect is known by: it is done once, however often it is asked for."""

    execution_id: str
    node_id: str
    visit: int

    def __str__(self) -> str:
        return f"{self.execution_id}:{self.node_id}:{self.visit}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What is to be done outside; `attempt` counts from 1, `depth` how many flows have started one another."""

    key: EffectKey
    attempt: int
    action: Action
    variables: Mapping[str, Variable]
    depth: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A message of the contact."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an execution waits for, and until when; an effect has no end of its own."""

    reason: WaitReason
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """The state of an execution; `node_id` is where it is, `visit` counts the nodes that it has come to.

    A reply that comes while none is waited for is kept as `unheard` until the flow sends its next message: a contact
    may answer before the flow has come to wait for it. `heard` holds the ids of the last messages that came.
    """

    id: str
    flow_id: str
    contact_id: str
    depth: int = 0
    status: ExecutionStatus = "running"
    node_id: str | None = None
    visit: int = 0
    attempt: int = 0
    waiting: Waiting | None = None
    variables: Mapping[str, Variable] = field(default_factory=dict)
    heard: tuple[str, ...] = ()
    unheard: Reply | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The execution begins; the message that it began with, if any, is no reply."""

    at: datetime
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class TimeReached:
    """It is this late."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Replied:
    """The contact has written."""

    at: datetime
    reply: Reply


@dataclass(frozen=True, slots=True)
class EffectSucceeded:
    """An effect was done; `result` is what a node may keep as a variable, `branch` the one that it leads to."""

    at: datetime
    key: EffectKey
    result: Variable = None
    branch: str = NEXT


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """An attempt has failed; `final` where trying again is of no use, `reason` a short code that may be shown."""

    at: datetime
    key: EffectKey
    attempt: int
    reason: str
    final: bool = False
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody ends the execution."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Retried:
    """Somebody lets an execution that has failed go on from the node at which it did."""

    at: datetime


#: What happens by itself, and what people order.
Happened: TypeAlias = Started | TimeReached | Replied | EffectSucceeded | EffectFailed
Event: TypeAlias = Happened | Cancelled | Retried


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What became of a visit to a node; `branch` is the one by which the flow went on, if it did."""

    node_id: str
    visit: int
    outcome: Outcome
    at: datetime
    branch: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What an event makes of an execution; without an effect and without history where it changes nothing else."""

    execution: Execution
    effect: Effect | None = None
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an execution can't know by itself: whether the contact meets conditions at a moment, and chance (0…1)."""

    holds: Callable[[All, datetime], bool]
    random: Callable[[], float]
