from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business_hours import BusinessHours

#: A Monday.
MONDAY = datetime(2026, 1, 19, tzinfo=UTC)
_TIMES = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")


def hours(schedule: dict[str, Any], **more: Any) -> BusinessHours:
    return BusinessHours.of({"enabled": True, "timezone": "UTC", "schedule": schedule, "holidays": []} | more)


def at(day: int, time: str) -> datetime:
    hour, minute = time.split(":")
    return MONDAY + timedelta(days=day, hours=int(hour), minutes=int(minute))


@pytest.mark.parametrize("document", [None, {}, {"enabled": False, "schedule": {}}])
def test_where_no_hours_are_kept_it_is_always_open(document: object) -> None:
    assert BusinessHours.of(document).is_open(MONDAY)


def test_hours_without_a_range_are_never_open() -> None:
    assert not any(hours({}).is_open(MONDAY + timedelta(hours=hour)) for hour in range(24 * 7))


@pytest.mark.parametrize(
    ("schedule", "day", "time", "is_open"),
    [
        ({"monday": {"start": "09:00", "end": "18:00"}}, 0, "08:59", False),
        ({"monday": {"start": "09:00", "end": "18:00"}}, 0, "09:00", True),
        ({"monday": {"start": "09:00", "end": "18:00"}}, 0, "17:59", True),
        ({"monday": {"start": "09:00", "end": "18:00"}}, 0, "18:00", False),
        ({"monday": {"start": "09:00", "end": "18:00"}}, 1, "12:00", False),
        ({"monday": {"start": "00:00", "end": "24:00"}}, 0, "23:59", True),
        ({"monday": {"start": "00:00", "end": "24:00"}}, 1, "00:00", False),
        ({"monday": [{"start": "09:00", "end": "12:00"}, {"start": "13:00", "end": "18:00"}]}, 0, "12:30", False),
        ({"monday": [{"start": "09:00", "end": "12:00"}, {"start": "13:00", "end": "18:00"}]}, 0, "13:00", True),
        ({"monday": {"start": "22:00", "end": "02:00"}}, 0, "01:00", False),
        ({"monday": {"start": "22:00", "end": "02:00"}}, 0, "23:00", True),
        ({"monday": {"start": "22:00", "end": "02:00"}}, 1, "01:59", True),
        ({"monday": {"start": "22:00", "end": "02:00"}}, 1, "02:00", False),
        ({"sunday": {"start": "22:00", "end": "02:00"}}, 0, "01:00", True),
        ({"monday": None, "tuesday": []}, 0, "12:00", False),
    ],
)
def test_ranges_of_a_day(schedule: dict[str, Any], day: int, time: str, *, is_open: bool) -> None:
    assert hours(schedule).is_open(at(day, time)) is is_open


def test_hours_are_those_of_the_accounts_clock_also_when_it_is_put_forward() -> None:
    nine_to_ten = {"sunday": {"start": "09:00", "end": "10:00"}}
    berlin = hours(nine_to_ten, timezone="Europe/Berlin")
    winter, summer = datetime(2026, 3, 22, 8, 30, tzinfo=UTC), datetime(2026, 3, 29, 7, 30, tzinfo=UTC)
    assert berlin.is_open(winter)
    assert not berlin.is_open(winter - timedelta(hours=1))
    assert berlin.is_open(summer)
    assert not berlin.is_open(summer + timedelta(hours=1))


@pytest.mark.parametrize("holiday", ["2026-01-19", {"date": "2026-01-19", "name": "A day off"}])
def test_a_holiday_closes_its_day_and_what_begins_on_it(holiday: object) -> None:
    every_night = {day: {"start": "22:00", "end": "02:00"} for day in ("sunday", "monday", "tuesday")}
    kept = hours(every_night, holidays=[holiday])
    assert not kept.is_open(at(0, "01:00"))
    assert not kept.is_open(at(0, "23:00"))
    assert not kept.is_open(at(1, "01:00"))
    assert kept.is_open(at(1, "23:00"))


@given(start=_TIMES, end=_TIMES, minute=st.integers(0, 24 * 60 - 1), day=st.integers(0, 6))
def test_a_range_of_every_day_is_open_in_it_and_closed_out_of_it(start: str, end: str, minute: int, day: int) -> None:
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    kept = hours({name: {"start": start, "end": end} for name in days})
    time = f"{minute // 60:02}:{minute % 60:02}"
    within = start <= time < end if start < end else not end <= time < start
    assert kept.is_open(at(day, time)) is within
