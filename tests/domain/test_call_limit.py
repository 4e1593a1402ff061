"""The rolling minute of a merchant's calls: leases, returns, what is lost on the way, and who takes over."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.call_limit import LEASE_S, SPAN_S, Answer, Ask, CallLease, CallWindow

START = 1_800_000_000.0


def ms(now: float) -> int:
    return int(now * 1000)


def at_once(window: CallWindow, lease: CallLease, now: float, *, waiting: int = 1, ahead: bool = True) -> Answer:
    """Let an ask and its answer take no time."""
    ask = lease.ask(now, waiting=waiting, ahead=ahead)
    answer = window.ask(ask, ms(now))
    lease.take(ask, answer, now, now)
    return answer


def call(window: CallWindow, lease: CallLease, now: float) -> Answer | None:
    """Make a call; answers why it was refused, if it was."""
    if lease.spend(now):
        return None
    answer = at_once(window, lease, now)
    return None if lease.spend(now) else answer


def never_too_many(passed: list[float], limit: int) -> bool:
    ordered = sorted(passed)
    return all(later - earlier >= SPAN_S for earlier, later in zip(ordered, ordered[limit:], strict=False))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100, 240, 1000])
def test_one_client_passes_up_to_the_limit_and_sees_what_remains_fall_by_one(limit: int) -> None:
    window, lease = CallWindow(limit), CallLease("a")
    remaining = []
    for number in range(limit):
        assert call(window, lease, START + number / 1000) is None
        remaining.append(lease.remaining)
    assert remaining == list(range(limit - 1, -1, -1))
    refused = call(window, lease, START + 2)
    assert refused is not None
    assert (refused.tokens, refused.free, refused.coming) == (0, 0, 0)
    assert 57 < refused.next_in_s <= 58.3
    assert refused.next_in_s <= refused.resets_in_s <= SPAN_S


def test_a_place_is_free_again_a_minute_after_its_call() -> None:
    window, lease = CallWindow(2), CallLease("a")
    assert call(window, lease, START) is None
    assert call(window, lease, START + 30) is None
    assert call(window, lease, START + 59.9) is not None
    assert call(window, lease, START + 60.002) is None
    assert call(window, lease, START + 60.1) is not None
    assert call(window, lease, START + 90.002) is None


def test_a_call_waits_for_a_place_that_is_almost_free() -> None:
    window, lease = CallWindow(1), CallLease("a")
    assert call(window, lease, START) is None
    soon = call(window, lease, START + 59.9)
    assert soon is not None
    assert soon.coming == 1
    assert 0 < soon.coming_in_s <= 0.102


def test_leases_shrink_as_the_window_fills() -> None:
    window, lease = CallWindow(100), CallLease("a")
    granted = []
    for _ in range(100):
        if not lease.spend(START):
            granted.append(at_once(window, lease, START).tokens)
            assert lease.spend(START)
    assert granted == sorted(granted, reverse=True)
    assert (granted[0], granted[-1]) == (25, 1)
    assert sum(granted) == 100
    assert len(granted) <= 20


def test_the_other_gateway_gets_what_was_not_spent_once_it_comes_back() -> None:
    window, first, second = CallWindow(8), CallLease("a"), CallLease("b")
    assert call(window, first, START) is None
    assert first.remaining == 7
    for _ in range(6):
        assert call(window, second, START) is None
    waits = call(window, second, START)
    assert waits is not None
    # As far as the window knows, both that the first gateway was granted may come back.
    assert (waits.coming, waits.coming_in_s) == (2, 0.05)
    at_once(window, first, START + LEASE_S, waiting=0, ahead=False)
    assert first.is_settled
    assert call(window, second, START + LEASE_S) is None
    refused = call(window, second, START + LEASE_S)
    assert refused is not None
    assert refused.coming == 0


def test_what_does_not_come_back_counts_from_the_end_of_the_lease() -> None:
    window, gone, lease = CallWindow(4), CallLease("gone"), CallLease("a")
    at_once(window, gone, START, waiting=4)
    waits = call(window, lease, START + LEASE_S)
    assert waits is not None
    assert waits.coming == 4
    refused = call(window, lease, START + 5)
    assert refused is not None
    assert refused.coming == 0
    assert call(window, lease, START + SPAN_S + LEASE_S) is not None
    assert call(window, lease, START + SPAN_S + LEASE_S + 0.5) is None


def test_an_ask_that_arrives_twice_is_granted_once() -> None:
    window, lease = CallWindow(100), CallLease("a")
    ask = lease.ask(START, waiting=1, ahead=True)
    first, again = window.ask(ask, ms(START)), window.ask(ask, ms(START) + 5)
    assert (first.tokens, first.free) == (again.tokens, again.free) == (25, 75)


def test_an_ask_that_arrives_again_is_answered_the_same_although_others_have_asked_since() -> None:
    window, lease, other = CallWindow(100), CallLease("a"), CallLease("b")
    ask = lease.ask(START, waiting=1, ahead=True)
    assert window.ask(ask, ms(START)).tokens == 25
    assert at_once(window, other, START, waiting=70).tokens == 70
    again = window.ask(ask, ms(START) + 5)
    assert (again.tokens, again.free) == (25, 5)


@pytest.mark.parametrize(("took", "usable"), [(0.8, True), (1.0, False), (1.5, False)])
def test_a_lease_ends_a_second_after_it_was_asked_for_whatever_the_answer_took(took: float, usable: bool) -> None:
    window, lease = CallWindow(100), CallLease("a")
    ask = lease.ask(START, waiting=1, ahead=True)
    lease.take(ask, window.ask(ask, ms(START)), START, START + took)
    assert lease.spend(START + took) is usable
    assert not lease.spend(START + LEASE_S)
    assert at_once(window, lease, START + 2, waiting=0, ahead=False).free == 100 - usable


@pytest.mark.parametrize("made", [0.001, 0.1, 0.249, 0.25])
def test_a_large_limit_is_counted_in_quarters_of_a_second_and_never_too_early(made: float) -> None:
    limit = 1000
    window, lease = CallWindow(limit), CallLease("a")
    at_once(window, lease, START + made, waiting=limit)
    for _ in range(limit):
        assert lease.spend(START + made)
    at_once(window, lease, START + made, waiting=0, ahead=False)
    assert at_once(window, CallLease("b"), START + made + SPAN_S - 0.001).tokens == 0
    assert at_once(window, CallLease("c"), START + made + SPAN_S + 0.252).tokens > 0


def test_a_grant_whose_answer_was_lost_is_void_with_the_next_ask() -> None:
    window, lease = CallWindow(100), CallLease("a")
    late = lease.ask(START, waiting=1, ahead=True)
    window.ask(late, ms(START))
    answer = at_once(window, lease, START + 1)
    assert answer.free + answer.tokens == 100
    assert window.ask(late, ms(START) + 1500).tokens == 0
    assert at_once(window, lease, START + 2, waiting=0, ahead=False).free == 100


def test_a_window_is_the_same_after_it_was_stored() -> None:
    window, lease, other = CallWindow(100), CallLease("a"), CallLease("b")
    for number in range(30):
        assert call(window, lease, START + number / 50) is None
    at_once(window, other, START + 1)
    stored = CallWindow.from_document(window.to_document(), 100)
    assert stored.to_document() == window.to_document()
    ask = other.ask(START + 1, waiting=1, ahead=True)
    assert stored.ask(ask, ms(START + 1)) == window.ask(ask, ms(START + 1))


def test_an_empty_document_is_a_window_without_calls() -> None:
    assert at_once(CallWindow.from_document({}, 100), CallLease("a"), START).free == 75


# --- whatever happens


class Gateways(RuleBasedStateMachine):
    """Some gateways, one window with a small limit, and a network that delays, repeats and loses."""

    limit = 5

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.window = CallWindow(self.limit)
        self.stored = self.window.to_document()
        self.names = count()
        self.leases = [self.begin() for _ in range(3)]
        self.asked: dict[str, tuple[Ask, float]] = {}
        self.answers: dict[str, Answer] = {}
        self.strays: list[Ask] = []
        self.passed: list[float] = []

    def begin(self) -> CallLease:
        return CallLease(f"gateway-{next(self.names)}")

    which = st.integers(0, 2)

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 0.9, 1.0, 1.3, 5.0, 20.0, 57.5, 58.9, 60.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=which, times=st.integers(1, 6))
    def calls(self, which: int, times: int) -> None:
        for _ in range(times):
            if self.leases[which].spend(self.now):
                self.passed.append(self.now)

    @rule(which=which, waiting=st.integers(0, 6), ahead=st.booleans(), lease_s=st.sampled_from([1.0, 3.0]))
    def asks(self, which: int, waiting: int, ahead: bool, lease_s: float) -> None:
        lease = self.leases[which]
        if lease.holder not in self.asked:
            ask = lease.ask(self.now, waiting=waiting, ahead=ahead, lease_s=lease_s)
            self.asked[lease.holder] = (ask, self.now)
            self.strays.append(ask)

    @precondition(lambda self: self.strays)
    @rule(data=st.data(), latest=st.booleans())
    def the_window_is_asked(self, data: st.DataObject, latest: bool) -> None:
        """Any ask may arrive at any time, again and again."""
        ask = self.strays[-1] if latest else data.draw(st.sampled_from(self.strays))
        answer = self.window.ask(ask, ms(self.now))
        if answer.tokens:
            self.stored = self.window.to_document()
        if ask.holder in self.asked and self.asked[ask.holder][0] == ask:
            self.answers[ask.holder] = answer

    @rule(which=which)
    def an_answer_arrives(self, which: int) -> None:
        lease = self.leases[which]
        if lease.holder in self.answers:
            ask, asked_at = self.asked.pop(lease.holder)
            lease.take(ask, self.answers.pop(lease.holder), asked_at, self.now)

    @rule(which=which)
    def an_ask_is_given_up(self, which: int) -> None:
        self.asked.pop(self.leases[which].holder, None)
        self.answers.pop(self.leases[which].holder, None)

    @rule(which=which)
    def a_gateway_dies(self, which: int) -> None:
        self.an_ask_is_given_up(which)
        self.leases[which] = self.begin()

    @rule()
    def the_window_moves_to_another_host(self) -> None:
        self.window = CallWindow.from_document(self.stored, self.limit)

    @invariant()
    def never_more_than_the_limit_in_a_minute(self) -> None:
        assert never_too_many(self.passed, self.limit)


TestGateways = Gateways.TestCase
TestGateways.settings = settings(deadline=None, max_examples=150, stateful_step_count=60)

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.003, 0.02, 0.2, 0.6, 0.95, 1.4, 12.0]),
        st.sampled_from(["", "", "", "report", "ahead", "lost ask", "lost answer", "move"]),
    ),
    min_size=20,
    max_size=120,
)


class Client:
    """One client that calls again and again at one gateway."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.window = CallWindow(limit)
        self.stored = self.window.to_document()
        self.lease = CallLease("a")
        self.now = START
        self.slack = 0.003
        self.passed: list[float] = []

    def ask(self, ask: Ask) -> Answer:
        answer = self.window.ask(ask, ms(self.now))
        if answer.tokens:
            self.stored = self.window.to_document()
        return answer

    def talk(self, waiting: int, *, ahead: bool) -> Answer:
        ask = self.lease.ask(self.now, waiting=waiting, ahead=ahead)
        answer = self.ask(ask)
        self.lease.take(ask, answer, self.now, self.now)
        return answer

    def suffer(self, event: str) -> None:
        match event:
            case "report" | "ahead":
                self.talk(0, ahead=event == "ahead")
            case "lost ask":
                self.lease.ask(self.now, waiting=1, ahead=True)
            case "lost answer":
                self.ask(self.lease.ask(self.now, waiting=1, ahead=True))
            case "move":
                self.window = CallWindow.from_document(self.stored, self.limit)
                # What was reported and not written counts from the end of the lease.
                self.slack = 1.5
            case _:
                pass

    def call(self) -> Answer | None:
        if not self.lease.spend(self.now):
            answer = self.talk(1, ahead=True)
            if not self.lease.spend(self.now):
                return answer
        self.passed.append(self.now)
        return None


@settings(max_examples=200)
@given(STEPS, st.sampled_from([3, 10]))
def test_a_client_that_calls_one_by_one_is_refused_only_after_the_limit_in_a_minute(
    steps: list[tuple[float, str]], limit: int
) -> None:
    client = Client(limit)
    for pause, event in steps:
        client.now += pause
        client.suffer(event)
        refused = client.call()
        if refused is not None and not refused.coming:
            assert len([at for at in client.passed if client.now - at < SPAN_S + client.slack]) >= limit
    assert never_too_many(client.passed, limit)
