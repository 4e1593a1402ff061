"""A call with one message is kept as it came; what is told of it beforehand is what reading it gives."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EventKind
from domain.lone_message import lone_message
from domain.x_normalise import normalise
from tests.domain import x_payloads as x

NOW = datetime(2026, 11, 22, 12, 0, 0, 5000, tzinfo=UTC)
ONE = x.aaa(x.item(), users={"200": x.ANN})

values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just("100")
)


def told(payload: object) -> tuple[str, str, str] | None:
    found = lone_message(payload, b"the body")
    return None if found is None else (found.key, found.for_user_id, found.participant_id)


@pytest.mark.parametrize("payload", [ONE, x.OWN_MESSAGE, x.MESSAGE_WITH_PICTURE])
def test_one_message_is_told_as_reading_it_gives_it(payload: dict[str, object]) -> None:
    (event,) = normalise(payload, NOW)
    assert told(payload) == (event.key, event.for_user_id, event.participant_id)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        x.aaa(),
        x.aaa(x.item("1"), x.item("2")),
        ONE | {"follow_events": []},
        ONE | {"for_user_id": None},
        # It does not name its account.
        x.SEED_EXAMPLE,
        x.aaa(x.item(sender="7", recipient="8")),
        x.xaa("dm.received", {"direct_message_events": [x.item()]}),
        *(each for each in x.AAA_EXAMPLES if "direct_message_events" not in each),
    ],
)
def test_anything_else_is_read_at_once(payload: object) -> None:
    assert told(payload) is None


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, each in inner for place in places(each, (*path, name)))]


@given(st.sampled_from([place for place in places(ONE) if place]), values)
def test_what_is_wrong_with_a_message_is_told_as_it_will_be_read(place: tuple[object, ...], value: object) -> None:
    payload = deepcopy(ONE)
    *way, last = place
    part: object = payload
    for name in way:
        part = part[name]  # type: ignore[index]
    part[last] = value  # type: ignore[index]
    found = told(payload)
    if found is not None:
        (event,) = normalise(payload, NOW)
        assert event.kind is EventKind.MESSAGE
        assert found == (event.key, event.for_user_id, event.participant_id)
