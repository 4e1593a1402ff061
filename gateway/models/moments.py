from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _text(value: object) -> object:
    # pydantic would read a number as seconds since 1970, and a bare date as its midnight.
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time as in 2026-01-18T10:00:00Z")
    return value


def _day(value: object) -> object:
    # pydantic would read a number as seconds since 1970.
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a date as in 2026-01-18")
    return value


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
    except OverflowError:
        raise ValueError("is out of range") from None


#: A time as RFC 3339 has it, with its offset; in UTC and whole milliseconds.
Moment = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
#: A date as RFC 3339 has it.
Day = Annotated[date, BeforeValidator(_day)]
