"""When an account answers in person: several ranges a day, ranges over midnight, holidays (contract, part 5)."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, StrictBool, Tag, field_validator, model_validator

from gateway.models.base import InputModel
from gateway.models.zones import TimeZoneName

_START = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_END = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"


class HourRange(InputModel):
    """From `start` to before `end`; an end that is not after the start is on the next day."""

    start: Annotated[str, Field(pattern=_START, examples=["09:00"])]
    end: Annotated[str, Field(pattern=_END, examples=["18:00"])]

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same; a whole day is 00:00 to 24:00")
        return self


def _no_overlap(ranges: list[HourRange]) -> list[HourRange]:
    ordered = sorted(ranges, key=lambda each: each.start)
    for earlier, later in pairwise(ordered):
        if earlier.end <= earlier.start or earlier.end > later.start:
            raise ValueError("ranges of a day overlap")
    return ranges


def _kind_of_hours(value: object) -> str:
    return "<several>" if isinstance(value, list) else "<one>"


def _kind_of_holiday(value: object) -> str:
    return "<date>" if isinstance(value, str | date) else "<named>"


#: Tags in angle brackets name an alternative; they are no part of a field's path.
DayHours = Annotated[
    Annotated[HourRange, Tag("<one>")]
    | Annotated[list[HourRange], Field(max_length=10), AfterValidator(_no_overlap), Tag("<several>")],
    Discriminator(_kind_of_hours),
]


class NamedHoliday(InputModel):
    """A day on which nobody answers."""

    date: date
    name: Annotated[str, Field(max_length=100)] | None = None


Holiday = Annotated[
    Annotated[date, Tag("<date>")] | Annotated[NamedHoliday, Tag("<named>")], Discriminator(_kind_of_holiday)
]


class WeekHours(InputModel):
    """The hours of each weekday; `null` or no range: closed."""

    monday: DayHours | None = None
    tuesday: DayHours | None = None
    wednesday: DayHours | None = None
    thursday: DayHours | None = None
    friday: DayHours | None = None
    saturday: DayHours | None = None
    sunday: DayHours | None = None


class BusinessHours(InputModel):
    """Changes to an account's business hours; fields and days that are not given stay as they are."""

    enabled: StrictBool = False
    timezone: TimeZoneName = "UTC"
    schedule: WeekHours = WeekHours()
    holidays: Annotated[list[Holiday], Field(max_length=366, default_factory=list)]
    away_message: Annotated[str, Field(min_length=1, max_length=1000)] | None = None

    @field_validator("holidays", mode="before")
    @classmethod
    def _dates_as_text(cls, value: object) -> object:
        # Numbers would otherwise be taken for days since 1970.
        if isinstance(value, list) and any(isinstance(item, int | float) for item in value):
            raise ValueError("a holiday is a date (YYYY-MM-DD) or an object with one")
        return value


#: What an account has before anybody sets something.
UNSET_BUSINESS_HOURS: dict[str, object] = {
    "enabled": False,
    "timezone": "UTC",
    "schedule": {},
    "holidays": [],
    "awayMessage": None,
}
