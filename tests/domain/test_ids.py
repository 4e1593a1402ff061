from __future__ import annotations

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import named_id, new_id, related_id, timed_id


@given(st.integers(0, 2**16 - 1))
def test_related_ids_are_ids_of_the_same_moment(number: int) -> None:
    id_ = new_id()
    related = related_id(id_, number)
    assert UUID(related).version == 7
    assert related[:-4] == id_[:-4]
    assert related_id(id_, number) == related


def test_related_ids_are_all_different_and_the_first_is_the_id_itself() -> None:
    id_ = new_id()
    assert related_id(id_, 0) == id_
    assert len({related_id(id_, number) for number in range(2**16)}) == 2**16


@given(st.text(), st.text())
def test_a_name_always_stands_for_the_same_id_and_another_for_another(name: str, other: str) -> None:
    named = UUID(named_id(name))
    assert (named.version, named.variant) == (8, RFC_4122)
    assert (named_id(other) == named_id(name)) is (other == name)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**12 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**12 - 1))
def test_ids_of_what_has_a_time_follow_its_order(moment: int, place: int, other_moment: int, other_place: int) -> None:
    id_, other = timed_id(moment, place, "a"), timed_id(other_moment, other_place, "b")
    assert (UUID(id_).version, UUID(id_).variant) == (7, RFC_4122)
    assert timed_id(moment, place, "a") == id_ != timed_id(moment, place, "b")
    if (moment, place) != (other_moment, other_place):
        assert (id_ < other) is ((moment, place) < (other_moment, other_place))
