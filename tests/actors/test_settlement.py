from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.clients.x_models import XMessage
from actors.settlement import Unsettled, find_sent

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def unsettled(content: str = "Hello") -> Unsettled:
    return Unsettled("m1", "c1", "200", content, sent_after=NOW, doubted_at=LATER)


def shown(x_id: str = "5", *, sender: str = "100", text: str = "Hello", after_s: float | None = 1) -> XMessage:
    return XMessage(x_id, sender, text, None if after_s is None else NOW + timedelta(seconds=after_s))


@pytest.mark.parametrize(
    "message",
    [shown(), shown(after_s=-59), shown(after_s=None), shown(text=" Hello\n"), shown(text="Hello https://t.co/pic")],
)
def test_a_message_of_ours_with_the_text_and_a_fitting_time_is_the_one(message: XMessage) -> None:
    assert find_sent(unsettled(), [message], "100", set()) is message


@pytest.mark.parametrize(
    "message", [shown(sender="200"), shown(sender=""), shown(text="Hullo"), shown(after_s=-61), shown("7")]
)
def test_any_other_is_not(message: XMessage) -> None:
    assert find_sent(unsettled(), [message], "100", {"7"}) is None


def test_the_oldest_of_several_is_taken_by_number_and_not_by_letter() -> None:
    found = find_sent(unsettled(), [shown("100"), shown("20"), shown("99")], "100", set())
    assert found is not None
    assert found.id == "20"


@given(timeout_s=st.floats(0.1, 10_000))
def test_looks_come_at_growing_intervals_from_the_doubt_to_its_end_and_then_no_more(timeout_s: float) -> None:
    doubt = unsettled()
    moments = []
    while (moment := doubt.next_look(timeout_s)) is not None:
        moments.append(moment)
        doubt.looks += 1
        assert doubt.looks < 100
    gaps = [later - earlier for earlier, later in zip([LATER, *moments], moments, strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[0] > timedelta(0)
    assert abs(moments[-1] - LATER - timedelta(seconds=timeout_s)) < timedelta(milliseconds=1)
