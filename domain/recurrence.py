"""When a campaign comes again: an RFC 5545 rule in a time zone (contract, part 5, "Campaigns")."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import rrule, rrulestr

from domain.errors import InvalidContent, Problem

_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = f"(?:{'|'.join(_WEEKDAYS)})"
_MONTH_DAY = "[+-]?(?:0?[1-9]|[12][0-9]|3[01])"
_HOUR = "(?:[01]?[0-9]|2[0-3])"


def _listed(entry: str) -> re.Pattern[str]:
    return re.compile(f"{entry}(?:,{entry})*")


#: What each part may be (RFC 5545, 3.3.10), but for rules that are finer than an hour.
_PARTS: Mapping[str, re.Pattern[str]] = {
    "FREQ": re.compile("YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY"),
    "INTERVAL": re.compile("[0-9]{1,9}"),
    "COUNT": re.compile("[0-9]{1,9}"),
    "UNTIL": re.compile("[0-9]{8}(?:T[0-9]{6}Z?)?"),
    "WKST": re.compile(_DAY),
    "BYMONTH": _listed("(?:0?[1-9]|1[0-2])"),
    "BYMONTHDAY": _listed(_MONTH_DAY),
    "BYDAY": _listed(f"(?:[+-]?0?[1-9][0-9]?)?{_DAY}"),
    "BYHOUR": _listed(_HOUR),
    "BYSETPOS": _listed("[+-]?[1-9][0-9]{0,2}"),
}
#: How many of a weekday there may be in what a rule counts them in.
_MOST_OF_A_DAY = {"MONTHLY": 5, "YEARLY": 53}
_LONGEST_RULE = 200
_MOST_INTERVAL = 1_000
_MOST_COUNT = 10_000
_HOUR_LENGTH = timedelta(hours=1)
#: How far a rule is looked into for its first time: the 29th of February comes at least every eight years.
_HORIZON = timedelta(days=3_660)
#: Occurrences that are looked at to see how close they are.
_LOOKED_AT = 60


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule, counted in wall-clock time from its start, to the second.

    Ten o'clock stays ten o'clock when clocks change. A time that does not exist is moved on by the change (02:30
    becomes 03:30), one that exists twice is its first, unless the start is its second.
    """

    _rule: rrule
    _zone: ZoneInfo
    _start: datetime

    @classmethod
    def parse(cls, text: str, start_at: datetime, timezone: str) -> Self:
        """Read a rule.

        The work that a rule can make is bounded: its parts are those that name days and hours, at least an hour lies
        between two occurrences, and what does not come for years is refused.

        Raises:
            InvalidContent: when it is no rule, or not one that a campaign can have.
        """
        try:
            zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise _wrong("is no time zone", "schedule.timezone") from None
        parts = _parts_of(text)
        try:
            start = _whole_second(start_at.astimezone(UTC))
            local_start = start.astimezone(zone).replace(tzinfo=None)
            horizon = local_start + _HORIZON
        except OverflowError:
            raise _wrong("is too far away", "schedule.startAt") from None
        if "UNTIL" in parts:
            parts["UNTIL"] = _until(parts["UNTIL"], zone)
        if parts["FREQ"] in {"DAILY", "HOURLY"}:
            _check_comes(parts, local_start, horizon)
        try:
            rule = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=local_start)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise _wrong("is no rule of RFC 5545") from None
        until = horizon if rule._until is None else min(horizon, rule._until)  # noqa: SLF001  # it is kept nowhere else
        found = list(islice(rule.replace(count=None, until=until), _LOOKED_AT))
        if not found:
            raise _wrong("does not come within ten years")
        if any(later - earlier < _HOUR_LENGTH for earlier, later in pairwise(found)):
            raise _wrong("must leave an hour between two times")
        return cls(rule, zone, start)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after a moment, in UTC; None when there is none any more. None is before the start."""
        # A day earlier: where clocks are put back, wall-clock time goes backwards.
        local = moment.astimezone(self._zone).replace(tzinfo=None) - timedelta(days=1)
        local_start = self._start.astimezone(self._zone).replace(tzinfo=None)
        found: datetime
        for found in self._rule.xafter(local, inc=True):
            at = self._start if found == local_start else found.replace(tzinfo=self._zone).astimezone(UTC)
            if at > moment and at >= self._start:
                return at
        return None


def _whole_second(moment: datetime) -> datetime:
    """Return the first whole second that is not before a moment: rules know no less."""
    return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)


def _parts_of(text: str) -> dict[str, str]:
    body = text.strip().upper().removeprefix("RRULE:")
    if not body or len(body) > _LONGEST_RULE:
        raise _wrong(f"must be a rule of at most {_LONGEST_RULE} characters")
    parts: dict[str, str] = {}
    for part in body.split(";"):
        name, _, value = part.partition("=")
        if name in parts:
            raise _wrong(f"must have the part {name} once")
        if name not in _PARTS:
            raise _wrong(f"must not have the part {name[:20]}")
        if not _PARTS[name].fullmatch(value):
            raise _wrong(f"must not have {value[:20]!r} as its {name}")
        parts[name] = value
    if "FREQ" not in parts:
        raise _wrong("must have the part FREQ")
    for name, most in (("INTERVAL", _MOST_INTERVAL), ("COUNT", _MOST_COUNT)):
        if not 1 <= int(parts.get(name, "1")) <= most:
            raise _wrong(f"must have a {name} of 1 to {most}")
    _check_together(parts)
    return parts


def _check_together(parts: Mapping[str, str]) -> None:
    """Refuse parts that don't go together (RFC 5545, 3.3.10)."""
    frequency = parts["FREQ"]
    if {"COUNT", "UNTIL"} <= parts.keys():
        raise _wrong("must have COUNT or UNTIL, and not both")
    if "BYSETPOS" in parts and frequency not in _MOST_OF_A_DAY:
        raise _wrong("may have BYSETPOS only where it recurs monthly or yearly")
    if "BYMONTHDAY" in parts and frequency == "WEEKLY":
        raise _wrong("must not have BYMONTHDAY where it recurs weekly")
    for number in re.findall("[0-9]+", parts.get("BYDAY", "")):
        if int(number) > _MOST_OF_A_DAY.get(frequency, 0):
            raise _wrong("numbers a weekday that there is not in what it counts them in")
    days = [abs(each) for each in _numbers(parts, "BYMONTHDAY")]
    # A leap year: a day that no month has would be looked for until the end of time.
    longest = max(monthrange(2024, month)[1] for month in _numbers(parts, "BYMONTH") or range(1, 13))
    if days and min(days) > longest:
        raise _wrong("never comes")


def _check_comes(parts: Mapping[str, str], start: datetime, horizon: datetime) -> None:
    """Refuse a rule by days or hours that has nothing up to the horizon: a search would go on for thousands of years.

    Of such a rule every part only leaves times out, except that BYHOUR names those of a daily one.
    """
    months, hours = _numbers(parts, "BYMONTH"), _numbers(parts, "BYHOUR")
    days, weekdays = _numbers(parts, "BYMONTHDAY"), parts.get("BYDAY", "").split(",")
    is_hourly = parts["FREQ"] == "HOURLY"
    step = timedelta(hours=1) if is_hourly else timedelta(days=1)
    step *= int(parts.get("INTERVAL", "1"))
    for number in range((horizon - start) // step + 1):
        at = start + number * step
        if (
            (not months or at.month in months)
            and ("BYDAY" not in parts or _WEEKDAYS[at.weekday()] in weekdays)
            and (not days or at.day in days or at.day - monthrange(at.year, at.month)[1] - 1 in days)
            and (not hours or not is_hourly or at.hour in hours)
        ):
            return
    raise _wrong("does not come within ten years")


def _numbers(parts: Mapping[str, str], name: str) -> frozenset[int]:
    return frozenset(int(each) for each in parts[name].split(",")) if name in parts else frozenset()


def _until(value: str, zone: ZoneInfo) -> str:
    """Return the end of a rule in wall-clock time: RFC 5545 gives it in UTC where it ends with Z; a day is whole."""
    try:
        if not value.endswith("Z"):
            return f"{datetime.strptime(value[:8], '%Y%m%d'):%Y%m%d}{value[8:] or 'T235959'}"  # noqa: DTZ007  # wall-clock
        moment = datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return f"{moment.astimezone(zone):%Y%m%dT%H%M%S}"
    except (ValueError, OverflowError):
        raise _wrong("has an UNTIL that is no time") from None


def _wrong(reason: str, field: str = "schedule.recurrence") -> InvalidContent:
    return InvalidContent("The recurrence is wrong", problems=(Problem(field, reason),))
