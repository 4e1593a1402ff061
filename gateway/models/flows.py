"""Flows as they come in and go out (API document, "Automation Flows"; contract, part 5, "Flows").

What a trigger, the nodes and the connections hold is read in `domain/flow_graph.py`, so that everything that is wrong
with them is named at once; the schemas here describe their outside.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, WithJsonSchema, field_validator

from domain.flow_fields import LONGEST_ID
from domain.flow_graph import MOST_CONNECTIONS
from domain.flow_node_config import MOST_NODES, NODE_TYPES
from domain.flow_triggers import TRIGGER_TYPES
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.campaigns import CampaignVariables, Id
from gateway.models.names import Name
from gateway.models.paging import Paging
from storage.flow_documents import FlowStatus
from storage.flow_secrets import shown

ReEntryName: TypeAlias = Literal["always", "once", "after_completed"]

_CONFIG: dict[str, object] = {
    "type": ["object", "null"],
    "description": "The fields of its type: docs/flows.md has each with an example.",
}
_END: dict[str, object] = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
_TRIGGER_SCHEMA: dict[str, object] = {
    "type": "object",
    "description": "What starts it.",
    "required": ["type"],
    "properties": {"type": {"enum": list(TRIGGER_TYPES)}, "config": _CONFIG},
    "additionalProperties": False,
    "examples": [{"type": "new_follower", "config": {}}],
}
_NODE_SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["id", "type"],
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "type": {"enum": list(NODE_TYPES)},
        "config": _CONFIG,
    },
    "additionalProperties": False,
}
_CONNECTION_SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["fromNodeId", "toNodeId"],
    "properties": {
        "fromNodeId": _END,
        "toNodeId": _END,
        "branch": {"type": ["string", "boolean", "null"], "description": "By which the flow goes on there."},
    },
    "additionalProperties": False,
}

TriggerInput = Annotated[dict[str, object], WithJsonSchema(_TRIGGER_SCHEMA)]
Nodes = Annotated[
    list[Annotated[object, WithJsonSchema(_NODE_SCHEMA)]],
    Field(min_length=1, max_length=MOST_NODES, description="The start is the node that no connection leads to."),
]
Connections = Annotated[
    list[Annotated[object, WithJsonSchema(_CONNECTION_SCHEMA)]],
    Field(max_length=MOST_CONNECTIONS, description="A branch that leads nowhere ends the execution."),
]
ReEntryInput = Annotated[
    ReEntryName,
    Field(description="Whether a contact may go into it again; `after_completed`: once it is not in it any more."),
]


class CreateFlow(InputModel):
    """Something that happens, and what is done about it; a draft until it is activated."""

    name: Name
    trigger: TriggerInput
    nodes: Nodes
    connections: Connections = Field(default_factory=list)
    account_id: Annotated[Id | None, Field(description="Only the contacts of this account.")] = None
    re_entry: ReEntryInput = "after_completed"


class ChangeFlow(InputModel):
    """What to change; what isn't given stays, and the trigger and the lists are replaced whole."""

    name: Name = ""
    trigger: TriggerInput | None = None
    nodes: Nodes | None = None
    connections: Connections | None = None
    account_id: Id | None = None
    re_entry: ReEntryInput | None = None


class FlowQuery(Paging):
    """Which flows are asked for: all conditions hold."""

    status: FlowStatus | None = None
    search: Annotated[str, Field(max_length=200, description="A part of the name.")] = ""


class DeactivateFlow(InputModel):
    """What becomes of the executions that are under way: they are finished, or cancelled."""

    running_executions: Literal["finish", "cancel"] = "finish"


class TriggerFlow(InputModel):
    """Who goes into the flow, and what its templates are filled with."""

    contact_id: Id
    variables: CampaignVariables = Field(default_factory=dict)


class _AnyFlow(AnswerModel):
    id: DocumentId
    merchant_id: str
    name: str
    status: FlowStatus
    account_id: str | None
    trigger: dict[str, object]
    connections: list[dict[str, object]]
    re_entry: ReEntryName
    version: Annotated[int, Field(description="Another one after each change of what is run.")]
    created_at: datetime
    updated_at: datetime
    activated_at: datetime | None


class ListedFlow(_AnyFlow):
    """A flow in a list: how many nodes it has, which it shows by itself."""

    node_count: int


class FlowAnswer(_AnyFlow):
    """Something that happens, and what is done about it."""

    nodes: list[dict[str, object]]

    @field_validator("nodes")
    @classmethod
    def _without_secrets(cls, nodes: list[dict[str, object]]) -> list[dict[str, object]]:
        return shown(nodes)


class ChangedFlow(FlowAnswer):
    """A flow that was changed."""

    running_old_versions: Annotated[int, Field(description="Executions that go on with a version before this one.")]


class DeactivatedFlow(FlowAnswer):
    """A flow that nothing starts any more."""

    running_executions: Annotated[int, Field(description="Executions that were under way at that moment.")]


class FlowStats(AnswerModel):
    """How many executions there are, by where they are; above 10,000 the numbers may be half a minute old."""

    started: int
    running: int
    completed: int
    failed: int
    cancelled: int


class NodeCount(AnswerModel):
    """How often executions of whatever version came to a node, left it, failed or were cancelled there.

    The others are still in it.
    """

    node_id: str
    entered: int
    done: int
    failed: int
    cancelled: int


class FlowDetails(FlowAnswer):
    """A flow with what became of its executions."""

    stats: FlowStats
    node_counts: Annotated[list[NodeCount], Field(description="In the order of the nodes: a funnel.")]
