"""The nodes that a flow is made of (seed, "Automation Flows"; contract, part 5, "Flows").

A node is written as `{"id", "type", "config"}`. Each type has its own fields in `config`, and the branches by which a
flow goes on from it: most go on by `next`, or by `error` where what they do has failed for good; `ai_reply` also by
`escalated` where the conversation is with people; `condition` by `true` and `false`, `wait_for_reply` by `reply` and
`timeout`, `split` by the names of its weights. `end` goes nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, TypeAlias

from domain.contact_fields import AttributeValue
from domain.segment_conditions import All

#: How long an answer is waited for where nothing is said.
REPLY_TIMEOUT_S = 86_400

NEXT, ERROR, TRUE, FALSE, REPLY, TIMEOUT = "next", "error", "true", "false", "reply", "timeout"
ESCALATED = "escalated"

#: What a flow remembers under a name, and fills templates with.
Variable: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Sends a template, `delay_s` seconds after it was reached."""

    kind: ClassVar = "send_message"
    template_id: str
    delay_s: int = 0
    variables: Mapping[str, Variable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits for some seconds, or until a moment."""

    kind: ClassVar = "wait"
    duration_s: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class WaitForReply:
    """Waits for a message of the contact, at most so long; its text may be kept as a variable."""

    kind: ClassVar = "wait_for_reply"
    timeout_s: int = REPLY_TIMEOUT_S
    save_as: str | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """Goes by whether the contact meets conditions."""

    kind: ClassVar = "condition"
    conditions: All


@dataclass(frozen=True, slots=True)
class Split:
    """Spreads contacts by weights; a contact goes the same way each time it is asked about the same visit."""

    kind: ClassVar = "split"
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AddTag:
    """Gives the contact a tag."""

    kind: ClassVar = "add_tag"
    tag: str


@dataclass(frozen=True, slots=True)
class RemoveTag:
    """Takes a tag from the contact."""

    kind: ClassVar = "remove_tag"
    tag: str


@dataclass(frozen=True, slots=True)
class UpdateAttributes:
    """Changes attributes of the contact; None removes one."""

    kind: ClassVar = "update_attributes"
    attributes: Mapping[str, AttributeValue | None]


@dataclass(frozen=True, slots=True)
class Assign:
    """Gives the contact's conversation to a person; None to nobody."""

    kind: ClassVar = "assign"
    user_id: str | None


@dataclass(frozen=True, slots=True)
class CloseConversation:
    """Closes the contact's conversation."""

    kind: ClassVar = "close_conversation"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AiReply:
    """Lets the model answer in the contact's conversation."""

    kind: ClassVar = "ai_reply"
    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Calls a public address; what it answers may be kept as a variable.

    `secret_headers` are sealed, each for the host that the address names.
    """

    kind: ClassVar = "http_request"
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    save_as: str | None = None
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class StartFlow:
    """Starts another flow for the contact and goes on without waiting for it."""

    kind: ClassVar = "start_flow"
    flow_id: str


@dataclass(frozen=True, slots=True)
class End:
    """Ends the execution."""

    kind: ClassVar = "end"


#: What is done outside of the flow: it succeeds or fails.
Action: TypeAlias = (
    SendMessage | AddTag | RemoveTag | UpdateAttributes | Assign | CloseConversation | AiReply | HttpRequest | StartFlow
)
NodeConfig: TypeAlias = Action | Wait | WaitForReply | Branch | Split | End


@dataclass(frozen=True, slots=True)
class FlowNode:
    """One node of a flow."""

    id: str
    config: NodeConfig


_BRANCHES: Mapping[type[NodeConfig], tuple[str, ...]] = {
    End: (),
    Wait: (NEXT,),
    WaitForReply: (REPLY, TIMEOUT),
    Branch: (TRUE, FALSE),
    AiReply: (NEXT, ESCALATED, ERROR),
}


def branches_of(config: NodeConfig) -> tuple[str, ...]:
    """Return the branches by which a flow may go on from a node; the first is meant where none is named."""
    if isinstance(config, Split):
        return tuple(config.weights)
    return _BRANCHES.get(type(config), (NEXT, ERROR))


def must_name_branch(config: NodeConfig) -> bool:
    """Whether a connection from a node must say by which branch it goes on."""
    return isinstance(config, Branch | Split)


def always_pauses(config: NodeConfig) -> bool:
    """Whether a flow stands still at a node each time it comes there; a moment to wait for is over the second time."""
    match config:
        case Wait(duration_s):
            return bool(duration_s)
        case SendMessage(delay_s=delay):
            return delay > 0
        case _:
            return isinstance(config, WaitForReply)
