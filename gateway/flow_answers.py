"""Flows and executions as they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from domain.flow_state import HistoryEntry
from gateway.dependencies import Repositories
from gateway.models.flow_executions import ExecutionAnswer, ExecutionDetails, HistoryEntryAnswer
from gateway.models.flows import FlowDetails
from storage.flow_documents import ExecutionDocument, FlowDocument


async def flow_details(repositories: Repositories, flow: FlowDocument) -> FlowDetails:
    """Return a flow with what became of its executions."""
    reports, merchant_id = repositories.flow_execution_reports, flow["merchantId"]
    node_ids = [str(node["id"]) for node in flow["nodes"]]
    stats, tallies = await asyncio.gather(
        reports.stats(merchant_id, flow["_id"]), reports.node_counts(merchant_id, flow["_id"], node_ids)
    )
    return FlowDetails.model_validate(
        {
            **flow,
            "stats": {"started": sum(stats.values()), **stats},
            "nodeCounts": [{"nodeId": node_id, **tally} for node_id, tally in zip(node_ids, tallies, strict=True)],
        }
    )


def execution_answer(execution: ExecutionDocument) -> ExecutionAnswer:
    """Return an execution as a list of them has it."""
    return ExecutionAnswer.model_validate(_shown(execution))


def execution_details(execution: ExecutionDocument) -> ExecutionDetails:
    """Return an execution by itself."""
    return ExecutionDetails.model_validate({**_shown(execution), "failure": execution["state"]["failure"]})


def entry_answer(entry: HistoryEntry) -> HistoryEntryAnswer:
    """Return an entry of a history that is kept nowhere."""
    return HistoryEntryAnswer(
        node=entry.node_id,
        outcome=entry.outcome,
        at=entry.at,
        error=entry.error,
        branch=entry.branch,
        visit=entry.visit,
    )


def _shown(execution: ExecutionDocument) -> Mapping[str, object]:
    history = [{**entry, "node": entry["nodeId"]} for entry in execution["history"]]
    return {**execution, "history": history}
