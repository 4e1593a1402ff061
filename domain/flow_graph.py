"""A flow as a graph, and what makes it a sound one (contract, part 5, "Flows").

Connections are written as in the seed, `{"fromNodeId", "toNodeId"}`, with `branch` where a node has several. A branch
that leads nowhere ends the execution, as the last node of the seed's example does. The start is the node that no
connection leads to; where one leads back to every node, it is the first of the list. A cycle must have a node at
which the flow stands still each time: `wait` with a duration, `wait_for_reply`, `send_message` with a delay. Waiting
`until` a moment is none, since the moment is over when the flow comes there again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.errors import InvalidContent, Problem
from domain.flow_fields import LONGEST_ID, Fields
from domain.flow_node_config import ReadNode, read_nodes
from domain.flow_nodes import FALSE, TRUE, FlowNode, NodeConfig, always_pauses, branches_of, must_name_branch
from domain.flow_triggers import Trigger, read_trigger

MOST_CONNECTIONS = 1_000
_MOST_SHOWN = 5
_EMPTY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FlowGraph:
    """A sound graph: where it starts, its nodes by id, and the node that a branch of a node leads to."""

    start: str
    nodes: Mapping[str, FlowNode]
    targets: Mapping[tuple[str, str], str]

    def config(self, node_id: str) -> NodeConfig:
        """Return what a node of this graph is."""
        return self.nodes[node_id].config

    def after(self, node_id: str, branch: str) -> str | None:
        """Return the node that a branch leads to; None where the execution ends."""
        return self.targets.get((node_id, branch))


@dataclass(frozen=True, slots=True)
class Flow:
    """What starts a flow, and what it does."""

    trigger: Trigger
    graph: FlowGraph


def read_flow(trigger: object, nodes: object, connections: object, *, private_allowed: bool = False) -> Flow:
    """Return a flow, read and checked; the three parts are as the seed's request body has them.

    Raises:
        InvalidContent: naming everything that is wrong by its path, as in `nodes.2.config.duration`.
    """
    problems: list[Problem] = []
    read = read_trigger(trigger, problems)
    reading = _GraphReading(read_nodes(nodes, problems, private_allowed=private_allowed), problems)
    reading.connect(connections)
    start = reading.check()
    if problems or read is None or start is None:
        raise InvalidContent("The flow is wrong", problems=tuple(problems))
    return Flow(read, FlowGraph(start, dict(reading.sound_nodes()), reading.targets))


class _GraphReading:
    """Nodes and the connections between them, with everything that is wrong noted."""

    def __init__(self, nodes: list[ReadNode], problems: list[Problem]) -> None:
        self.targets: dict[tuple[str, str], str] = {}
        self._problems = problems
        self._nodes = {node.id: node for node in nodes if node.id is not None}
        self._following: dict[str, set[str]] = {node_id: set() for node_id in self._nodes}

    def sound_nodes(self) -> Iterator[tuple[str, FlowNode]]:
        for node_id, node in self._nodes.items():
            if node.config is not None:
                yield node_id, FlowNode(node_id, node.config)

    def connect(self, given: object) -> None:
        if given is None or not self._nodes:
            return
        if not isinstance(given, list) or len(given) > MOST_CONNECTIONS:
            self._problems.append(
                Problem("connections", f"must be a list of at most {MOST_CONNECTIONS} connections"),
            )
            return
        for index, each in enumerate(given):
            fields = Fields(each, f"connections.{index}", self._problems)
            source, target = self._end(fields, "fromNodeId"), self._end(fields, "toNodeId")
            branch = _branch(fields)
            fields.close()
            if source is not None and target is not None:
                self._following[source].add(target)
            if source is not None:
                self._leave(fields, source, branch, target)

    def check(self) -> str | None:
        """Note what is wrong with the graph as a whole; return its start."""
        if not self._nodes:
            return None
        starts = self._starts()
        for other in starts[1:]:
            self._note(other, f"is a second start beside {starts[0]}: nothing leads to it")
        reached = _reachable(starts, self._following)
        for node_id in self._nodes:
            if node_id not in reached:
                self._note(node_id, f"can't be reached from the start {starts[0]}")
        for cycle in _cycles(self._without_pauses()):
            in_order = [node_id for node_id in self._nodes if node_id in cycle]
            shown = ", ".join(in_order[:_MOST_SHOWN]) + (", …" if len(in_order) > _MOST_SHOWN else "")
            self._note(in_order[0], f"is in a cycle without a wait: {shown}")
        return starts[0]

    def _end(self, fields: Fields, name: str) -> str | None:
        value = fields.text(name, LONGEST_ID)
        if value in self._nodes:
            return value
        if value:
            fields.note(name, "is the id of no node")
        return None

    def _leave(self, fields: Fields, source: str, branch: str | None, target: str | None) -> None:
        config = self._nodes[source].config
        if config is None:
            return
        allowed = branches_of(config)
        if not allowed:
            fields.note("fromNodeId", f"is a node of the type {config.kind}, which leads nowhere")
            return
        if branch is None and must_name_branch(config):
            fields.note("branch", f"must be one of {', '.join(allowed)}")
            return
        name = allowed[0] if branch is None else branch
        if name not in allowed:
            fields.note("branch", f"must be one of {', '.join(allowed)}")
        elif (source, name) in self.targets:
            fields.note("fromNodeId", f"has another connection by the branch {name}")
        elif target is not None:
            self.targets[source, name] = target

    def _starts(self) -> list[str]:
        led_to = {target for targets in self._following.values() for target in targets}
        return [node_id for node_id in self._nodes if node_id not in led_to] or [next(iter(self._nodes))]

    def _without_pauses(self) -> dict[str, set[str]]:
        """Return which nodes follow which without a pause; a node that is wrong is taken for one."""
        hurried = [
            node_id
            for node_id, node in self._nodes.items()
            if node.config is not None and branches_of(node.config) and not always_pauses(node.config)
        ]
        return {node_id: self._following[node_id].intersection(hurried) for node_id in hurried}

    def _note(self, node_id: str, reason: str) -> None:
        self._problems.append(Problem(f"nodes.{self._nodes[node_id].index}", reason))


def _branch(fields: Fields) -> str | None:
    """Return the branch that a connection names; `true` and `false` may be written as JSON has them."""
    value = fields.take("branch")
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if value is not None and not isinstance(value, str):
        fields.note("branch", "must be text")
        return None
    return value


def _reachable(starts: Iterable[str], following: Mapping[str, set[str]]) -> set[str]:
    """Return the nodes that can be come to, the starts among them."""
    found: set[str] = set()
    ahead = list(starts)
    while ahead:
        node_id = ahead.pop()
        if node_id not in found:
            found.add(node_id)
            ahead.extend(following.get(node_id, _EMPTY))
    return found


def _cycles(following: Mapping[str, set[str]]) -> Iterator[frozenset[str]]:
    """Yield the sets of nodes that can each be come to from all others of the set, and from themselves."""
    reached = {node_id: _reachable(targets, following) for node_id, targets in following.items()}
    seen: set[str] = set()
    for node_id, ahead in reached.items():
        if node_id in ahead and node_id not in seen:
            cycle = frozenset(other for other in ahead if node_id in reached[other])
            seen |= cycle
            yield cycle
