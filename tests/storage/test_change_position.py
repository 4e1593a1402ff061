from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.change_position import Position, WrongPosition

TIMES = st.integers(0, 2**32 - 1)
POSITIONS = st.builds(
    lambda seconds, count, rest: Position(b"\x82" + seconds.to_bytes(4) + count.to_bytes(4) + rest),
    TIMES,
    TIMES,
    st.binary(max_size=200),
)


@given(POSITIONS)
def test_a_position_is_read_as_it_was_written(position: Position) -> None:
    assert Position.parse(position.text) == position
    assert Position.of({"_data": position.token.hex().upper()}) == position


@given(POSITIONS, POSITIONS)
def test_the_later_time_is_the_greater_position(one: Position, other: Position) -> None:
    if one.time < other.time:
        assert one < other
    if one > other:
        assert one.time >= other.time


@given(st.text())
def test_any_text_is_a_position_or_refused(text: str) -> None:
    try:
        assert Position.parse(text).text
    except WrongPosition:
        return


@pytest.mark.parametrize(
    "text", ["", "gmloy84AAAA", "AAAAAAAAAAAAAAAA", "gg" + "A" * 2000, "gmloy84AAAABKwQ=", "é" * 20]
)
def test_what_does_not_begin_with_a_time_is_refused(text: str) -> None:
    with pytest.raises(WrongPosition):
        Position.parse(text)
