from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from gateway.csv_cells import csv_lines
from gateway.rates import rate

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@given(st.lists(st.one_of(_TEXT, st.text(_FORMULA + "a ")), min_size=1))
def test_a_row_is_read_back_as_it_was_and_no_cell_begins_a_formula(cells: list[str]) -> None:
    (row,) = csv.reader(io.StringIO(csv_lines([cells]), newline=""))
    for cell, read in zip(cells, row, strict=True):
        assert read in {cell, f"'{cell}"}
        assert not read.lstrip(" ").startswith(tuple(_FORMULA))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_rate_is_0_to_1_with_two_decimals(part: int, whole: int) -> None:
    shown = rate(part, whole)
    assert 0 <= shown <= 1
    assert shown == round(shown, 2)
    assert whole or shown == 0
