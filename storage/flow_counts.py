"""How often executions came to each node of a flow and what became of that, counted in the step that writes it.

A counter is kept by flow, version and node, with a part for each writer: steps of hosts side by side don't wait for
each other. What is shown is their sum.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pymongo import UpdateOne

from domain.flow_state import Execution, HistoryEntry
from storage.client import Database, Session

Counter: TypeAlias = Literal["entered", "done", "failed", "cancelled"]

#: What a visit ends with; `waiting` and `retrying` are none.
_ENDS: dict[str, Counter] = {"done": "done", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class _Node:
    merchant_id: str
    flow_id: str
    version: int
    node_id: str


class NodeCounts:
    """Gathers what one transaction of a writer counts, one write a node."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._nodes: dict[_Node, Tally[Counter]] = {}

    def add(
        self, merchant_id: str, version: int, former_visit: int, execution: Execution, history: Iterable[HistoryEntry]
    ) -> None:
        """Count what a step has made of an execution that had come to so many nodes before."""
        entered: dict[int, str] = {}
        if execution.node_id is not None:
            entered[execution.visit] = execution.node_id
        for entry in history:
            entered[entry.visit] = entry.node_id
            if (end := _ENDS.get(entry.outcome)) is not None:
                self._count(_Node(merchant_id, execution.flow_id, version, entry.node_id), end)
        for visit, node_id in entered.items():
            if visit > former_visit:
                self._count(_Node(merchant_id, execution.flow_id, version, node_id), "entered")

    async def write_in(self, database: Database, session: Session) -> None:
        """Write within a transaction, always in the same order: transactions that meet wait, and don't fail both."""
        by_id = {
            f"{node.flow_id}|{node.version}|{node.node_id}|{self._writer}": (node, tally)
            for node, tally in self._nodes.items()
        }
        writes = [
            UpdateOne(
                {"_id": key},
                {
                    "$inc": dict(tally),
                    "$setOnInsert": {
                        "merchantId": node.merchant_id,
                        "flowId": node.flow_id,
                        "version": node.version,
                        "nodeId": node.node_id,
                    },
                },
                upsert=True,
            )
            for key, (node, tally) in sorted(by_id.items())
        ]
        if writes:
            await database["flowCounts"].bulk_write(writes, ordered=False, session=session)

    def _count(self, node: _Node, counter: Counter) -> None:
        self._nodes.setdefault(node, Tally())[counter] += 1
