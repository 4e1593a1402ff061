"""Distinct contacts of any period, from sums by day."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from domain.active_days import MOST_DAYS, NEVER, Pairs, add_days, day_of, pairs_of

DAYS = [f"2026-01-{number:02}" for number in range(1, 29)]
days = st.lists(st.sampled_from(DAYS), max_size=40)


def distinct(pairs: Pairs, first: str, last: str) -> int:
    return sum(count for (day, before), count in pairs.items() if first <= day <= last and before < first)


def added(news: list[str], *, at_once: int) -> tuple[list[str], Pairs]:
    known, pairs = list[str](), Pairs()
    for start in range(0, len(news), at_once):
        known, more = add_days(known, news[start : start + at_once])
        pairs.update(more)
    return known, Pairs({pair: count for pair, count in pairs.items() if count})


@given(news=st.lists(st.sampled_from(DAYS[:MOST_DAYS]), max_size=40), at_once=st.integers(1, 5))
def test_in_any_order_the_same_is_counted_while_all_days_are_remembered(news: list[str], at_once: int) -> None:
    known, pairs = added(news, at_once=at_once)
    assert known == sorted(set(news))
    assert pairs == pairs_of(news)


@given(news=days, at_once=st.integers(1, 5))
def test_in_order_the_same_is_counted_however_many_days_there_are(news: list[str], at_once: int) -> None:
    known, pairs = added(sorted(news), at_once=at_once)
    assert known == sorted(set(news))[-MOST_DAYS:]
    assert pairs == pairs_of(news)


@given(contacts=st.lists(days, max_size=6), period=st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map(sorted))
def test_the_sums_give_the_distinct_contacts_of_any_period(contacts: list[list[str]], period: list[str]) -> None:
    first, last = period
    pairs = Pairs()
    for active in contacts:
        pairs.update(pairs_of(active))
    assert distinct(pairs, first, last) == sum(any(first <= day <= last for day in active) for active in contacts)


@given(news=days)
def test_a_contact_is_never_counted_twice_in_a_day(news: list[str]) -> None:
    _, pairs = added(news, at_once=1)
    for day in set(news):
        assert distinct(pairs, day, day) in {0, 1}


def test_an_event_that_is_older_than_all_that_is_remembered_changes_nothing() -> None:
    known, _ = add_days([], DAYS[4 : 4 + MOST_DAYS])
    assert add_days(known, [DAYS[0]]) == (known, Pairs())


def test_a_late_event_finds_its_place() -> None:
    known, first = add_days([], [DAYS[0], DAYS[5]])
    assert first == {(DAYS[0], NEVER): 1, (DAYS[5], DAYS[0]): 1}
    _, late = add_days(known, [DAYS[2]])
    assert late == {(DAYS[2], DAYS[0]): 1, (DAYS[5], DAYS[0]): -1, (DAYS[5], DAYS[2]): 1}


def test_a_day_is_that_of_utc() -> None:
    assert day_of(datetime.fromisoformat("2026-01-18T23:30:00-03:00")) == "2026-01-19"
    assert day_of(datetime(2026, 1, 18, 23, 59, 59, tzinfo=UTC)) == "2026-01-18"
