"""Turns what came in into the models of a route, or into the list of everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import orjson
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from domain.errors import InvalidContent, InvalidRequest, Problem
from gateway.models.base import InputModel
from gateway.problems import problems_of, short

ModelT = TypeVar("ModelT", bound=BaseModel)
InputT = TypeVar("InputT", bound=InputModel)

MOST_DEPTH = 64
_QUERY = "query"
_BODY = "body"


def parse_query(model: type[ModelT], parameters: MultiMapping[str]) -> ModelT:
    """Read the query parameters.

    Raises:
        InvalidRequest: when one is unknown, malformed, or given twice.
    """
    if twice := sorted(name for name in {*parameters} if len(parameters.getall(name)) > 1) if parameters else ():
        raise InvalidRequest(
            "A query parameter is given twice",
            problems=tuple(Problem(short(name) or _QUERY, "is given twice") for name in twice),
        )
    given = dict(parameters)
    if "" in given:
        raise InvalidRequest(
            "A query parameter has no name", problems=(Problem(_QUERY, "has a parameter without a name"),)
        )
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest("A query parameter is wrong", problems=problems_of(error, given, _QUERY)) from None


def parse_body(model: type[InputT], value: object) -> InputT:
    """Read a body that was JSON.

    Raises:
        InvalidContent: when it does not fit the schema.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = problems_of(error, value, _BODY)
        raise InvalidContent("The body does not fit the schema", problems=problems) from None


def joined(problems: Sequence[Problem], further: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems with further ones, but for those inside a part that is told to be wrong already."""
    named = {each.field for each in problems}
    return (*problems, *(each for each in further if named.isdisjoint(_around(each.field))))


def parse_json(raw: bytes) -> object:
    """Read JSON of a bounded depth.

    Raises:
        InvalidRequest: when it is no JSON, or nested too deep.
    """
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body is no JSON", problems=(Problem(_BODY, "is no JSON"),)) from None
    # Fewer brackets than levels allowed: no need to look at each value.
    if raw.count(b"[") + raw.count(b"{") > MOST_DEPTH and _depth_exceeds(value, MOST_DEPTH):
        raise InvalidRequest("The body is nested too deep", problems=(Problem(_BODY, f"over {MOST_DEPTH} levels"),))
    return value


def _around(field: str) -> set[str]:
    """Return the paths to a field and to every part that it is in."""
    parts = field.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


def _depth_exceeds(value: object, most: int) -> bool:
    level = _containers([value])
    for _ in range(most):
        level = [
            inner for outer in level for inner in _containers(outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _containers(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [value for value in values if isinstance(value, dict | list)]
