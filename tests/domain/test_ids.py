from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import new_id, related_id


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
