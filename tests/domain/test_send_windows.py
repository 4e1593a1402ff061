from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.send_windows import CAMPAIGN, Claim, Limits, SendWindows
from domain.x_rate_headers import RateHeaders, ReportedWindow

START = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
QUARTER_HOUR, DAY = timedelta(minutes=15), timedelta(hours=24)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


def quarter_hour(limit, remaining, resets_at):
    return RateHeaders(quarter_hour=ReportedWindow(limit, remaining, resets_at))


def told(windows, now=START):
    """Have X tell a 15-minute limit that is out of the way."""
    windows.reported(quarter_hour(10_000, 10_000, now + SECOND), now)
    return windows


def fill(windows, now, priority=0, most=10_000):
    claims = []
    while len(claims) < most and windows.can_send(now, priority):
        claims.append(windows.claimed(now, priority))
    return claims


def test_before_x_has_told_its_limit_fifteen_may_be_sent_in_fifteen_minutes():
    windows = SendWindows()

    assert len(fill(windows, START)) == 15
    assert not windows.can_send(START + QUARTER_HOUR - SECOND)
    free = windows.next_free_at(START)
    assert START + QUARTER_HOUR <= free <= START + QUARTER_HOUR + MINUTE
    assert len(fill(windows, free)) == 15


def test_no_more_than_the_day_allows_are_sent():
    windows = told(SendWindows(Limits(messages_per_day=500)))

    assert len(fill(windows, START)) == 500
    free = windows.next_free_at(START)
    assert START + DAY <= free <= START + DAY + MINUTE
    assert windows.can_send(free)


def test_what_is_automatic_leaves_the_reserve_to_people():
    windows = told(SendWindows(Limits(messages_per_day=500, reserve=0.2)))

    assert len(fill(windows, START, priority=3)) == 400
    assert not windows.can_send(START, priority=1)
    assert len(fill(windows, START, priority=0)) == 100


def test_x_counts_its_own_1440_calls_a_day():
    windows = told(SendWindows(Limits(messages_per_day=5000)))

    assert len(fill(windows, START)) == 1440


def test_a_higher_limit_that_x_reports_is_used():
    windows = SendWindows()
    windows.reported(quarter_hour(99, 98, START + QUARTER_HOUR), START)

    assert len(fill(windows, START)) == 98


def test_less_left_than_was_counted_is_believed_until_the_reset():
    windows = SendWindows()
    windows.reported(quarter_hour(15, 2, START + 5 * MINUTE), START)

    assert len(fill(windows, START)) == 2
    assert windows.next_free_at(START) == START + 5 * MINUTE


def test_more_left_than_was_counted_does_not_loosen_the_count():
    windows = SendWindows()
    fill(windows, START, most=14)
    windows.reported(quarter_hour(15, 15, START + QUARTER_HOUR), START)

    assert len(fill(windows, START)) == 1


def test_a_late_answer_does_not_give_back_what_was_claimed_since():
    windows = SendWindows()
    windows.reported(quarter_hour(15, 5, START + QUARTER_HOUR), START)
    fill(windows, START, most=3)
    windows.reported(quarter_hour(15, 4, START + QUARTER_HOUR), START)

    assert len(fill(windows, START)) == 2


def test_the_windows_of_the_user_and_of_the_app_hold_until_their_resets():
    windows = SendWindows()
    windows.reported(
        RateHeaders(
            user_day=ReportedWindow(1440, 1, START + 2 * MINUTE), app_day=ReportedWindow(1440, 0, START + 3 * MINUTE)
        ),
        START,
    )

    assert windows.next_free_at(START) == START + 3 * MINUTE
    assert len(fill(windows, START + 3 * MINUTE)) == 15


def test_a_window_that_x_says_allows_nothing_ends_with_its_reset():
    windows = SendWindows()
    windows.reported(quarter_hour(0, 0, START + MINUTE), START)

    assert windows.next_free_at(START) == START + MINUTE


def test_an_absurd_reset_blocks_no_longer_than_the_window_is_long():
    windows = SendWindows()
    windows.reported(quarter_hour(15, 0, START + timedelta(days=9000)), START)

    assert windows.next_free_at(START) <= START + QUARTER_HOUR + MINUTE


def test_a_block_holds_until_it_ends_and_a_shorter_one_does_not_end_it():
    windows = SendWindows()
    windows.block(START + 10 * MINUTE)
    windows.block(START + MINUTE)

    assert windows.blocked_until == START + 10 * MINUTE
    assert windows.next_free_at(START) == START + 10 * MINUTE
    assert windows.can_send(START + 10 * MINUTE)


def test_a_message_that_was_refused_leaves_our_window_but_not_that_of_x():
    windows = SendWindows(Limits(messages_per_day=15))
    claims = fill(windows, START)
    windows.returned(START, claims[0])

    states = {state.name: state.used for state in windows.describe(START)}
    assert (states["messages24h"], states["x15min"]) == (14, 15)


def test_a_call_that_never_reached_x_leaves_every_window():
    windows = SendWindows()
    claims = fill(windows, START)
    windows.returned(START, claims[0], reached_x=False)

    assert len(fill(windows, START)) == 1


def test_a_claim_that_comes_back_after_its_day_changes_nothing():
    windows = SendWindows()
    claim = windows.claimed(START)
    later = START + 2 * DAY
    windows.claimed(later)
    windows.returned(later, claim)

    assert windows.describe(later)[0].used == 1


def test_what_may_not_be_sent_can_not_be_claimed():
    windows = SendWindows()
    fill(windows, START)

    with pytest.raises(ValueError, match="no message may be claimed"):
        windows.claimed(START)


def test_every_window_is_described():
    windows = SendWindows()
    assert [(s.name, s.limit, s.used, s.resets_at) for s in windows.describe(START)] == [
        ("messages24h", 500, 0, None),
        ("campaigns24h", 10_000, 0, None),
        ("x15min", 15, 0, None),
        ("x24h", 1440, 0, None),
    ]

    fill(windows, START, most=2)
    windows.reported(
        RateHeaders(
            quarter_hour=ReportedWindow(15, 10, START + MINUTE), app_day=ReportedWindow(1440, 1000, START + 2 * MINUTE)
        ),
        START,
    )

    top_of_the_minute = START.replace(second=0)
    assert [(s.name, s.limit, s.used, s.resets_at) for s in windows.describe(START)] == [
        ("messages24h", 500, 2, top_of_the_minute + MINUTE + DAY),
        ("campaigns24h", 10_000, 0, None),
        ("x15min", 15, 5, START + MINUTE),
        ("x24h", 1440, 2, top_of_the_minute + MINUTE + DAY),
        ("xApp24h", 1440, 440, START + 2 * MINUTE),
    ]


def test_an_empty_document_gives_fresh_windows():
    assert SendWindows.from_document({}).to_document() == SendWindows().to_document()


@pytest.mark.parametrize(
    "document", [{"claims": "x"}, {"claims": b"123"}, {"reports": {"userDay": [1]}}, {"blockedUntil": ""}]
)
def test_a_document_of_another_shape_is_refused(document):
    with pytest.raises((TypeError, ValueError, struct.error)):
        SendWindows.from_document(document)


def test_a_full_day_is_a_small_document():
    windows = SendWindows(Limits(messages_per_day=100_000))
    for minute in range(3000):
        now = START + minute * MINUTE
        windows.reported(
            RateHeaders(ReportedWindow(9999, 9999, now + SECOND), ReportedWindow(99_999, 99_999, now + SECOND)), now
        )
        windows.claimed(now)

    assert len(windows.to_document()["claims"]) <= 1441 * 10


class Windows(RuleBasedStateMachine):
    """The windows against an exact record of every claim."""

    @initialize(
        per_day=st.integers(1, 12),
        reserve=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
        campaigns_per_day=st.integers(1, 12),
        second=st.integers(0, 59_999),
    )
    def begin(self, per_day, reserve, campaigns_per_day, second):
        self.per_day, self.reserve, self.campaigns_per_day = per_day, reserve, campaigns_per_day
        self.limits = Limits(per_day, reserve, campaigns_per_day)
        self.windows = SendWindows(self.limits)
        self.now = START + second * timedelta(milliseconds=1)
        self.messages: list[datetime] = []
        self.calls: list[datetime] = []
        self.campaigns: list[datetime] = []
        self.limit = 15
        self.reports: list[tuple[datetime, int, int]] = []  # until, left, calls made before it
        self.claims: list[Claim] = []
        self.blocked = START

    @rule(priority=st.sampled_from([0, 1, CAMPAIGN]))
    def its_turn_comes(self, priority):
        self.now = self.windows.next_free_at(self.now, priority)
        self.claim(priority, 1)

    @rule(by=st.one_of(st.timedeltas(timedelta(0), 2 * QUARTER_HOUR), st.timedeltas(timedelta(0), 2 * DAY)))
    def time_passes(self, by):
        self.now += by

    @rule(priority=st.integers(0, 3), most=st.integers(1, 20))
    def claim(self, priority, most):
        for _ in range(most):
            if not self.windows.can_send(self.now, priority):
                break
            if priority:
                reserved = min(int(self.per_day * self.reserve), self.per_day - 1)
                assert self._within(self.messages, DAY) < self.per_day - reserved
            self.claims.append(self.windows.claimed(self.now, priority))
            self.messages.append(self.now)
            self.calls.append(self.now)
            if priority >= CAMPAIGN:
                self.campaigns.append(self.now)
                assert self._within(self.campaigns, DAY) <= self.campaigns_per_day
            assert self.now >= self.blocked
            assert self._within(self.messages, DAY) <= self.per_day
            kept = self._kept_of_x() if priority >= CAMPAIGN else 0
            assert self._within(self.calls, QUARTER_HOUR) <= self.limit - kept
            for until, left, before in self.reports:
                assert self.now >= until or len(self.calls) - before <= left - kept

    @rule(data=st.data(), reached_x=st.booleans())
    def give_back(self, data, reached_x):
        if self.claims:
            claim = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
            self.windows.returned(self.now, claim, reached_x=reached_x)
            self.messages.remove(claim.at)
            if claim.priority >= CAMPAIGN:
                self.campaigns.remove(claim.at)
            if not reached_x:
                # X never saw it, so nothing of X's is spent; its reports were of the calls that it saw.
                self.calls.remove(claim.at)
                self.reports = [(u, left, min(before, len(self.calls))) for u, left, before in self.reports]

    @rule(
        limit=st.integers(1, 30),
        left=st.integers(0, 30),
        ends_in=st.timedeltas(timedelta(0), QUARTER_HOUR),
        again=st.booleans(),
    )
    def x_reports(self, limit, left, ends_in, again):
        # X names whole seconds, and its next window begins after the present one.
        resets_at = (self.now + ends_in).replace(microsecond=0)
        current = [until for until, _, _ in self.reports if until > self.now]
        resets_at = max(current) if current and again else max([resets_at, *current])
        self.windows.reported(quarter_hour(limit, left, resets_at), self.now)
        self.limit = limit
        self.reports = [(until, n, before) for until, n, before in self.reports if until == resets_at]
        if resets_at > self.now:
            self.reports.append((resets_at, left, len(self.calls)))

    @rule(by=st.timedeltas(timedelta(0), timedelta(hours=2)))
    def is_blocked(self, by):
        self.blocked = max(self.blocked, self.now + by)
        self.windows.block(self.now + by)

    @rule()
    def moves_to_another_process(self):
        document = self.windows.to_document()
        self.windows = SendWindows.from_document(document, self.limits)
        assert self.windows.to_document() == document

    @invariant()
    def the_next_free_moment_is_free_and_not_far(self):
        for priority in (0, 1, CAMPAIGN):
            free = self.windows.next_free_at(self.now, priority)
            assert self.now <= free <= self.now + DAY + 2 * MINUTE
            assert self.windows.can_send(self.now, priority) == (free == self.now)
            later = SendWindows.from_document(self.windows.to_document(), self.limits)
            assert free == self.now or not later.can_send(free - SECOND, priority)
            assert later.can_send(free, priority)

    @invariant()
    def what_is_shown_is_never_less_than_what_was_sent(self):
        shown = {state.name: state for state in self.windows.describe(self.now)}
        assert shown["messages24h"].used >= self._within(self.messages, DAY)
        assert shown["campaigns24h"].used >= self._within(self.campaigns, DAY)
        assert shown["x15min"].used >= min(self._within(self.calls, QUARTER_HOUR), 1)

    @invariant()
    def campaigns_wait_at_least_as_long_as_anything_else(self):
        people, flow, campaign = (self.windows.next_free_at(self.now, priority) for priority in (0, 1, CAMPAIGN))
        assert people <= flow <= campaign

    def _kept_of_x(self):
        return min(int(self.limit * self.reserve), self.limit - 1)

    def _within(self, moments, length):
        return sum(1 for moment in moments if moment > self.now - length)


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.timedeltas(timedelta(0), timedelta(hours=8)), st.integers(1, 9)), max_size=30))
def test_people_always_get_through_once_the_day_has_passed(bursts):
    windows, now = SendWindows(Limits(5)), START
    for pause, count in bursts:
        now += pause
        fill(windows, now, priority=3, most=count)

    assert windows.can_send(now + DAY + MINUTE)


def campaigns_used(windows, now=START):
    [shown] = [state for state in windows.describe(now) if state.name == "campaigns24h"]
    return shown.used, shown.limit


def test_campaigns_have_a_window_of_their_own():
    windows = told(SendWindows(Limits(messages_per_day=5000, campaign_messages_per_day=3)))
    fill(windows, START, CAMPAIGN - 1, most=10)
    assert campaigns_used(windows) == (0, 3)

    assert len(fill(windows, START, CAMPAIGN)) == 3
    assert campaigns_used(windows) == (3, 3)
    assert windows.can_send(START, CAMPAIGN - 1)
    free = windows.next_free_at(START, CAMPAIGN)
    assert START + DAY <= free <= START + DAY + MINUTE


def test_a_message_of_a_campaign_that_does_not_exist_leaves_its_window_too():
    windows = SendWindows(Limits(campaign_messages_per_day=1))
    claim = windows.claimed(START, CAMPAIGN)
    windows.returned(START, claim)
    assert campaigns_used(windows) == (0, 1)

    windows.claimed(START, CAMPAIGN)
    windows.returned(START, windows.claimed(START, 0))
    assert campaigns_used(windows) == (1, 1)


def step_by_step(windows, now, count, priority):
    """Return when the last of some messages is claimed; the windows are used for it."""
    for _ in range(count):
        now = windows.next_free_at(now, priority)
        windows.claimed(now, priority)
    return now


@st.composite
def reported_days(draw):
    """Return what X may say of a window of a day."""
    limit = draw(st.integers(1, 2_000))
    return ReportedWindow(limit, draw(st.integers(0, limit)), START + draw(st.timedeltas(timedelta(0), DAY)))


@st.composite
def used_windows(draw):
    """Return windows that somebody has sent with before, that X may have told something of, and that may be blocked."""
    per_day = draw(st.sampled_from([1, 2, 3, 5, 10, 40, 60, 5_000]))
    limits = Limits(per_day, draw(st.sampled_from([0, 0.2, 0.5])), draw(st.sampled_from([7, 10_000])))
    windows = SendWindows(limits)
    for seconds in sorted(draw(st.lists(st.integers(0, 24 * 3600 - 120), max_size=20))):
        moment, priority = START - DAY + seconds * SECOND, draw(st.sampled_from([0, CAMPAIGN]))
        if windows.can_send(moment, priority):
            windows.claimed(moment, priority)
    if draw(st.booleans()):
        limit, ends_in = draw(st.integers(1, 30)), draw(st.timedeltas(timedelta(0), QUARTER_HOUR))
        windows.reported(quarter_hour(limit, draw(st.integers(0, limit)), START + ends_in), START - SECOND)
    if draw(st.booleans()):
        days = [draw(st.none() | reported_days()) for _ in range(2)]
        windows.reported(RateHeaders(None, *days), START - SECOND)
    if draw(st.booleans()):
        windows.block(START + draw(st.timedeltas(timedelta(0), 7 * DAY)))
    return windows


@settings(max_examples=60)
@given(used_windows(), st.integers(0, 800), st.sampled_from([0, 1, CAMPAIGN]))
def test_the_end_is_foreseen_as_it_comes(windows, count, priority):
    before = windows.to_document()
    foreseen = windows.finish_at(START, count, priority)
    assert windows.to_document() == before

    first = windows.next_free_at(START, priority)
    finish = step_by_step(windows, START, count, priority)
    if finish - first < 4 * DAY:
        assert foreseen == finish
    assert abs(foreseen - finish) <= max(QUARTER_HOUR + MINUTE, 0.01 * (finish - START))


def test_what_x_has_said_is_left_is_foreseen_too():
    windows = SendWindows()
    resets_at = START + 5 * MINUTE
    windows.reported(quarter_hour(15, 3, resets_at), START)

    assert windows.finish_at(START, 3, 0) == START
    assert windows.finish_at(START, 4, 0) == windows.finish_at(START, 15, 0) == resets_at
    assert windows.finish_at(START, 16, 0) > resets_at
    # The last three of the fifteen are people's.
    assert windows.finish_at(START, 1, CAMPAIGN) == resets_at
    assert not windows.can_send(START, CAMPAIGN)


def test_a_pattern_that_wanders_over_the_end_of_a_day_is_foreseen():
    # Each round takes a day and a minute, so a day counted from now has one burst less now and then.
    windows = SendWindows(Limits(messages_per_day=2, reserve=0))
    for moment in (START - DAY + timedelta(hours=12), START - 3 * MINUTE):
        windows.claimed(moment, CAMPAIGN)

    foreseen = windows.finish_at(START, 40, CAMPAIGN)
    assert foreseen == step_by_step(windows, START, 40, CAMPAIGN)


@pytest.mark.parametrize(("count", "limit"), [(8_000, 15), (6_000, 11)])
def test_a_pattern_of_quarter_hours_is_foreseen(count, limit):
    # No window of a day is ever full.
    windows = SendWindows(Limits(messages_per_day=5_000))
    windows.reported(quarter_hour(limit, limit, START + SECOND), START)

    assert windows.finish_at(START, count, 0) == step_by_step(windows, START, count, 0)


def test_a_million_messages_come_to_what_the_reserve_leaves_a_day():
    # 400 messages in any day and a minute, twelve in any quarter of an hour and a minute.
    finish = SendWindows().finish_at(START, 1_000_000, CAMPAIGN)
    rounds = 1_000_000 // 400 - 1
    assert finish - START == pytest.approx(rounds * (DAY + MINUTE) + 33 * (QUARTER_HOUR + MINUTE), abs=2 * MINUTE)


@given(used_windows(), st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_messages_end_no_earlier(windows, one, other):
    few, many = sorted((one, other))
    assert windows.finish_at(START, few) <= windows.finish_at(START, many)


def campaign(windows, count):
    """Send a campaign's messages as soon as each may be; returns when."""
    now, moments = START, []
    for _ in range(count):
        now = windows.next_free_at(now, CAMPAIGN)
        windows.claimed(now, CAMPAIGN)
        moments.append(now)
    return moments


@given(st.integers(1, 120), st.sampled_from([0.0, 0.2, 0.5, 0.95]))
def test_people_keep_their_share_of_each_quarter_of_an_hour(count, reserve):
    moments = campaign(SendWindows(Limits(100_000, reserve, 100_000)), count)
    share = 15 - int(15 * reserve)
    for end in moments:
        assert sum(end - QUARTER_HOUR < moment <= end for moment in moments) <= share


@given(st.integers(0, 3), st.integers(12, 60))
def test_a_person_may_always_answer_while_a_campaign_uses_its_share(people, count):
    windows = SendWindows(Limits(100_000, 0.2, 100_000))
    now = campaign(windows, count)[-1]
    for _ in range(people):
        assert windows.can_send(now)
        windows.claimed(now)


def test_what_people_send_counts_for_the_share_too():
    windows = SendWindows(Limits(100_000, 0.2, 100_000))
    fill(windows, START, most=11)
    assert windows.can_send(START, CAMPAIGN)
    windows.claimed(START)
    assert windows.next_free_at(START, CAMPAIGN) == START.replace(second=0) + QUARTER_HOUR + MINUTE


@pytest.mark.parametrize("priority", [1, CAMPAIGN - 1])
def test_of_x_s_windows_only_campaigns_leave_people_a_share(priority):
    windows = SendWindows(Limits(5_000, 0.2))
    windows.reported(RateHeaders(None, *[ReportedWindow(1440, 15, START + DAY)] * 2), START)

    assert not windows.can_send(START, CAMPAIGN)
    assert len(fill(windows, START, priority)) == 15


def test_people_keep_their_share_of_x_s_calls_a_day():
    windows = told(SendWindows(Limits(messages_per_day=5_000, reserve=0.2)))

    assert len(fill(windows, START, CAMPAIGN)) == 1152
    free = windows.next_free_at(START, CAMPAIGN)
    assert START + DAY <= free <= START + DAY + MINUTE
    assert len(fill(windows, START)) == 288


@pytest.mark.parametrize("window", ["quarter_hour", "user_day", "app_day"])
def test_a_campaign_may_use_what_x_reports_above_the_share_of_people(window):
    windows = SendWindows(Limits(5_000, 0.2))
    resets_at = START + 5 * MINUTE
    windows.reported(RateHeaders(**{window: ReportedWindow(20, 7, resets_at)}), START)
    assert windows.finish_at(START, 3, CAMPAIGN) == START
    assert windows.finish_at(START, 4, CAMPAIGN) == resets_at

    assert len(fill(windows, START, CAMPAIGN)) == 3
    assert windows.next_free_at(START, CAMPAIGN) == resets_at
    moved = SendWindows.from_document(windows.to_document(), Limits(5_000, 0.2))
    assert moved.next_free_at(START, CAMPAIGN) == resets_at
    assert len(fill(windows, START)) == 4


@pytest.mark.parametrize(("reserve", "limit", "share"), [(1.0, 15, 1), (0.95, 15, 1), (0.5, 1, 1), (0, 15, 15)])
def test_something_of_x_s_windows_is_always_left_to_campaigns(reserve, limit, share):
    windows = SendWindows(Limits(5_000, reserve))
    windows.reported(quarter_hour(limit, limit, START + QUARTER_HOUR), START)

    assert len(fill(windows, START, CAMPAIGN)) == share


def test_an_end_beyond_all_calendars_is_the_end_of_the_calendar():
    assert SendWindows(Limits(1)).finish_at(START, 10_000_000).year == 9999
