"""How a campaign goes, as it is answered (API document, "Get Campaign Metrics"; contract, part 5, "Campaigns")."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from domain.campaign_state import RecipientStatus
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.campaigns import CampaignNumbers, Id
from gateway.models.paging import Paging
from storage.campaign_documents import RunStatus

RunId = Annotated[Id | None, Field(description="Only this run.")]
#: What has happened can be asked for, what has not can't.
Happened = Literal["true"]


class MetricsQuery(InputModel):
    """Of what, and how fine the timeline is."""

    interval: Annotated[Literal["hour", "day"], Field(description="Of the timeline, in UTC.")] = "hour"
    run_id: RunId = None


class RecipientQuery(Paging):
    """Which recipients are asked for: all conditions hold."""

    status: RecipientStatus | None = None
    reason: Annotated[str | None, Field(max_length=100, description="Why nothing was sent, or it failed.")] = None
    variant: Annotated[str | None, Field(max_length=100)] = None
    run_id: RunId = None
    opened: Annotated[Happened | None, Field(description="Only those that have read it.")] = None
    clicked: Annotated[Happened | None, Field(description="Only those that have followed a link.")] = None
    replied: Annotated[Happened | None, Field(description="Only those that have answered.")] = None
    format: Annotated[
        Literal["json", "csv"] | None,
        Field(description="`csv` answers all recipients that match, whatever `skip` and `take`."),
    ] = None


class ResultsQuery(InputModel):
    """Of what."""

    run_id: RunId = None


class TimelineEntry(AnswerModel):
    """What was sent in the time that begins with `timestamp`."""

    timestamp: datetime
    sent: int
    delivered: int


class MetricsAnswer(CampaignNumbers):
    """What became of a campaign's messages; rates are over `delivered`, `deliveryRate` is over `totalSent`."""

    open_rate: float
    click_rate: float
    reply_rate: float
    delivery_rate: float
    opted_out: int
    blocked: int
    skipped: int
    timeline: list[TimelineEntry]


class RecipientContact(AnswerModel):
    """A recipient's names; none where the contact is gone."""

    username: str | None = None
    display_name: str | None = None


class RecipientAnswer(AnswerModel):
    """One contact in one run of a campaign."""

    id: DocumentId
    run_id: str
    account_id: str
    contact_id: str
    contact: RecipientContact
    variant: str
    status: RecipientStatus
    reason: str | None
    message_id: str | None
    attempt: int
    due_at: datetime
    sent_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    replied_at: datetime | None
    opted_out_at: datetime | None
    blocked_at: datetime | None
    created_at: datetime


class RunAnswer(AnswerModel):
    """One run of a campaign: one audience, written to once."""

    id: DocumentId
    number: int
    status: RunStatus
    due_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    recipients: Annotated[int, Field(description="How many contacts are in it, those that are held back too.")]
    metrics: CampaignNumbers


class MeasuredRate(AnswerModel):
    """A rate, and between what it lies with 95 per cent confidence (Wilson)."""

    rate: float
    low: float
    high: float


class RateDifference(AnswerModel):
    """How much larger a rate is than the control group's, with 95 per cent confidence (Newcombe).

    `significant` where that can't well be chance.
    """

    difference: float
    low: float
    high: float
    significant: bool


class VariantResult(CampaignNumbers):
    """What came of one variant; rates are over `delivered`.

    `versusControl` is how much more of them have written than of those who got nothing.
    """

    name: str
    template_id: str | None
    opted_out: int
    blocked: int
    skipped: int
    open_rate: MeasuredRate
    click_rate: MeasuredRate
    reply_rate: MeasuredRate
    opt_out_rate: MeasuredRate
    versus_control: RateDifference | None


class ControlResult(AnswerModel):
    """What those did who were held back: as many have written by themselves."""

    contacts: int
    replied: int
    opted_out: int
    reply_rate: MeasuredRate


class ResultsAnswer(AnswerModel):
    """What came of each variant of a campaign, and of the control group where there is one."""

    variants: list[VariantResult]
    control: ControlResult | None
