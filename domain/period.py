"""Periods that figures are asked for, and how they are cut into days, weeks and months of a time zone.

Figures are kept by the full hour (UTC). A boundary within an hour is taken back to its beginning, the end of a period
on to the end of its hour, so that what has just happened is in a period that ends now. In zones that are half an hour
off, days begin up to 45 minutes early by that. Contacts that were active are kept by the day (UTC): see `Span.days`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from domain.rollup import hour_of

GroupBy: TypeAlias = Literal["day", "week", "month"]

_HOUR_S = 3600
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time: from `start` until before `end`, of the dates `first` to `last`, both included.

    The dates stand for days of UTC where contacts are counted that were active.
    """

    start: datetime
    end: datetime
    first: date
    last: date

    @property
    def shown_end(self) -> datetime:
        """The end as the API shows it ("Get Overview Analytics"): one at a full hour as the second before."""
        return self.end - timedelta(seconds=1) if self.end.timestamp() % _HOUR_S == 0 else self.end

    @property
    def days(self) -> tuple[str, str]:
        """The first and last day (`2026-01-18`) in which active contacts are counted."""
        return self.first.isoformat(), self.last.isoformat()


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours from `start` until before `end`, counted from 1970 (UTC)."""

    start: int
    end: int


def whole(start: date | datetime, end: date | datetime, zone: ZoneInfo) -> Span:
    """Return the period from one date or moment to another; a date is a whole day of the zone, the last one too."""
    begins = start if isinstance(start, datetime) else _midnight(start, zone)
    if isinstance(end, datetime):
        ends, last = end, max(begins, end - timedelta(microseconds=1)).astimezone(UTC).date()
    else:
        ends, last = _midnight(end + _DAY, zone), end
    first = begins.astimezone(UTC).date() if isinstance(start, datetime) else start
    return Span(begins.astimezone(UTC), ends.astimezone(UTC), first, max(first, last))


def before(span: Span) -> Span:
    """Return the period of the same length that ends where one begins."""
    length = span.last - span.first + _DAY
    return Span(span.start - (span.end - span.start), span.start, span.first - length, span.first - _DAY)


def groups(span: Span, by: GroupBy, zone: ZoneInfo) -> list[Span]:
    """Return the days, weeks (from Monday) or months of the zone that a period is cut into; outer ones may be parts."""
    found: list[Span] = []
    start = span.start
    while start < span.end:
        begins = _begin(start.astimezone(zone).date(), by)
        following = _following(begins, by)
        end = min(_midnight(following, zone).astimezone(UTC), span.end)
        first, last = max(begins, span.first), min(following - _DAY, span.last)
        found.append(Span(start, end, first, last))
        start = end
    return found


def hours_in(span: Span, *, at_end: bool = True) -> Hours:
    """Return the hours that are counted in a stretch; `at_end` where a period ends with it."""
    end = -(-span.end.timestamp() // _HOUR_S) if at_end else span.end.timestamp() // _HOUR_S
    return Hours(hour_of(span.start), int(end))


def cut_days(hours: Hours) -> Iterator[str]:
    """Yield the days (UTC) of which only some hours are in a stretch."""
    for edge in (hours.start, hours.end):
        if edge % 24:
            yield (date(1970, 1, 1) + timedelta(days=edge // 24)).isoformat()


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _begin(day: date, by: GroupBy) -> date:
    if by == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if by == "month" else day


def _following(begins: date, by: GroupBy) -> date:
    if by == "month":
        return (begins + timedelta(days=31)).replace(day=1)
    return begins + timedelta(days=7 if by == "week" else 1)
