"""Times and lengths of time as segment conditions write them: RFC 3339 or a plain date, and ISO 8601 durations."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: A text that is read as a time: a plain date, or a time with its offset. Written so that Python and the database
#: read it alike.
MOMENT_PATTERN = (
    r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"(T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):[0-5]\d))?(?![\s\S])"
)
_MOMENT = re.compile(MOMENT_PATTERN, re.ASCII)
_PLAIN_DATE_LENGTH = 10
_DAY = timedelta(days=1)
_MILLISECOND = timedelta(milliseconds=1)

_DURATION = re.compile(
    r"P(?=.)(?:(?P<years>\d{1,3})Y)?(?:(?P<months>\d{1,4})M)?(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,8})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII,
)
_MOST_YEARS = 100
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Length:
    """A length of time: whole months, whose days depend on the calendar, and a rest."""

    months: int
    rest: timedelta

    def before(self, moment: datetime) -> datetime:
        """Return the moment that lies this long before another; the last day of a month that is too short for it."""
        total = moment.year * _MONTHS + moment.month - 1 - self.months
        year, month = divmod(total, _MONTHS)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        return moment.replace(year=year, month=month + 1, day=day) - self.rest


def read_moment(text: str) -> datetime | None:
    """Return the time that a text says, in UTC and whole milliseconds; a plain date is its midnight in UTC."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # as the 31st of February
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def last_moment(text: str) -> datetime | None:
    """Return the last time that a text says: of a plain date, the end of its day."""
    moment = read_moment(text)
    if moment is None or len(text) != _PLAIN_DATE_LENGTH:
        return moment
    return moment + _DAY - _MILLISECOND


def read_length(text: str) -> Length | None:
    """Return the length of time that a text says; nothing where it says none, zero or over a hundred years."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    part = {name: int(digits or 0) for name, digits in found.groupdict().items()}
    length = Length(
        part["years"] * _MONTHS + part["months"],
        timedelta(
            weeks=part["weeks"],
            days=part["days"],
            hours=part["hours"],
            minutes=part["minutes"],
            seconds=part["seconds"],
        ),
    )
    years = length.months / _MONTHS + length.rest / timedelta(days=365)
    return length if 0 < years <= _MOST_YEARS else None
