"""Analytics as they are asked for and answered (API document, "Analytics"; docs/analytics.md defines every figure)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from domain.period import GroupBy
from gateway.models.base import AnswerModel, InputModel
from gateway.models.campaigns import Id
from gateway.models.moments import Moment
from gateway.models.zones import TimeZoneName

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def date_or_moment(text: str) -> date | datetime:
    """Read a date (`2026-01-18`) or a moment (`2026-01-18T10:00:00Z`).

    Raises:
        ValueError: when it is neither.
    """
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-18") else _MOMENT.validate_python(text)
    except (ValueError, ValidationError):
        raise ValueError("must be a date as in 2026-01-18, or a time as in 2026-01-18T10:00:00Z") from None


def _checked(text: str) -> str:
    date_or_moment(text)
    return text


DateOrMoment = Annotated[
    str,
    Field(max_length=40, examples=["2026-01-18"], description="A date in `timezone`, or a time with its offset."),
    AfterValidator(_checked),
]


class PeriodQuery(InputModel):
    """Which period, of which account, cut into what; without dates the last 30 days up to today."""

    start_date: DateOrMoment | None = None
    end_date: Annotated[DateOrMoment | None, Field(description="A date is the whole day; a time is exclusive.")] = None
    account_id: Annotated[Id | None, Field(description="Only this account.")] = None
    group_by: Annotated[GroupBy | None, Field(description="Adds `timeline`: a figure for each of these.")] = None
    timezone: Annotated[TimeZoneName, Field(description="In which dates, and what is grouped by, are meant.")] = "UTC"
    compare: Annotated[
        Literal["previous"] | None,
        Field(description="Adds the figures of the period before, of the same length, and how much they changed."),
    ] = None
    format: Annotated[Literal["json", "csv"] | None, Field(description="`csv` answers a table.")] = None


class OverviewQuery(PeriodQuery):
    """Which period, of which account."""

    start_date: DateOrMoment
    end_date: Annotated[DateOrMoment, Field(description="A date is the whole day; a time is exclusive.")]


class CampaignAnalyticsQuery(PeriodQuery):
    """Which period, of which campaigns."""

    campaign_id: Annotated[Id | None, Field(description="Only this campaign.")] = None


class AutomationAnalyticsQuery(PeriodQuery):
    """Which period, of which flows."""

    flow_id: Annotated[Id | None, Field(description="Only this flow.")] = None


class Period(AnswerModel):
    """From the first to the last second of a period."""

    start_date: datetime
    end_date: datetime


class ContactFigures(AnswerModel):
    """Contacts at the end of a period; made known in it; that wrote or did something in it."""

    total: int
    new: int
    active: int


class OverviewConversations(AnswerModel):
    """Conversations that were open at some time of a period: still open at its end, or closed in it."""

    total: int
    open: int
    closed: int
    average_response_time: str | None


class MessageFigures(AnswerModel):
    """Messages of customers, and those that X has taken of ours, by where they come from."""

    received: int
    sent: int
    sent_by_source: dict[str, int]


class ConversationFigures(OverviewConversations):
    """Conversations, how long customers waited for answers, and messages."""

    new: int
    median_response_time: str | None
    p90_response_time: str | None
    average_response_seconds: float | None
    median_response_seconds: float | None
    p90_response_seconds: float | None
    responses: int
    messages: MessageFigures


class OverviewCampaigns(AnswerModel):
    """Campaigns under way at the end of a period and completed in it; messages of campaigns that X has taken in it."""

    active: int
    completed: int
    total_messages_sent: int


class CampaignCounters(AnswerModel):
    """What became of messages of campaigns; rates are over `delivered`, `deliveryRate` is over `totalSent`."""

    total_sent: int
    delivered: int
    failed: int
    skipped: int
    opened: int
    clicked: int
    replied: int
    opted_out: int
    blocked: int
    open_rate: float
    click_rate: float
    reply_rate: float
    delivery_rate: float


class CampaignFigures(CampaignCounters, OverviewCampaigns):
    """Campaigns, and what became of their messages."""


class OneCampaignFigures(CampaignCounters):
    """What became of the messages of one campaign; one that was deleted has the name and the status that it had."""

    campaign_id: str
    name: str
    status: str
    deleted: bool


class OverviewAutomation(AnswerModel):
    """Flows that are active now, and executions that began in a period."""

    active_flows: int
    total_executions: int


class ExecutionFigures(AnswerModel):
    """Executions that began in a period, and that ended in it."""

    total_executions: int
    completed: int
    failed: int
    cancelled: int


class AutomationFigures(ExecutionFigures):
    """Flows and their executions."""

    active_flows: int


class OneFlowFigures(ExecutionFigures):
    """Executions of one flow; no name or status where it was deleted."""

    flow_id: str
    name: str | None
    status: str | None


class OverviewFigures(AnswerModel):
    """Everything at one look."""

    period: Period
    contacts: ContactFigures
    conversations: OverviewConversations
    campaigns: OverviewCampaigns
    automation: OverviewAutomation


#: How much each number has changed, over what it was before; null where it was 0 or there was none.
Change = dict[str, float | dict[str, float | None] | None]


class OverviewTime(OverviewFigures):
    """Everything at one look, in a part of a period."""


class OverviewAnswer(OverviewFigures):
    """Everything at one look."""

    timeline: list[OverviewTime] = Field(default_factory=list)
    previous: OverviewFigures | None = None
    change: Change | None = None


class ContactTime(ContactFigures):
    """Contacts in a part of a period."""

    period: Period


class ContactAnalytics(ContactTime):
    """Contacts in a period."""

    timeline: list[ContactTime] = Field(default_factory=list)
    previous: ContactTime | None = None
    change: Change | None = None


class ConversationTime(ConversationFigures):
    """Conversations in a part of a period."""

    period: Period


class ConversationAnalytics(ConversationTime):
    """Conversations in a period."""

    timeline: list[ConversationTime] = Field(default_factory=list)
    previous: ConversationTime | None = None
    change: Change | None = None


class CampaignTime(CampaignFigures):
    """Campaigns in a part of a period."""

    period: Period


class CampaignAnalytics(CampaignTime):
    """Campaigns in a period; `campaigns` are those of which most was sent in it, at most 100."""

    campaigns: list[OneCampaignFigures]
    timeline: list[CampaignTime] = Field(default_factory=list)
    previous: CampaignTime | None = None
    change: Change | None = None


class AutomationTime(AutomationFigures):
    """Flows in a part of a period."""

    period: Period


class AutomationAnalytics(AutomationTime):
    """Flows in a period; `flows` are those of which most executions began in it, at most 100."""

    flows: list[OneFlowFigures]
    timeline: list[AutomationTime] = Field(default_factory=list)
    previous: AutomationTime | None = None
    change: Change | None = None
