"""Quantiles from sums of buckets."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.response_histogram import bucket_of, quantile, seconds_of

durations = st.lists(st.integers(0, 10**8), min_size=1, max_size=60)
shares = st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(1, 100), Fraction(1)])


@given(seconds=st.integers(0, 10**8))
def test_a_bucket_stands_for_a_duration_within_five_per_cent(seconds: int) -> None:
    assert seconds_of(bucket_of(seconds)) == pytest.approx(seconds, rel=0.05)


@given(found=durations, share=shares)
def test_a_quantile_is_within_five_per_cent(found: list[int], share: Fraction) -> None:
    right = sorted(found)[max(1, ceil(share * len(found))) - 1]
    assert quantile(Counter(map(bucket_of, found)), share) == pytest.approx(right, rel=0.05)


@given(one=durations, other=durations, share=shares)
def test_sums_of_two_are_as_if_all_were_counted_together(one: list[int], other: list[int], share: Fraction) -> None:
    together = Counter(map(bucket_of, one)) + Counter(map(bucket_of, other))
    assert quantile(together, share) == quantile(Counter(map(bucket_of, one + other)), share)


@given(one=st.integers(0, 10**8), other=st.integers(0, 10**8))
def test_buckets_are_in_the_order_of_durations(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert int(bucket_of(low)) <= int(bucket_of(high))


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, Fraction(1, 2)) is None


def test_a_duration_longer_than_any_has_the_last_bucket() -> None:
    assert bucket_of(1e15) == bucket_of(30 * 365 * 86_400)
