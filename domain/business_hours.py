"""Whether an account's people are there at a moment: several ranges a day, ranges over midnight, holidays.

Source: contract, part 5, "Accounts". Hours are wall-clock times in the account's time zone. A range that does not end
after its start ends on the next day; it belongs to the day that it begins on. A holiday closes its whole day, and the
ranges that begin on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Self, TypeAlias
from zoneinfo import ZoneInfo

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_MINUTES = 24 * 60

#: Minutes after the midnight that a day begins with; the end may be on the next day.
Range: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """The hours of one account; `ranges` are those of the weekdays, Monday first."""

    enabled: bool
    timezone: str
    ranges: tuple[tuple[Range, ...], ...]
    holidays: frozenset[date]

    @classmethod
    def of(cls, document: object) -> Self:
        """Return the hours that an account's document has under `businessHours`; none set: always open."""
        hours = document if isinstance(document, Mapping) else {}
        schedule = hours.get("schedule") or {}
        return cls(
            enabled=hours.get("enabled") is True,
            timezone=str(hours.get("timezone") or "UTC"),
            ranges=tuple(tuple(_ranges(schedule.get(day))) for day in _DAYS),
            holidays=frozenset(_day(each) for each in hours.get("holidays") or []),
        )

    def is_open(self, at: datetime) -> bool:
        """Return whether people are there at a moment; always where no hours are kept."""
        if not self.enabled:
            return True
        local = at.astimezone(_zone(self.timezone))
        minute = local.hour * 60 + local.minute
        today, yesterday = local.date(), local.date() - timedelta(days=1)
        return today not in self.holidays and (
            self._covers(today, minute) or self._covers(yesterday, minute + _DAY_MINUTES)
        )

    def _covers(self, day: date, minute: int) -> bool:
        ranges = () if day in self.holidays else self.ranges[day.weekday()]
        return any(start <= minute < end for start, end in ranges)


def _ranges(hours: object) -> Iterator[Range]:
    for each in hours if isinstance(hours, list) else [hours]:
        if isinstance(each, Mapping):
            start, end = _minutes(each["start"]), _minutes(each["end"])
            yield start, end if end > start else end + _DAY_MINUTES


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _day(holiday: object) -> date:
    return date.fromisoformat(str(holiday["date"] if isinstance(holiday, Mapping) else holiday))


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
