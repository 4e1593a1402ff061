from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.proportions import Interval, difference, wilson


@st.composite
def counts(draw, least=0):
    trials = draw(st.integers(least, 1_000_000))
    return draw(st.integers(0, trials)), trials


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # The third, mirrored.
        (20, 20, 0.8389, 1.0),
    ],
)
def test_the_interval_is_the_published_one(successes, trials, low, high):
    found = wilson(successes, trials)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("first", "other", "low", "high"),
    [
        # Newcombe, "Interval estimation for the difference between independent proportions" (1998), table II.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((0, 10), (0, 20), -0.1611, 0.2775),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(first, other, low, high):
    found = difference(*first, *other)
    assert (round(found.interval.low, 4), round(found.interval.high, 4)) == (low, high)


def test_where_nothing_was_tried_everything_is_possible():
    assert wilson(0, 0) == Interval(0.0, 1.0)
    nothing = difference(0, 0, 0, 0)
    assert (nothing.value, nothing.interval, nothing.significant) == (0.0, Interval(-1.0, 1.0), False)


@given(counts())
def test_a_rate_lies_in_its_interval_and_that_is_a_share(of):
    successes, trials = of
    found = wilson(successes, trials)
    assert 0 <= found.low <= found.high <= 1
    if trials:
        assert found.low - 1e-9 <= successes / trials <= found.high + 1e-9


@given(counts(least=1))
def test_more_trials_with_the_same_rate_narrow_the_interval(of):
    successes, trials = of
    few, many = wilson(successes, trials), wilson(10 * successes, 10 * trials)
    assert many.high - many.low < few.high - few.low


@given(counts())
def test_failures_have_the_mirrored_interval(of):
    successes, trials = of
    found, mirrored = wilson(successes, trials), wilson(trials - successes, trials)
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)


@given(counts(), counts())
def test_a_difference_is_finite_lies_in_its_interval_and_is_turned_with_its_sides(first, other):
    found, turned = difference(*first, *other), difference(*other, *first)
    assert all(map(isfinite, (found.value, found.interval.low, found.interval.high)))
    assert -1 <= found.interval.low <= found.interval.high <= 1
    assert found.interval.low - 1e-9 <= found.value <= found.interval.high + 1e-9
    assert turned.value == -found.value
    assert turned.interval.low == pytest.approx(-found.interval.high, abs=1e-9)
    assert turned.significant == found.significant


@given(counts(), counts())
def test_a_difference_is_significant_where_its_interval_leaves_out_nothing(first, other):
    found = difference(*first, *other)
    assert found.significant == (found.interval.low > 0 or found.interval.high < 0)
    if not first[1] or not other[1]:
        assert not found.significant


@given(counts(least=1))
def test_equal_rates_never_differ_significantly(of):
    assert not difference(*of, *of).significant
