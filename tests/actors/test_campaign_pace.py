"""What a campaign leaves of X's 15 minutes to people, and how long it takes then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.campaign_pace import campaign_done_at, campaign_free_at
from domain.send_windows import CAMPAIGN, Limits, SendWindows

START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MANY = Limits(messages_per_day=100_000, campaign_messages_per_day=100_000)


def campaign(windows: SendWindows, count: int, reserve: float) -> list[datetime]:
    """Send a campaign's messages as soon as each may be; returns when."""
    now, moments = START, []
    for _ in range(count):
        while (free := campaign_free_at(windows, now, reserve)) > now:
            now = free
        windows.claimed(now, CAMPAIGN)
        moments.append(now)
    return moments


@given(count=st.integers(1, 120), reserve=st.sampled_from([0.0, 0.2, 0.5, 0.95]))
def test_people_keep_their_share_of_each_quarter_of_an_hour(count: int, reserve: float) -> None:
    moments = campaign(SendWindows(MANY), count, reserve)
    share = 15 - int(15 * reserve)
    for end in moments:
        assert sum(end - timedelta(minutes=15) < moment <= end for moment in moments) <= share


@given(people=st.integers(0, 3), count=st.integers(12, 60))
def test_a_person_may_always_answer_while_a_campaign_uses_its_share(people: int, count: int) -> None:
    windows = SendWindows(MANY)
    now = campaign(windows, count, 0.2)[-1]
    for _ in range(people):
        assert windows.can_send(now)
        windows.claimed(now)


def test_what_people_send_counts_too() -> None:
    windows = SendWindows(MANY)
    for _ in range(11):
        windows.claimed(START)
    assert campaign_free_at(windows, START, 0.2) == START
    windows.claimed(START)
    assert campaign_free_at(windows, START, 0.2) == START.replace(second=0) + timedelta(minutes=16)


@pytest.mark.parametrize("reserve", [0.2, 0.99])
def test_something_is_always_left_to_campaigns(reserve: float) -> None:
    assert campaign_free_at(SendWindows(MANY), START, reserve) == START


@given(count=st.integers(1, 380), before=st.integers(0, 12))
def test_the_end_is_foreseen(count: int, before: int) -> None:
    windows = SendWindows(MANY)
    for _ in range(before):
        windows.claimed(START, CAMPAIGN)
    foreseen = campaign_done_at(windows, START, count, 0.2)
    assert abs(campaign(windows, count, 0.2)[-1] - foreseen) <= timedelta(minutes=1)
