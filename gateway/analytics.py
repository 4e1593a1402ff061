"""Figures of a period, made of sums (docs/analytics.md defines every one of them)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from domain.errors import InvalidRequest, Problem
from domain.period import Hours, Span, before, groups, hours_in, whole
from domain.response_histogram import quantile
from domain.rollup import MERCHANT, account_scope
from gateway.durations import duration_text
from gateway.models.analytics import (
    AutomationFigures,
    CampaignCounters,
    CampaignFigures,
    Change,
    ContactFigures,
    ConversationFigures,
    ExecutionFigures,
    MessageFigures,
    Period,
    PeriodQuery,
    date_or_moment,
)
from gateway.rates import rate
from storage.analytics_sources import CampaignState, Sums

_DEFAULT_DAYS = 30
#: The longest period, in days.
MOST_DAYS = 5 * 366
_SENT, _RESPONSES = "sent:", "responses:"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: a period, what it is cut into, and the period before where that is asked for, too."""

    span: Span
    parts: Sequence[Span]
    previous: Span | None
    account_id: str | None

    @property
    def scope(self) -> str:
        """The scope of the sums."""
        return MERCHANT if self.account_id is None else account_scope(self.account_id)

    @property
    def outer(self) -> Span:
        """The period together with the one before."""
        if self.previous is None:
            return self.span
        return Span(self.previous.start, self.span.end, self.previous.first, self.span.last)

    @property
    def cuts(self) -> list[Hours]:
        """What the sums are cut into."""
        return [self.hours_of(each) for each in (self.span, *self.parts)]

    def hours_of(self, span: Span) -> Hours:
        """Return the hours that are counted in the period, in a part of it or in the period before."""
        return hours_in(span, at_end=span.end == self.span.end)


def asked_of(query: PeriodQuery, now: datetime) -> Asked:
    """Return what a query asks for.

    Raises:
        InvalidRequest: when the period ends before it begins, or is too long.
    """
    zone = ZoneInfo(query.timezone)
    end = now.astimezone(zone).date() if query.end_date is None else date_or_moment(query.end_date)
    if query.start_date is not None:
        start = date_or_moment(query.start_date)
    else:
        start = (end.astimezone(zone).date() if isinstance(end, datetime) else end) - timedelta(days=_DEFAULT_DAYS - 1)
    try:
        span = whole(start, end, zone)
        previous = before(span) if query.compare else None
    except OverflowError:
        raise _wrong("startDate", "is out of range") from None
    if span.end <= span.start:
        raise _wrong("endDate", "must not be before startDate")
    if span.end - span.start > timedelta(days=MOST_DAYS):
        raise _wrong("endDate", "must be at most five years after startDate")
    parts = groups(span, query.group_by, zone) if query.group_by else []
    return Asked(span, parts, previous, query.account_id)


def period_of(span: Span) -> Period:
    """Return a period as it is shown."""
    return Period(startDate=span.start, endDate=span.shown_end)


def contact_figures(sums: Sums, asked: Asked, span: Span) -> ContactFigures:
    """Return the figures of contacts."""
    hours = asked.hours_of(span)
    standing = sums.standing(hours.end)
    return ContactFigures(
        total=standing["contactsNew"] - standing["contactsRemoved"],
        new=sums.of(hours)["contactsNew"],
        active=sums.active(*span.days),
    )


def conversation_figures(sums: Sums, asked: Asked, span: Span) -> ConversationFigures:
    """Return the figures of conversations and messages."""
    hours = asked.hours_of(span)
    standing, counts = sums.standing(hours.end), sums.of(hours)
    still_open = standing["conversationsStarted"] - standing["conversationsClosed"]
    buckets = _named(counts, _RESPONSES)
    responses = sum(buckets.values())
    mean = counts["responseSeconds"] / responses if responses else None
    median, p90 = quantile(buckets, Fraction(1, 2)), quantile(buckets, Fraction(9, 10))
    sent = _named(counts, _SENT)
    return ConversationFigures(
        total=still_open + counts["conversationsClosed"],
        open=still_open,
        closed=counts["conversationsClosed"],
        new=counts["conversationsStarted"],
        averageResponseTime=duration_text(mean),
        medianResponseTime=duration_text(median),
        p90ResponseTime=duration_text(p90),
        averageResponseSeconds=_tenths(mean),
        medianResponseSeconds=_tenths(median),
        p90ResponseSeconds=_tenths(p90),
        responses=responses,
        messages=MessageFigures(received=counts["received"], sent=sum(sent.values()), sentBySource=sent),
    )


def campaign_figures(
    campaigns: Sequence[CampaignState], counts: Mapping[str, int], sent: int, span: Span
) -> CampaignFigures:
    """Return the figures of campaigns: their states, what became of their messages, and how many X has taken."""
    active = [each for each in campaigns if _is_active(each, span.end)]
    completed = [each for each in campaigns if each.status == "completed" and _ended_in(each, span)]
    counters = campaign_counters(counts).model_dump(by_alias=True)
    return CampaignFigures(**counters, active=len(active), completed=len(completed), totalMessagesSent=sent)


def campaign_counters(counts: Mapping[str, int]) -> CampaignCounters:
    """Return what became of messages of campaigns."""
    delivered = counts.get("delivered", 0)
    return CampaignCounters(
        totalSent=counts.get("sent", 0),
        delivered=delivered,
        failed=counts.get("failed", 0),
        skipped=counts.get("skipped", 0),
        opened=counts.get("opened", 0),
        clicked=counts.get("clicked", 0),
        replied=counts.get("replied", 0),
        optedOut=counts.get("optedOut", 0),
        blocked=counts.get("blocked", 0),
        openRate=rate(counts.get("opened", 0), delivered),
        clickRate=rate(counts.get("clicked", 0), delivered),
        replyRate=rate(counts.get("replied", 0), delivered),
        deliveryRate=rate(delivered, counts.get("sent", 0)),
    )


def execution_figures(counts: Mapping[str, int]) -> ExecutionFigures:
    """Return the figures of executions."""
    return ExecutionFigures(
        totalExecutions=counts.get("executions:started", 0),
        completed=counts.get("executions:completed", 0),
        failed=counts.get("executions:failed", 0),
        cancelled=counts.get("executions:cancelled", 0),
    )


def automation_figures(counts: Mapping[str, int], active_flows: int) -> AutomationFigures:
    """Return the figures of flows."""
    return AutomationFigures(**execution_figures(counts).model_dump(by_alias=True), activeFlows=active_flows)


def answer_fields(asked: Asked, figures: Callable[[Span], Mapping[str, object]]) -> dict[str, object]:
    """Return the fields of an answer: the figures of the period, of its parts, of the period before, and the change."""

    def of(span: Span) -> dict[str, object]:
        return {"period": period_of(span).model_dump(by_alias=True), **figures(span)}

    fields: dict[str, object] = of(asked.span)
    answer = fields | {"timeline": [of(each) for each in asked.parts]}
    if asked.previous is not None:
        previous = of(asked.previous)
        answer |= {"previous": previous, "change": change_of(fields, previous)}
    return answer


def change_of(now: Mapping[str, object], past: Mapping[str, object]) -> Change:
    """Return how much each number has changed, over what it was before."""
    change: Change = {}
    for name, value in now.items():
        was = past.get(name)
        if isinstance(value, dict):
            inner = {
                key: _changed(each, was.get(key) if isinstance(was, dict) else None) for key, each in value.items()
            }
            numbers = {key: each for key, each in inner.items() if not isinstance(value[key], str | datetime | dict)}
            if numbers and name != "period":
                change[name] = numbers
        elif not isinstance(value, str | list):
            change[name] = _changed(value, was)
    return change


def dumped(*models: BaseModel) -> dict[str, object]:
    """Return the fields of some figures together, under the names that they are shown by."""
    return {name: value for model in models for name, value in model.model_dump(by_alias=True).items()}


def _changed(value: object, was: object) -> float | None:
    if isinstance(value, int | float) and isinstance(was, int | float) and was:
        return round((value - was) / was, 2)
    return None


def _is_active(campaign: CampaignState, at: datetime) -> bool:
    """Whether a campaign was under way at a moment; one that was cancelled is not any more."""
    if campaign.started_at is None or campaign.started_at >= at or campaign.status in {"cancelled", "draft"}:
        return False
    return campaign.status != "completed" or (campaign.completed_at is not None and campaign.completed_at >= at)


def _ended_in(campaign: CampaignState, span: Span) -> bool:
    return campaign.completed_at is not None and span.start <= campaign.completed_at < span.end


def _named(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in sorted(counts.items()) if n and name.startswith(prefix)}


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _wrong(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest("A query parameter is wrong", problems=(Problem(field, reason),))
