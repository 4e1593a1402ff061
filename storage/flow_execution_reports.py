"""What is read to answer how a flow goes: its executions, how many there are of each kind, and where they have been."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast, get_args

from pymongo import DESCENDING

from domain.flow_triggers import ExecutionStatus
from storage.client import Database, Document, aggregated
from storage.flow_counts import Counter
from storage.flow_documents import ExecutionDocument
from storage.indexes import EXECUTIONS_BY_FLOW, EXECUTIONS_BY_STATUS, EXECUTIONS_RUNNING
from storage.paging import Indexes, LargeTotals, Slice, find_page

_STATUSES: tuple[ExecutionStatus, ...] = get_args(ExecutionStatus)
_COUNTERS: tuple[Counter, ...] = get_args(Counter)
_NEWEST_FIRST = [("startedAt", DESCENDING), ("_id", DESCENDING)]
#: Nobody is shown what an execution keeps for itself: its variables hold text of messages.
_SHOWN = {"state.variables": 0, "state.unheard": 0}


class FlowExecutionReports:
    """Reads what the executor has written, of a merchant's flows."""

    def __init__(self, database: Database) -> None:
        self._executions = database["flowExecutions"]
        self._counts = database["flowCounts"]
        self._totals = LargeTotals()

    async def page(
        self,
        merchant_id: str,
        flow_id: str,
        status: ExecutionStatus | None,
        contact_id: str | None,
        part: Slice,
    ) -> tuple[list[ExecutionDocument], int]:
        """Return a part of a flow's executions, newest first, and how many there are."""
        query: Document = {"merchantId": merchant_id, "flowId": flow_id}
        index: str | None = EXECUTIONS_BY_FLOW
        if status is not None:
            query["status"] = status
            index = EXECUTIONS_BY_STATUS
        if contact_id is not None:
            # One contact has few: they are found by it.
            query["contactId"] = contact_id
            index = None
        documents, total = await find_page(
            self._executions,
            query,
            _NEWEST_FIRST,
            part,
            projection=_SHOWN,
            indexes=Indexes(page=index, total=index),
            totals=self._totals,
        )
        return cast("list[ExecutionDocument]", documents), total

    async def get(self, merchant_id: str, flow_id: str, execution_id: str) -> ExecutionDocument | None:
        """Return one execution of a flow."""
        query = {"_id": execution_id, "merchantId": merchant_id, "flowId": flow_id}
        return cast("ExecutionDocument | None", await self._executions.find_one(query, _SHOWN))

    async def statuses_of(self, merchant_id: str, flow_id: str, contact_id: str) -> list[ExecutionStatus]:
        """Return where each of a contact's executions of a flow is."""
        query = {"contactId": contact_id, "merchantId": merchant_id, "flowId": flow_id}
        return [each["status"] async for each in self._executions.find(query, {"status": 1})]

    async def stats(self, merchant_id: str, flow_id: str) -> Mapping[ExecutionStatus, int]:
        """Return how many executions of a flow are where; above 10,000 a number may be half a minute old."""
        of_it = {"merchantId": merchant_id, "flowId": flow_id}
        counted = await asyncio.gather(
            *(
                self._totals.of(self._executions, {**of_it, "status": status}, EXECUTIONS_BY_STATUS)
                for status in _STATUSES
            )
        )
        return dict(zip(_STATUSES, counted, strict=True))

    async def running(self, merchant_id: str, flow_id: str, *, before_version: int | None = None) -> int:
        """Return how many executions of a flow are under way, or only those with a version before one."""
        query: Document = {"merchantId": merchant_id, "flowId": flow_id, "status": "running"}
        if before_version is not None:
            query["version"] = {"$lt": before_version}
        return await self._executions.count_documents(query, hint=EXECUTIONS_RUNNING)

    async def node_counts(self, merchant_id: str, flow_id: str, node_ids: Sequence[str]) -> list[Mapping[Counter, int]]:
        """Return the counters of some nodes over all versions, in the same order."""
        pipeline: list[Document] = [
            {"$match": {"flowId": flow_id, "merchantId": merchant_id, "nodeId": {"$in": list(node_ids)}}},
            {
                "$group": {
                    "_id": "$nodeId",
                    **{name: {"$sum": f"${name}"} for name in _COUNTERS},
                }
            },
        ]
        found = {each["_id"]: each for each in await aggregated(self._counts, pipeline)}
        return [{name: found.get(node_id, {}).get(name, 0) for name in _COUNTERS} for node_id in node_ids]
