"""Schemas of every kind are followed, with what is known where it fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sandbox.body import JsonObject
from sandbox.model.filling import fill
from sandbox.model.strict_schema import WrongSchema, check

KNOWN: JsonObject = {
    "intent": "order_status_query",
    "confidence": 0.95,
    "response": "It is on its way.",
    "slots": {"orderId": "12345"},
    "requiresEscalation": True,
}
NAMES = st.sampled_from([*KNOWN, "orderId", "requires_escalation", "other", "note"])


def objects(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects as strict mode wants them."""
    return st.dictionaries(NAMES, parts, max_size=4).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


LEAVES = st.one_of(
    st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(lambda kind: {"type": kind}),
    st.sampled_from(["string", "number", "boolean"]).map(lambda kind: {"type": [kind, "null"]}),
    st.sampled_from(["date-time", "date", "email", "uuid"]).map(lambda form: {"type": "string", "format": form}),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    st.builds(
        lambda kind, least, more: {"type": kind, "minimum": least, "maximum": least + more},
        st.sampled_from(["integer", "number"]),
        st.integers(-9, 9),
        st.integers(0, 9),
    ),
    st.lists(st.sampled_from(["order_status_query", "greeting", "unknown", "x"]), min_size=1, unique=True).map(
        lambda values: {"type": "string", "enum": values}
    ),
    st.sampled_from(["a", 1, None]).map(lambda value: {"const": value}),
)
SCHEMAS = objects(
    st.recursive(
        LEAVES,
        lambda parts: st.one_of(
            objects(parts),
            st.lists(parts, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
            st.builds(
                lambda items, least: {"type": "array", "items": items, "minItems": least}, parts, st.integers(0, 3)
            ),
        ),
        max_leaves=8,
    )
)


@given(SCHEMAS)
def test_any_strict_schema_is_followed(schema: dict[str, Any]) -> None:
    check(schema)
    Draft202012Validator(schema).validate(fill(schema, KNOWN))
    Draft202012Validator(schema).validate(fill(schema))


@pytest.mark.parametrize(
    ("slots", "filled"),
    [
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"orderId": "12345"}),
        ({"type": "object", "properties": {"order_id": {"type": ["integer", "null"]}}}, {"order_id": 12345}),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}},
            },
            [{"name": "orderId", "value": "12345"}],
        ),
        ({"type": "string"}, '{"orderId":"12345"}'),
        ({"$ref": "#/$defs/Slots"}, {"orderId": "12345"}),
    ],
)
def test_slots_are_given_in_whatever_shape_is_asked_for(slots: dict[str, Any], filled: object) -> None:
    definition = {"type": "object", "properties": {"orderId": {"type": "string"}}, "additionalProperties": False}
    schema = {"type": "object", "properties": {"slots": slots}, "$defs": {"Slots": definition}}
    assert fill(schema, KNOWN) == {"slots": filled}


@pytest.mark.parametrize(
    ("allowed", "chosen"),
    [
        (["greeting", "order_status_query"], "order_status_query"),
        (["greeting", "order_status"], "order_status"),
        (["greeting", "ORDER_STATUS_QUERY"], "ORDER_STATUS_QUERY"),
        (["greeting", "other"], "other"),
        (["greeting", None], None),
        (["greeting", "goodbye"], "greeting"),
    ],
)
def test_the_nearest_of_the_allowed_values_is_chosen(allowed: list[str | None], chosen: str | None) -> None:
    assert fill({"type": "object", "properties": {"intent": {"enum": allowed}}}, KNOWN) == {"intent": chosen}


def test_names_are_found_in_any_spelling_and_schemas_that_never_end_are_given_up() -> None:
    schema = {"type": "object", "properties": {"requires_escalation": {"type": "boolean"}}}
    assert fill(schema, KNOWN) == {"requires_escalation": True}
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert isinstance(fill(endless), dict)
    ends = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert fill(ends) == {"next": None}


def test_strictness_is_asked_of_every_part_of_a_schema() -> None:
    loose = {"type": "object", "properties": {}}
    sound = {"type": "object", "additionalProperties": False}
    for schema in (
        {**sound, "properties": {"a": loose}, "required": ["a"]},
        {**sound, "properties": {"a": {"type": "array", "items": loose}}, "required": ["a"]},
        {**sound, "properties": {"a": {"anyOf": [loose, {"type": "null"}]}}, "required": ["a"]},
        {**sound, "$defs": {"a": loose}},
    ):
        with pytest.raises(WrongSchema, match="additionalProperties"):
            check(schema)
