from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.segment_change import compared

_IDS = st.sets(st.text(alphabet="abc", min_size=1, max_size=3), max_size=25)


@given(_IDS, _IDS, st.integers(1, 6))
def test_parts_put_together_show_everybody_who_entered_and_left(now: set[str], before: set[str], most: int) -> None:
    entered: list[str] = []
    left: list[str] = []
    after: str | None = ""
    while after is not None:
        present = [each for each in sorted(now) if each > after][:most]
        known = [each for each in sorted(before) if each > after][:most]
        change = compared(present, known, most)
        assert change.upto is None or change.upto > after
        entered += change.entered
        left += change.left
        after = change.upto
    assert entered == sorted(now - before)
    assert left == sorted(before - now)


@given(_IDS, _IDS, st.integers(1, 6))
def test_a_part_shows_no_more_than_it_was_given(now: set[str], before: set[str], most: int) -> None:
    change = compared(sorted(now)[:most], sorted(before)[:most], most)
    assert len(change.entered) + len(change.left) <= 2 * most
