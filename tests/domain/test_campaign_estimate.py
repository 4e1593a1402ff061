from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign_estimate import Estimate, LaneWork, estimate
from domain.send_windows import CAMPAIGN, Limits, SendWindows

START = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)

limits = st.builds(Limits, st.sampled_from([3, 20, 500]), st.sampled_from([0, 0.2]), st.sampled_from([5, 10_000]))
lanes = st.builds(
    LaneWork,
    windows=limits.map(SendWindows),
    remaining=st.integers(0, 40),
    others=st.lists(st.integers(0, 40), max_size=3),
)


def done_by_turns(lane):
    """Return when a lane's last message is claimed, if it comes last in each turn."""
    now, left = START, [*lane.others, lane.remaining]
    for number in cycle(range(len(left))):
        if left[number]:
            now = lane.windows.next_free_at(now, CAMPAIGN)
            lane.windows.claimed(now, CAMPAIGN)
            left[number] -= 1
        if not left[-1]:
            return now
    raise AssertionError("a cycle has no end")


def test_nothing_is_foreseen_where_nothing_remains():
    assert estimate([], START) == Estimate(0.0, None)
    assert estimate([LaneWork(SendWindows(), 0, (10,))], START) == Estimate(0.0, None)


def test_what_fits_into_the_windows_is_done_at_once():
    assert estimate([LaneWork(SendWindows(), 12)], START) == Estimate(12.0, START)


@given(lanes.filter(lambda lane: lane.remaining))
def test_campaigns_of_one_account_take_turns(lane):
    foreseen = estimate([lane], START).completion_at
    assert foreseen is not None
    slack = timedelta(minutes=16)
    assert abs(foreseen - done_by_turns(lane)) <= max(slack, 0.01 * (foreseen - START))


@given(st.lists(lanes, min_size=1, max_size=4))
def test_a_campaign_is_over_with_the_last_of_its_accounts(several):
    found = estimate(several, START)
    each = [at for lane in several if (at := estimate([lane], START).completion_at)]
    assert found.completion_at == max(each, default=None)


@given(st.lists(lanes, min_size=1, max_size=4))
def test_the_rate_does_what_remains_by_then(several):
    found = estimate(several, START)
    if found.completion_at is not None:
        minutes = max((found.completion_at - START).total_seconds() / 60, 1)
        assert found.rate_per_minute == pytest.approx(sum(lane.remaining for lane in several) / minutes, abs=0.005)


def test_a_large_campaign_goes_by_what_the_reserve_leaves():
    found = estimate([LaneWork(SendWindows(), 40_000)], START)
    assert found.completion_at is not None
    assert timedelta(days=99) < found.completion_at - START < timedelta(days=101)
    assert found.rate_per_minute == 0.28  # 400 a day
