"""What executions run: the versions of flows, read once and kept, since they never change."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

import structlog

from domain.errors import InvalidContent
from domain.flow_graph import FlowGraph, read_flow
from domain.flow_nodes import Branch
from domain.flow_triggers import ReEntry
from domain.segment_conditions import All
from storage.client import Database
from storage.flow_documents import FlowVersionDocument, flow_version_id

log = structlog.get_logger()

_MOST_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """A version of a flow; `conditions` is everything that it asks about its contact, None where that is nothing."""

    graph: FlowGraph
    re_entry: ReEntry
    conditions: All | None


class FlowVersions:
    """Reads versions for executors."""

    def __init__(self, database: Database) -> None:
        self._collection = database["flowVersions"]
        self._kept: OrderedDict[str, FlowVersion] = OrderedDict()

    async def get(self, flow_id: str, version: int) -> FlowVersion | None:
        """Return a version; None where its flow was deleted."""
        key = flow_version_id(flow_id, version)
        kept = self._kept.get(key)
        if kept is None:
            found = await self._collection.find_one({"_id": key})
            kept = None if found is None else _read(cast("FlowVersionDocument", found))
        if kept is not None:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return kept


def _read(document: FlowVersionDocument) -> FlowVersion | None:
    try:
        # Addresses were checked when it was saved, and are again when they are called.
        flow = read_flow(document["trigger"], document["nodes"], document["connections"], private_allowed=True)
    except InvalidContent as error:
        fields = [problem.field for problem in error.problems]
        log.error("flow.unreadable", flow=document["flowId"], version=document["version"], fields=fields)  # noqa: TRY400  # the fields say it
        return None
    asked = tuple(node.config.conditions for node in flow.graph.nodes.values() if isinstance(node.config, Branch))
    return FlowVersion(flow.graph, ReEntry(document["reEntry"]), All(asked) if asked else None)
