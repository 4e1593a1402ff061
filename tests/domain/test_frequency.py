"""The cap of campaigns a week, and quiet hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact_policy import ContactPolicy
from domain.frequency import QuietHours, next_allowed, over_cap, zone_of

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
#: Clocks in these years change in all ways there are; Apia had no 30 December 2011.
_MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds are naive
_TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))
_QUIET = st.builds(QuietHours, _TIMES, _TIMES).filter(lambda quiet: quiet.start != quiet.end)


@given(_MOMENTS, st.sampled_from(ZONES), _QUIET)
def test_the_next_allowed_moment_is_not_quiet_and_not_far(now: datetime, zone_name: str, quiet: QuietHours) -> None:
    zone = ZoneInfo(zone_name)
    allowed = next_allowed(now, zone, quiet)
    assert not quiet.hold(allowed.astimezone(zone).time())
    assert timedelta(0) <= allowed - now < timedelta(hours=49)
    assert (allowed == now) is not quiet.hold(now.astimezone(zone).time())
    assert next_allowed(allowed, zone, quiet) == allowed


@given(_MOMENTS, _QUIET, st.sampled_from(["UTC", "Asia/Kathmandu"]))
def test_where_clocks_never_change_it_is_quiet_until_then(now: datetime, quiet: QuietHours, zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    allowed = next_allowed(now, zone, quiet)
    if allowed > now:
        assert allowed.astimezone(zone).time() == quiet.end
        assert allowed - now <= timedelta(days=1)
        assert quiet.hold((allowed - timedelta(microseconds=1)).astimezone(zone).time())


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        # Put forward at 2:00: there is no 2:30.
        (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        # Put back at 3:00: 2:30 is there twice, and the second time it is quiet from 2:00 on again.
        (datetime(2026, 10, 25, 0, 10, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 1, 10, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        (datetime(2026, 11, 2, 23, 0, tzinfo=UTC), datetime(2026, 11, 3, 1, 30, tzinfo=UTC)),
    ],
)
def test_quiet_hours_over_midnight_and_over_a_change_of_the_clock(now: datetime, allowed: datetime) -> None:
    quiet = QuietHours(time(22), time(2, 30))
    assert next_allowed(now, ZoneInfo("Europe/Berlin"), quiet) == allowed


def test_hours_are_read_as_an_account_has_them() -> None:
    assert QuietHours.of({"start": "22:00", "end": "24:00"}) == QuietHours(time(22), time(0))
    assert QuietHours(time(22), time(0)).hold(time(23, 59))
    assert not QuietHours(time(22), time(0)).hold(time(0))


@given(st.lists(st.integers(0, 20 * 24), max_size=20), st.integers(0, 10))
def test_a_contact_never_gets_more_in_any_seven_days(hours: list[int], per_week: int) -> None:
    sent: list[datetime] = []
    for hour in sorted(hours):
        now = NOW + timedelta(hours=hour)
        if not over_cap(sent, now, per_week):
            sent.append(now)
    week = timedelta(days=7)
    if per_week:
        assert all(sum(at <= each < at + week for each in sent) <= per_week for at in sent)
    else:
        assert len(sent) == len(hours)


def test_the_first_time_zone_that_there_is_counts() -> None:
    assert zone_of((None, 7, "", "Mars/Base", "../etc/passwd", "Asia/Tokyo", "UTC")) == ZoneInfo("Asia/Tokyo")
    assert zone_of((None,)) == ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("own", "of_quiet", "of_hours", "allowed_hour"),
    [
        ("Asia/Tokyo", "Europe/Berlin", "America/New_York", None),
        ("nowhere", "Asia/Tokyo", "UTC", None),
        ("nowhere", "Europe/Berlin", "Asia/Tokyo", 11),
        (None, None, "Europe/Berlin", 11),
        (None, None, None, 12),
    ],
)
def test_quiet_hours_are_kept_by_the_contacts_clock(
    own: str | None, of_quiet: str | None, of_hours: str | None, allowed_hour: int | None
) -> None:
    quiet = {"start": "08:00", "end": "12:00", "timezone": of_quiet}
    policy = ContactPolicy.of({"quietHours": quiet, "businessHours": {"timezone": of_hours}})
    allowed = policy.next_allowed({"attributes": {"timezone": own}}, NOW)
    assert allowed == (NOW if allowed_hour is None else NOW.replace(hour=allowed_hour))


def test_the_cap_counts_what_was_sent_and_holds_for_campaigns_only() -> None:
    policy = ContactPolicy.of({"campaignMessagesPerWeek": 1})
    sent = {"variant": "all", "at": NOW - timedelta(days=6)}
    contact = {"consent": {"state": "inbound"}, "recentCampaigns": [sent]}
    assert policy.refusal(contact, "campaign", NOW) == "frequency_cap"
    assert policy.refusal(contact, "flow", NOW) is None
    assert policy.refusal(contact, "campaign", NOW + timedelta(days=1)) is None
    held_back = {**contact, "recentCampaigns": [{**sent, "variant": "control"}]}
    assert policy.refusal(held_back, "campaign", NOW) is None
