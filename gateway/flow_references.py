"""Whether what a flow refers to exists: templates, segments, people, other flows, campaigns, accounts of its merchant.

References are read from a flow as it was given, so that all of them can be named beside whatever else is wrong with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from domain.errors import InvalidContent, Problem
from domain.flow_fields import LONGEST_ID
from domain.flow_node_config import MOST_NODES
from domain.flow_nodes import Assign, Branch, SendMessage, StartFlow
from domain.flow_triggers import OnCampaignReplied, OnSchedule, OnSegmentEntered
from domain.segment_conditions import conditions_of, read_conditions
from domain.segment_fields import Kind
from gateway.dependencies import Repositories
from storage.flows import FlowFields

_Kind: TypeAlias = Literal["template", "segment", "user", "flow", "campaign", "account"]
_Missing: TypeAlias = Callable[[str, set[str]], Awaitable[set[str]]]

#: The field of a node's configuration that names something, by the node's type.
_IN_NODES: Mapping[str, tuple[str, _Kind]] = {
    SendMessage.kind: ("templateId", "template"),
    Assign.kind: ("userId", "user"),
    StartFlow.kind: ("flowId", "flow"),
}
#: The same for triggers.
_IN_TRIGGERS: Mapping[str, tuple[str, _Kind]] = {
    OnSegmentEntered.kind: ("segmentId", "segment"),
    OnSchedule.kind: ("segmentId", "segment"),
    OnCampaignReplied.kind: ("campaignId", "campaign"),
}


@dataclass(frozen=True, slots=True)
class _Reference:
    """The path of a field, and the id in it."""

    path: str
    kind: _Kind
    id: str


async def missing_references(repositories: Repositories, merchant_id: str, fields: FlowFields) -> list[Problem]:
    """Return everything that a flow refers to and the merchant doesn't have, in the order of the flow's parts."""
    found = list(_references(fields))
    wanted: dict[_Kind, set[str]] = defaultdict(set)
    for each in found:
        wanted[each.kind].add(each.id)
    asked: Mapping[_Kind, _Missing] = {
        "template": repositories.templates.missing,
        "segment": repositories.segments.missing,
        "user": repositories.users.missing,
        "flow": repositories.flows.missing,
        "campaign": repositories.campaigns.missing,
        "account": repositories.accounts.missing,
    }
    missing = {kind: await asked[kind](merchant_id, ids) for kind, ids in wanted.items()}
    return [Problem(each.path, f"is no {each.kind} of yours") for each in found if each.id in missing[each.kind]]


def _references(fields: FlowFields) -> Iterator[_Reference]:
    account_id = fields["accountId"]
    if account_id is not None:
        yield _Reference("accountId", "account", account_id)
    yield from _named("trigger", fields["trigger"], _IN_TRIGGERS)
    # A flow that does not fit the schema is looked at as well: whatever it has for nodes.
    nodes: object = fields["nodes"]
    for index, node in enumerate(nodes[:MOST_NODES] if isinstance(nodes, list) else ()):
        yield from _named(f"nodes.{index}", node, _IN_NODES)
        yield from _in_conditions(f"nodes.{index}", node)


def _named(path: str, part: object, where: Mapping[str, tuple[str, _Kind]]) -> Iterator[_Reference]:
    kind, config = _parts(part)
    if kind in where:
        name, of = where[kind]
        value = config.get(name)
        if isinstance(value, str) and value.strip() and len(value) <= LONGEST_ID:
            yield _Reference(f"{path}.config.{name}", of, value)


def _in_conditions(path: str, node: object) -> Iterator[_Reference]:
    kind, config = _parts(node)
    if kind != Branch.kind:
        return
    try:
        conditions = read_conditions(config.get("conditions"))
    except InvalidContent:
        # What is wrong with them is said where the graph is read.
        return
    asked = {each.field.path for each in conditions_of(conditions) if each.field.kind is Kind.CAMPAIGN}
    for campaign_id in sorted(asked):
        yield _Reference(f"{path}.config.conditions", "campaign", campaign_id)


def _parts(part: object) -> tuple[str, Mapping[str, object]]:
    """Return the type and the configuration of a trigger or a node, whatever it is."""
    if not isinstance(part, dict):
        return "", {}
    kind, config = part.get("type"), part.get("config")
    return kind if isinstance(kind, str) else "", config if isinstance(config, dict) else {}
