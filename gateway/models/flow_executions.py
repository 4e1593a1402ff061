"""Executions of flows as they are answered (API document, "Get Flow Executions"; contract, part 5, "Flows")."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from domain.flow_state import Outcome
from domain.flow_triggers import ExecutionStatus
from gateway.models.base import AnswerModel, DocumentId
from gateway.models.campaigns import Id
from gateway.models.paging import Paging


class ExecutionQuery(Paging):
    """Which executions are asked for: all conditions hold."""

    status: ExecutionStatus | None = None
    contact_id: Annotated[Id | None, Field(description="Only those of this contact.")] = None


class HistoryEntryAnswer(AnswerModel):
    """What became of a visit to a node; `waiting` and `retrying` are said of one that goes on."""

    node: str
    outcome: Outcome
    at: datetime
    error: str | None
    branch: Annotated[str | None, Field(description="By which the flow went on, if it did.")]
    visit: Annotated[int, Field(description="Counts the nodes that the execution has come to.")]


class ExecutionState(AnswerModel):
    """Where an execution is, as streams of events tell it."""

    id: DocumentId
    flow_id: str
    contact_id: str
    status: ExecutionStatus
    current_node_id: str | None
    started_at: datetime
    completed_at: datetime | None


class ExecutionAnswer(ExecutionState):
    """One contact's way through a flow."""

    history: Annotated[list[HistoryEntryAnswer], Field(description="The newest entries, oldest first.")]


class ExecutionDetails(ExecutionAnswer):
    """One contact's way through a flow, with the version that it began with."""

    account_id: str
    version: int
    failure: Annotated[str | None, Field(description="Why it has failed, as a short code.")]
    updated_at: datetime
