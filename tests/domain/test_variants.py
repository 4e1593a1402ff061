from __future__ import annotations

from collections import Counter
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.variants import assigned

TWO = [("short", 1), ("long", 1)]
CONTACTS = [f"0192f3a1-{number:04x}-7000-8000-{number * 7919 % 2**48:012x}" for number in range(20_000)]

names = st.text(min_size=1, max_size=10)
weights = st.lists(st.tuples(names, st.integers(1, 100)), min_size=1, max_size=5, unique_by=lambda each: each[0])
shares = st.floats(0, 0.5)


def tally(run_id, variants, control_share=0.0):
    return Counter(assigned(run_id, contact, variants, control_share) for contact in CONTACTS)


def tolerated(share):
    """Return five standard deviations of a count: chance alone is farther off once in two million times."""
    return 5 * sqrt(len(CONTACTS) * share * (1 - share))


@given(st.text(), st.text(), weights, shares)
def test_the_same_contact_in_the_same_run_always_has_the_same_whatever_the_order(run_id, contact_id, variants, share):
    first = assigned(run_id, contact_id, variants, share)
    assert first == assigned(run_id, contact_id, variants[::-1], share)
    assert first is None or first in dict(variants)


@given(st.text(), st.text(), weights)
def test_nobody_is_held_back_where_there_is_no_control_group(run_id, contact_id, variants):
    assert assigned(run_id, contact_id, variants) is not None


@given(st.text(), st.text(), weights, shares)
def test_a_control_group_takes_from_every_variant_and_moves_nobody_between_them(run_id, contact_id, variants, share):
    assert assigned(run_id, contact_id, variants, share) in {None, assigned(run_id, contact_id, variants)}


@given(st.text(), st.text(), weights, shares, shares)
def test_who_is_held_back_is_so_with_any_larger_share(run_id, contact_id, variants, one, other):
    small, large = sorted((one, other))
    if assigned(run_id, contact_id, variants, small) is None:
        assert assigned(run_id, contact_id, variants, large) is None


@pytest.mark.parametrize(
    "variants", [TWO, [("a", 1), ("b", 99)], [("a", 20), ("b", 30), ("c", 50)], [(name, 100) for name in "abcde"]]
)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_contacts_are_spread_by_the_weights(variants, share):
    found = tally("run", variants, share)
    total = sum(weight for _, weight in variants)
    expected = {name: (1 - share) * weight / total for name, weight in variants} | {None: share}
    assert {
        name: count for name, count in found.items() if abs(count - 20_000 * expected[name]) > tolerated(expected[name])
    } == {}
    assert sum(found.values()) == len(CONTACTS)


def test_runs_know_nothing_of_each_other():
    both = Counter((assigned("run 1", each, TWO, 0.5), assigned("run 2", each, TWO, 0.5)) for each in CONTACTS)
    for one, share_of_one in ((None, 0.5), ("short", 0.25), ("long", 0.25)):
        for other, share_of_other in ((None, 0.5), ("short", 0.25), ("long", 0.25)):
            share = share_of_one * share_of_other
            assert abs(both[one, other] - len(CONTACTS) * share) <= tolerated(share)


def test_no_variants_are_a_mistake_of_the_program():
    with pytest.raises(ValueError, match="no variants"):
        assigned("run", "contact", [])
