"""Periods and what they are cut into."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.period import GroupBy, Hours, before, cut_days, groups, hours_in, whole

ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Asia/Ho_Chi_Minh", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu")]
)
DATES = st.dates(date(2024, 1, 1), date(2026, 12, 31))


@given(start=DATES, days=st.integers(0, 400), zone=ZONES, by=st.sampled_from(["day", "week", "month"]))
def test_parts_cover_a_period_and_no_hour_twice(start: date, days: int, zone: ZoneInfo, by: GroupBy) -> None:
    span = whole(start, start + timedelta(days=days), zone)
    parts = groups(span, by, zone)
    assert (parts[0].start, parts[-1].end) == (span.start, span.end)
    assert all(one.end == other.start and one.start < one.end for one, other in pairwise(parts))
    hours = [hours_in(each, at_end=each is parts[-1]) for each in parts]
    assert all(one.end == other.start for one, other in pairwise(hours))
    assert (hours[0].start, hours[-1].end) == (hours_in(span).start, hours_in(span).end)
    assert (parts[0].first, parts[-1].last) == (start, start + timedelta(days=days))
    assert all(one.last + timedelta(days=1) == other.first for one, other in pairwise(parts))


@given(start=DATES, days=st.integers(0, 400), zone=ZONES)
def test_the_period_before_ends_where_a_period_begins(start: date, days: int, zone: ZoneInfo) -> None:
    span = whole(start, start + timedelta(days=days), zone)
    past = before(span)
    assert (past.end, past.last + timedelta(days=1)) == (span.start, span.first)
    assert past.end - past.start == span.end - span.start
    assert hours_in(past, at_end=False).end == hours_in(span).start


def test_a_date_is_a_whole_day_of_its_zone_and_shown_to_its_last_second() -> None:
    span = whole(date(2026, 1, 1), date(2026, 1, 18), ZoneInfo("UTC"))
    assert span.end == datetime(2026, 1, 19, tzinfo=UTC)
    assert span.shown_end == datetime(2026, 1, 18, 23, 59, 59, tzinfo=UTC)
    assert span.days == ("2026-01-01", "2026-01-18")


def test_a_moment_is_shown_as_it_was_given_and_its_day_is_in_the_period() -> None:
    end = datetime(2026, 1, 18, 10, 42, 31, tzinfo=UTC)
    span = whole(date(2026, 1, 18), end, ZoneInfo("UTC"))
    assert (span.shown_end, span.days) == (end, ("2026-01-18", "2026-01-18"))
    midnight = whole(date(2026, 1, 17), datetime(2026, 1, 18, tzinfo=UTC), ZoneInfo("UTC"))
    assert midnight.days == ("2026-01-17", "2026-01-17")


def test_a_day_on_which_clocks_change_has_its_own_length() -> None:
    spring = whole(date(2026, 3, 8), date(2026, 3, 8), ZoneInfo("America/New_York"))
    assert spring.end - spring.start == timedelta(hours=23)


@pytest.mark.parametrize(
    ("hours", "cut"),
    [
        (Hours(0, 48), []),
        (Hours(5, 48), ["1970-01-01"]),
        (Hours(24, 50), ["1970-01-03"]),
        (Hours(25, 50), ["1970-01-02", "1970-01-03"]),
    ],
)
def test_days_that_are_only_partly_in_a_stretch_are_read_by_the_hour(hours: Hours, cut: list[str]) -> None:
    assert list(cut_days(hours)) == cut
