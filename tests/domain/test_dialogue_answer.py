from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.dialogue_answer import SCHEMA, BrokenAnswer, StructuredAnswer, read_answer
from sandbox.model import strict_schema
from sandbox.model.filling import fill

SOUND: dict[str, Any] = {
    "intent": "order_status_query",
    "confidence": 0.95,
    "response": "It was shipped.",
    "slots": [{"name": "orderId", "value": "12345"}],
    "requiresEscalation": False,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def written(**changes: object) -> str:
    return orjson.dumps({**SOUND, **changes}).decode()


def test_a_sound_answer_is_read() -> None:
    assert read_answer(written()) == StructuredAnswer(
        "order_status_query", 0.95, "It was shipped.", {"orderId": "12345"}, requires_escalation=False
    )


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{written()}\n```",
        f"  ```\n{written()}\n```\n",
        written(slots={"orderId": "12345"}),
        written(slots={"orderId": 12345, "colour": None}),
        written(language="en"),
    ],
)
def test_what_servers_without_schemas_write_is_read_as_well(text: str) -> None:
    read = read_answer(text)
    assert isinstance(read, StructuredAnswer)
    assert read.slots == {"orderId": "12345"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"intent": ""}, "intent"),
        ({"intent": "x" * 101}, "intent"),
        ({"intent": None}, "intent"),
        ({"response": "  \u202e "}, "response"),
        ({"response": ["text"]}, "response"),
        ({"response": "x" * 10_001}, "response"),
        ({"confidence": "0.9"}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"confidence": 1.01}, "confidence"),
        ({"confidence": -0.1}, "confidence"),
        ({"requiresEscalation": "false"}, "requiresEscalation"),
        ({"requiresEscalation": None}, "requiresEscalation"),
        ({"slots": None}, "slots"),
        ({"slots": "orderId"}, "slots"),
        ({"slots": ["orderId"]}, "slots"),
        ({"slots": {"not a name": "x"}}, "slots"),
        ({"slots": {"$where": "x"}}, "slots"),
        ({"slots": {"a": {"b": 1}}}, "slots"),
        ({"slots": {"a": "x" * 501}}, "slots"),
        ({"slots": {f"a{number}": "x" for number in range(21)}}, "slots"),
    ],
)
def test_a_broken_field_is_named_and_not_repeated(changes: dict[str, object], field: str) -> None:
    read = read_answer(written(**changes))
    assert isinstance(read, BrokenAnswer)
    assert [problem.split()[0] for problem in read.problems] == [field]


@pytest.mark.parametrize("text", ["", "Hello!", "[]", "null", '"x"', written()[:-3], written() + written(), "{" * 9999])
def test_what_is_not_one_object_is_broken(text: str) -> None:
    assert read_answer(text) == BrokenAnswer(("the answer is not one JSON object",))


def test_nothing_endless_is_looked_at() -> None:
    assert isinstance(read_answer(written(response="x" * 200_000)), BrokenAnswer)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    read = read_answer("{}")
    assert isinstance(read, BrokenAnswer)
    assert len(read.problems) == 5


def test_characters_that_nobody_sees_are_left_out() -> None:
    read = read_answer(written(response="\u202eHi\x00\x1b[2J\nthere\u2066"))
    assert isinstance(read, StructuredAnswer)
    assert read.response == "Hi[2J\nthere"


@given(st.text(), st.booleans())
@example("\ud800", False)  # half a character
def test_reading_never_raises_on_any_text(text: str, fenced: bool) -> None:
    assert isinstance(read_answer(f"```\n{text}\n```" if fenced else text), BrokenAnswer | StructuredAnswer)


@given(st.dictionaries(st.sampled_from(list(SOUND)) | st.text(max_size=8), JSON, max_size=6), st.booleans())
def test_reading_never_raises_on_any_object(changes: dict[str, object], whole: bool) -> None:
    try:
        text = orjson.dumps({**(SOUND if whole else {}), **changes}, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        return
    read = read_answer(text)
    if isinstance(read, StructuredAnswer):
        assert 0 <= read.confidence <= 1
        assert read.response
        assert len(read.slots) <= 20


def test_the_schema_is_strict_as_openai_wants_it_and_what_it_allows_is_read() -> None:
    strict_schema.check(SCHEMA)
    filled = fill(SCHEMA, {"intent": "x", "response": "y", "slots": {"orderId": "1"}, "confidence": 1})
    assert isinstance(read_answer(orjson.dumps(filled).decode()), StructuredAnswer)
