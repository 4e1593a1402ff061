"""Turns what came in into the models of a route, or into the list of everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import orjson
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from domain.errors import InvalidContent, InvalidRequest, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)

MOST_DEPTH = 64
_MOST_PROBLEMS = 50
_MOST_NAME = 100


def parse_query(model: type[ModelT], parameters: MultiMapping[str]) -> ModelT:
    """Read the query parameters.

    Raises:
        InvalidRequest: when one is unknown, malformed, or given twice.
    """
    twice = sorted(name for name in set(parameters) if len(parameters.getall(name)) > 1)
    if twice:
        raise InvalidRequest(
            "A query parameter is given twice",
            problems=tuple(Problem(_short(name), "is given twice") for name in twice),
        )
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise InvalidRequest("A query parameter is wrong", problems=_problems(error)) from None


def parse_body(model: type[ModelT], value: object) -> ModelT:
    """Read a body that was JSON.

    Raises:
        InvalidContent: when it does not fit the schema.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidContent("The body does not fit the schema", problems=_problems(error)) from None


def parse_json(raw: bytes) -> object:
    """Read JSON of a bounded depth.

    Raises:
        InvalidRequest: when it is no JSON, or nested too deep.
    """
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body is no JSON", problems=(Problem("body", "is no JSON"),)) from None
    # Fewer brackets than levels allowed: no need to look at each value.
    if raw.count(b"[") + raw.count(b"{") > MOST_DEPTH and _depth_exceeds(value, MOST_DEPTH):
        raise InvalidRequest("The body is nested too deep", problems=(Problem("body", f"over {MOST_DEPTH} levels"),))
    return value


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


def _problems(error: ValidationError) -> tuple[Problem, ...]:
    return tuple(
        Problem(_path(each["loc"]), _reason(each))
        for each in error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_PROBLEMS]
    )


def _path(location: tuple[int | str, ...]) -> str:
    # Parts in angle brackets name the alternative of a union that was tried, which is no part of the request.
    parts = [_short(str(part)) for part in location if not (isinstance(part, str) and part.startswith("<"))]
    return ".".join(parts) or "body"


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "is not known"
    return error["msg"].removeprefix("Value error, ")


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else name[:_MOST_NAME] + "…"
