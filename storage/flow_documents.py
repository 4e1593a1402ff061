"""The shapes of the documents of flows (docs/documents.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, NotRequired, TypeAlias, TypedDict

from domain.flow_nodes import Variable
from domain.flow_state import EffectKey, Outcome, WaitReason
from domain.flow_triggers import ExecutionStatus
from domain.ids import named_id
from domain.partition import partition_of

FlowStatus: TypeAlias = Literal["draft", "active", "inactive"]
FlowEventKind: TypeAlias = Literal["start", "reply", "sent", "failed", "effect", "cancel", "retry"]

#: The kind of the actor that takes the events of flows; its key is a contact.
EXECUTOR: Final = "flow_executor"


class FlowDocument(TypedDict):
    """A flow; `trigger`, `nodes` and `connections` are as they were given. A null account means all of the merchant."""

    _id: str
    merchantId: str
    name: str
    foldedName: str
    status: FlowStatus
    accountId: str | None
    trigger: dict[str, Any]
    nodes: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    reEntry: str
    version: int
    createdAt: datetime
    updatedAt: datetime
    activatedAt: datetime | None


class FlowVersionDocument(TypedDict):
    """What executions of one version of a flow run: written when the version is activated, never changed."""

    _id: str
    merchantId: str
    flowId: str
    version: int
    accountId: str | None
    trigger: dict[str, Any]
    nodes: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    reEntry: str


class EffectOutcome(TypedDict):
    """What became of an effect: without a `reason` it has succeeded; `final` where trying again is of no use."""

    reason: str | None
    final: bool
    retryAfterS: float
    result: Variable
    branch: str


class FlowEventDocument(TypedDict):
    """Something that the executor of a contact has yet to take; it holds no text of a message.

    `start` has the flow and its version (and the execution's id, depth, variables and the message it began with),
    `reply` the message, everything else the execution it is about. `effect` is one that is to be done, and has been
    once it has an `outcome`.
    """

    _id: str
    merchantId: str
    accountId: str
    contactId: str
    kind: FlowEventKind
    at: datetime
    flowId: NotRequired[str]
    version: NotRequired[int]
    depth: NotRequired[int]
    variables: NotRequired[dict[str, Variable]]
    messageId: NotRequired[str]
    executionId: NotRequired[str]
    nodeId: NotRequired[str]
    visit: NotRequired[int]
    attempt: NotRequired[int]
    reason: NotRequired[str]
    outcome: NotRequired[EffectOutcome]


class ReplyDocument(TypedDict):
    """A message of the contact that no node has waited for yet."""

    messageId: str
    text: str


class WaitingDocument(TypedDict):
    """What an execution waits for, and until when."""

    reason: WaitReason
    until: datetime | None


class StateDocument(TypedDict):
    """What of an execution's state (`domain/flow_state.py`) nobody looks for."""

    depth: int
    visit: int
    attempt: int
    waiting: WaitingDocument | None
    variables: dict[str, Variable]
    heard: list[str]
    unheard: ReplyDocument | None
    failure: str | None


class HistoryDocument(TypedDict):
    """What became of a visit to a node."""

    nodeId: str
    visit: int
    outcome: Outcome
    at: datetime
    branch: str | None
    error: str | None


class ExecutionDocument(TypedDict):
    """One contact's way through a version of a flow.

    `listening` is there while a message of the contact may matter to it. `revision` grows with each write, which is
    conditional on it.
    """

    _id: str
    merchantId: str
    accountId: str
    contactId: str
    flowId: str
    version: int
    status: ExecutionStatus
    currentNodeId: str | None
    listening: NotRequired[bool]
    startedAt: datetime
    completedAt: datetime | None
    updatedAt: datetime
    state: StateDocument
    history: list[HistoryDocument]
    revision: int


def flow_version_id(flow_id: str, version: int) -> str:
    """Return the id of the document that keeps a version."""
    return f"{flow_id}|{version}"


def flow_message_id(key: EffectKey) -> str:
    """Return the id of the message that a visit of an execution sends: there is one, however often it is asked for."""
    return named_id(f"flow|{key}")


def flow_event_id(contact_id: str, key: str) -> str:
    """Return the id of an event: it begins with the partition of the contact's executor, as two hexadecimal digits.

    The key says what it is about, so that the same thing noted twice is one event.
    """
    return f"{partition_of(EXECUTOR, contact_id):02x}|{contact_id}|{key}"
