from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidContent
from domain.recurrence import Recurrence

START = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Ho_Chi_Minh", "Australia/Lord_Howe", "Antarctica/Troll")


def times(rule, start=START, zone="UTC", most=4, after=None):
    """Return the first times of a rule, as wall-clock times of its zone."""
    recurrence = Recurrence.parse(rule, start, zone)
    moment, found = after or start - timedelta(days=400), []
    while len(found) < most and (moment := recurrence.next_after(moment)):
        found.append(moment)
    return found


def local(rule, start, zone, most=4):
    return [f"{at.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for at in times(rule, start, zone, most)]


def refusal(rule, start=START, zone="UTC"):
    with pytest.raises(InvalidContent) as refused:
        Recurrence.parse(rule, start, zone)
    [problem] = refused.value.problems
    return problem.field, problem.reason


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=DAILY", ["2026-01-18 10:00", "2026-01-19 10:00", "2026-01-20 10:00"]),
        ("rrule:freq=daily;interval=2", ["2026-01-18 10:00", "2026-01-20 10:00", "2026-01-22 10:00"]),
        # The 18th is a Sunday.
        ("FREQ=WEEKLY;BYDAY=MO", ["2026-01-19 10:00", "2026-01-26 10:00", "2026-02-02 10:00"]),
        ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,MO", ["2026-01-18 10:00", "2026-01-19 10:00", "2026-02-01 10:00"]),
        ("FREQ=DAILY;BYHOUR=9,14", ["2026-01-18 14:00", "2026-01-19 09:00", "2026-01-19 14:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", ["2026-01-31 10:00", "2026-03-31 10:00", "2026-05-31 10:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["2026-01-31 10:00", "2026-02-28 10:00", "2026-03-31 10:00"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", ["2026-01-30 10:00", "2026-02-27 10:00", "2026-03-27 10:00"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", ["2026-02-02 10:00", "2026-03-02 10:00", "2026-04-01 10:00"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["2028-02-29 10:00", "2032-02-29 10:00", "2036-02-29 10:00"]),
        ("FREQ=HOURLY;INTERVAL=5;BYHOUR=10,20", ["2026-01-18 10:00", "2026-01-18 20:00", "2026-01-23 10:00"]),
        ("FREQ=DAILY;BYMONTHDAY=-31", ["2026-03-01 10:00", "2026-05-01 10:00", "2026-07-01 10:00"]),
        ("FREQ=DAILY;BYMONTH=03;BYMONTHDAY=01", ["2026-03-01 10:00", "2027-03-01 10:00", "2028-03-01 10:00"]),
    ],
)
def test_a_rule_comes_when_it_says(rule, expected):
    assert times(rule, most=3) == [at(each) for each in expected]


def test_a_rule_ends_after_its_count():
    assert times("FREQ=DAILY;COUNT=2") == [START, START + DAY]
    assert Recurrence.parse("FREQ=DAILY;COUNT=2", START, "UTC").next_after(START + DAY) is None


@pytest.mark.parametrize(
    ("until", "count"),
    [
        ("20260120T100000Z", 3),
        ("20260120T095959Z", 2),
        ("20260120T100000", 3),
        ("20260120", 3),
        ("20260118T100000Z", 1),
    ],
)
def test_a_rule_ends_with_its_until(until, count):
    assert len(times(f"FREQ=DAILY;UNTIL={until}")) == count


def test_an_until_in_utc_is_a_moment_and_one_without_z_is_wall_clock():
    start = at("2026-01-18 22:00")  # 05:00 of the 19th in Vietnam
    assert len(times("FREQ=DAILY;UNTIL=20260119T220000Z", start, "Asia/Ho_Chi_Minh")) == 2
    assert len(times("FREQ=DAILY;UNTIL=20260119T220000", start, "Asia/Ho_Chi_Minh")) == 1
    assert len(times("FREQ=DAILY;UNTIL=20260120", start, "Asia/Ho_Chi_Minh")) == 2


def test_the_wall_clock_stays_when_clocks_change():
    spring = local("FREQ=DAILY", at("2026-03-28 09:00"), "Europe/Berlin", 3)
    assert spring == ["28 10:00 +0100", "29 10:00 +0200", "30 10:00 +0200"]
    autumn = local("FREQ=DAILY", at("2026-10-24 08:00"), "Europe/Berlin", 3)
    assert autumn == ["24 10:00 +0200", "25 10:00 +0100", "26 10:00 +0100"]


def test_a_time_that_does_not_exist_is_moved_on_by_the_change():
    found = local("FREQ=DAILY", at("2026-03-28 01:30"), "Europe/Berlin")
    assert found == ["28 02:30 +0100", "29 03:30 +0200", "30 02:30 +0200", "31 02:30 +0200"]


def test_a_time_that_exists_twice_is_its_first_and_comes_once():
    found = local("FREQ=DAILY", at("2026-10-24 00:30"), "Europe/Berlin")
    assert found == ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100", "27 02:30 +0100"]


def test_a_start_in_the_second_hour_of_the_change_is_the_first_time():
    found = local("FREQ=DAILY", at("2026-10-25 01:30"), "Europe/Berlin", 2)
    assert found == ["25 02:30 +0100", "26 02:30 +0100"]


def test_an_hour_that_is_left_out_comes_once():
    found = local("FREQ=HOURLY", at("2026-03-29 00:00"), "Europe/Berlin")
    assert found == ["29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200", "29 05:00 +0200"]


def test_a_start_within_a_second_is_not_undercut():
    start = START + timedelta(microseconds=1)
    assert times("FREQ=DAILY", start, most=2) == [START + timedelta(seconds=1), START + DAY + timedelta(seconds=1)]


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "   ",
        "every day",
        "RRULE:",
        "FREQ=",
        "FREQ",
        "COUNT=3",
        "INTERVAL=2",
        "FREQ=DAILY;",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=MINUTELY",
        "FREQ=SECONDLY;COUNT=5",
        "FREQ=FORTNIGHTLY",
        "FREQ=DAILY;BYMINUTE=1",
        "FREQ=DAILY;BYSECOND=1",
        "FREQ=DAILY;BYEASTER=0",
        "FREQ=YEARLY;BYYEARDAY=1",
        "FREQ=YEARLY;BYWEEKNO=1",
        "FREQ=DAILY;DTSTART=20200101",
        "FREQ=DAILY\nEXDATE:20260101",
        "DTSTART:20200101T000000\nRRULE:FREQ=DAILY",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=-1",
        "FREQ=DAILY;COUNT=10001",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=1001",
        "FREQ=DAILY;INTERVAL=" + "9" * 150,
        "FREQ=DAILY;INTERVAL=٣",
        "FREQ=DAILY;UNTIL=tomorrow",
        "FREQ=DAILY;UNTIL=20260231",
        "FREQ=DAILY;UNTIL=00010101T000000Z",
        "FREQ=DAILY;UNTIL=20250101",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=HOURLY;BYHOUR=25",
        "FREQ=DAILY;BYHOUR=-1",
        "FREQ=DAILY;BYMONTH=0",
        "FREQ=DAILY;BYMONTH=13",
        "FREQ=MONTHLY;BYMONTHDAY=32",
        "FREQ=MONTHLY;BYMONTHDAY=0",
        "FREQ=MONTHLY;BYMONTHDAY=1,,2",
        "FREQ=WEEKLY;BYMONTHDAY=1",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=WEEKLY;BYDAY=1MO",
        "FREQ=DAILY;BYDAY=1MO",
        "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=YEARLY;BYDAY=-54MO",
        "FREQ=DAILY;BYSETPOS=1",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0",
        "FREQ=DAILY;WKST=XX",
        "FREQ=DAILY;BYHOUR=" + ",".join(["1"] * 100),
    ],
)
def test_what_is_no_rule_of_a_campaign_is_refused(rule):
    assert refusal(rule)[0] == "schedule.recurrence"


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=4,6;BYMONTHDAY=31",
        "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=-30",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=11",
        "FREQ=HOURLY;INTERVAL=168;BYDAY=TU",
        "FREQ=HOURLY;BYDAY=MO;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=3",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=100",
        "FREQ=MONTHLY;BYDAY=5MO;BYMONTHDAY=1",
        "FREQ=YEARLY;BYDAY=53MO;BYMONTHDAY=15",
        "FREQ=WEEKLY;INTERVAL=1000;BYMONTH=7",
    ],
)
def test_what_does_not_come_is_refused(rule):
    assert refusal(rule)[1] in {"never comes", "does not come within ten years"}


def test_an_hour_lies_between_two_times():
    # Nothing finer than an hour can be said, so only the same hour twice could be closer.
    assert len(times("FREQ=DAILY;BYHOUR=9,9,10", most=3)) == 3
    assert all(later - earlier >= HOUR for earlier, later in pairwise(times("FREQ=DAILY;BYHOUR=9,9,10", most=5)))


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "\0", "a" * 300])
def test_a_zone_that_there_is_not_is_refused(zone):
    assert refusal("FREQ=DAILY", zone=zone)[0] == "schedule.timezone"


@pytest.mark.parametrize("start", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_start_at_the_end_of_time_is_refused_or_counted_from(start, zone):
    try:
        Recurrence.parse("FREQ=DAILY", start, zone)
    except InvalidContent as error:
        assert [problem.field for problem in error.problems] == ["schedule.startAt"]  # noqa: PT017  # either is right


frequencies = st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"])
numbers = st.integers(1, 12) | st.integers(-40, 60)
lists = st.lists(numbers, min_size=1, max_size=4).map(lambda each: ",".join(map(str, each)))
weekdays = st.lists(st.sampled_from(["MO", "TU", "SU", "1MO", "-1FR", "5SA", "53SU"]), min_size=1, max_size=3)
other_parts = st.fixed_dictionaries(
    {},
    optional={
        "INTERVAL": st.integers(0, 400).map(str),
        "COUNT": st.integers(0, 30).map(str),
        "UNTIL": st.sampled_from(["20260301", "20270101T000000Z", "20260118T100000"]),
        "BYMONTH": lists,
        "BYMONTHDAY": lists,
        "BYDAY": weekdays.map(",".join),
        "BYHOUR": lists,
        "BYSETPOS": lists,
        "WKST": st.sampled_from(["MO", "SU"]),
    },
)
starts = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # has one


def spelled(frequency, parts):
    return ";".join([f"FREQ={frequency}", *(f"{name}={value}" for name, value in parts.items())])


@given(frequencies, other_parts, starts, st.sampled_from(ZONES))
def test_any_rule_is_refused_or_comes_from_its_start_on_and_ever_later(frequency, parts, start, zone):
    try:
        recurrence = Recurrence.parse(spelled(frequency, parts), start, zone)
    except InvalidContent:
        return
    moment, found = start - 3 * DAY, []
    while len(found) < 40 and (moment := recurrence.next_after(moment)):
        found.append(moment)
    assert found
    assert found[0] >= start
    assert all(earlier < later for earlier, later in pairwise(found))
    assert all(each.utcoffset() == timedelta(0) for each in found)
    assert len(found) <= int(parts.get("COUNT", 40))


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(text):
    for rule in (text, f"FREQ=DAILY;{text}", f"FREQ=YEARLY;BYDAY={text}"):
        try:
            Recurrence.parse(rule, START, "UTC")
        except InvalidContent as error:
            assert error.problems  # noqa: PT017  # most are refused, and may be


@given(st.integers(0, 6), st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_next_time_is_the_first_one_after_a_moment(day, moment):
    rule = f"FREQ=WEEKLY;BYDAY={['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'][day]}"
    found = Recurrence.parse(rule, START, "UTC").next_after(moment)
    assert found is not None
    assert (found.weekday(), found.hour) == (day, 10)
    assert found > moment
    assert found - moment <= 7 * DAY or found - START <= 7 * DAY
