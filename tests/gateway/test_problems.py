"""What is wrong with an input is said by its path and in a sentence, never by what the models are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from multidict import MultiDict

from domain.errors import InvalidRequest, Problem
from gateway.app import API_ROUTES
from gateway.models.base import InputModel
from gateway.parsing import parse_body, parse_query
from gateway.problems import UNKNOWN
from tests.gateway.conftest import Api

BY_NAME: dict[str, type[InputModel]] = {}


def _note(model: type[InputModel]) -> None:
    for each in model.__subclasses__():
        if each.__module__.startswith("gateway.models."):
            BY_NAME[each.__name__] = each
            _note(each)


_note(InputModel)
WRONG_VALUES: list[Any] = [
    None, 5, -1, 1.5, 1e99, True, "", " ", "bogus", "9" * 30, "x" * 50_000,
    [], [5], [None], [{}], [[1]], [""], ["a"] * 2_000, {}, {"": 1}, {"a": 1}, {".x": {"y": 1}}, {"a": {}},
]  # fmt: skip
INTERNAL = re.compile(
    "Input should|instance of|pydantic|constrained|function-|Value error|validation|dictionary|string|pattern|regex"
    r"|NoneType|\[key\]|\^\(|\\|\.\.\.|" + "|".join(rf"\b{name}\b" for name in sorted(BY_NAME))
)


def problems(model: str, given: object) -> list[Problem]:
    try:
        parse_body(BY_NAME[model], given)
    except InvalidRequest as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("model", "given", "field", "reason"),
    [
        ("ChangeContact", [], "body", "must be an object"),
        ("ChangeContact", {"displayName": 5}, "displayName", "must be text"),
        ("ChangeContact", {"attributes": []}, "attributes", "must be an object"),
        ("ChangeContact", {"consent": 5}, "consent", "must be an object"),
        ("ChangeContact", {"consent": "maybe"}, "consent", "must be one of none, inbound, opted_in, opted_out"),
        ("ChangeContact", {"shoeSize": 5}, "shoeSize", "is not known"),
        (
            "ChangeContact",
            {"attributes": {"no name": 1}},
            "attributes.no name",
            "must be 1 to 64 letters, digits or _, and begin with no digit",
        ),
        ("SimulateFlow", {"replies": ["hello"]}, "replies.0", "must be an object"),
        ("SimulateFlow", {"replies": [{}]}, "replies.0.text", "is missing"),
        ("SimulateFlow", {"failures": {"a b": {}}}, "failures.a b", "must be 1 to 64 letters, digits, _ or -"),
        ("ChangeFlow", {"reEntry": "never"}, "reEntry", "must be one of always, once, after_completed"),
        ("ChangeFlow", {"name": " "}, "name", "must not be blank"),
        ("AddTags", {"tags": []}, "tags", "must not be empty"),
        ("AddTags", {"tags": {}}, "tags", "must be a list"),
        ("AddTags", {"tags": ["a"] * 101}, "tags", "must have no more entries than 100"),
        ("ChangeAiSettings", {"temperature": 3}, "temperature", "must be at most 2"),
        ("ChangeAiSettings", {"temperature": "warm"}, "temperature", "must be a number"),
        ("InviteUser", {"email": "nobody", "name": "A", "roles": ["agent"]}, "email", "must be an e-mail address"),
    ],
)
def test_a_wrong_body_is_told_by_path_and_sentence(model: str, given: object, field: str, reason: str) -> None:
    assert Problem(field, reason) in problems(model, given)


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("=1", "query", "has a parameter without a name"),
        ("=1&=2", "query", "is given twice"),
        ("take=many", "take", "must be a whole number"),
        ("take=0", "take", "must be at least 1"),
        ("status=on", "status", "must be one of draft, active, inactive"),
        ("colour=red", "colour", "is not known"),
    ],
)
async def test_a_wrong_query_is_told_by_parameter_and_sentence(api: Api, query: str, field: str, reason: str) -> None:
    status, answer = await api.get(f"/automation/flows?{query}")
    assert (status, answer["details"]["field"], answer["details"]["reason"]) == (400, field, reason)


def test_events_that_may_be_asked_for_are_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_query(BY_NAME["EventQuery"], MultiDict({"types": "bogus"}))
    assert refused.value.problems[0].field == "types"
    assert refused.value.problems[0].reason.startswith("must be some of message.created, message.updated, ")


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_nothing_internal_is_told_of_any_model(name: str) -> None:
    told = [each for given in wrong(BY_NAME[name]) for each in problems(name, given)]
    assert told
    assert [each for each in told if INTERNAL.search(each.reason) or "[" in each.field or each.reason == UNKNOWN] == []


def test_the_models_of_all_routes_are_among_them() -> None:
    assert {model for route in API_ROUTES for model in (route.query, route.body)} <= set(BY_NAME.values())


def wrong(model: type[InputModel]) -> Iterator[object]:
    yield from ([], 5, "x", None, {"": 1}, {"notKnown": 1})
    for name, field in model.model_fields.items():
        for value in WRONG_VALUES:
            # What comes in is JSON.
            yield json.loads(json.dumps({field.alias or name: value}))
