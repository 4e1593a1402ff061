"""The shapes of a campaign's documents beside the campaign itself (docs/documents.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired, TypeAlias, TypedDict

from domain.campaign_state import RecipientStatus, StopReason
from domain.templates import TemplateType, Value
from storage.templates import ButtonDocument, OptionDocument

RunStatus: TypeAlias = Literal[
    "snapshot", "running", "stopping", "completed", "cancelled", "ended", "missed", "removed"
]
LaneStatus: TypeAlias = Literal["waiting", "active", "paused", "done", "cancelled"]


class ContentDocument(TypedDict):
    """One variant of what a run sends, as its template was when the run began."""

    name: str
    templateId: str
    type: TemplateType
    content: str
    options: list[OptionDocument]
    buttons: list[ButtonDocument]
    weight: int


class SnapshotDocument(TypedDict):
    """How far the audience has been written down: up to the contact `after`; `total` recipients so far."""

    after: str
    done: bool
    total: int


class EstimateDocument(TypedDict):
    """When a run will be over, as of a moment."""

    ratePerMinute: float
    estimatedCompletionAt: datetime | None
    at: datetime


class RunDocument(TypedDict):
    """One run of a campaign: one audience, written to once."""

    _id: str
    merchantId: str
    campaignId: str
    number: int
    status: RunStatus
    stopReason: NotRequired[StopReason]
    dueAt: datetime
    startedAt: datetime | None
    endedAt: datetime | None
    accountId: str | None
    segmentIds: list[str]
    excludeSegmentIds: list[str]
    contents: list[ContentDocument]
    variables: dict[str, Value]
    controlShare: float
    snapshot: SnapshotDocument
    estimate: EstimateDocument | None


class LaneDocument(TypedDict):
    """The recipients of a run that one account writes to; `remaining` have no outcome yet."""

    _id: str
    merchantId: str
    campaignId: str
    runId: str
    accountId: str
    status: LaneStatus
    total: int
    remaining: int


class RecipientDocument(TypedDict):
    """One contact in one run; `open` is there until it has an outcome."""

    _id: str
    merchantId: str
    campaignId: str
    runId: str
    accountId: str
    contactId: str
    variant: str
    status: RecipientStatus
    open: NotRequired[bool]
    reason: str | None
    dueAt: datetime
    messageId: str | None
    attempt: int
    createdAt: datetime
    sentAt: datetime | None
    openedAt: datetime | None
    clickedAt: datetime | None
    repliedAt: datetime | None
    optedOutAt: datetime | None
    blockedAt: datetime | None


def recipient_id(run_id: str, contact_id: str) -> str:
    """Return the id of a contact's place in a run: there is one."""
    return f"{run_id}|{contact_id}"


def lane_id(run_id: str, account_id: str) -> str:
    """Return the id of an account's lane in a run."""
    return f"{run_id}|{account_id}"
