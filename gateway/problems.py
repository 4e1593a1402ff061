"""Says what is wrong with an input as the one who sent it knows it: by its path, in a sentence, with what is allowed.

What the models are made of (their classes, the alternatives of a union, regular expressions) is not to be seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.errors import Problem

_MOST_PROBLEMS = 50
_MOST_NAME = 100

_Context: TypeAlias = Mapping[str, object]

_TEXT = "must be text"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_BOOLEAN = "must be true or false"
_LIST = "must be a list"
_OBJECT = "must be an object"
_DATE = "must be a date as in 2026-01-18"
_MOMENT = "must be a time as in 2026-01-18T10:00:00Z"
#: What is said where nothing better is known; a test sees to it that no input model comes to this.
UNKNOWN = "is not of the right form"

_SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "invalid_key": "must have names that are text",
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "must be more than {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "too_long": ("max_length", "must have no more entries than {}"),
}
_LEAST: Mapping[str, str] = {"string_too_short": "characters", "too_short": "entries"}
_NAME = "must be 1 to 64 letters, digits or _, and begin with no digit"
_PATTERNS: Mapping[str, str] = {
    r"\S": "must not be blank",
    r"^[\x21-\x7e]+$": "must be visible ASCII characters, without a space",
    r"^[^@\s\x00-\x20]+@[^@\s\x00-\x20]+$": "must be an e-mail address",
    r"^[A-Za-z0-9_-]+$": "must be letters, digits, _ or -",
    r"^[A-Za-z0-9_-]{1,64}$": "must be 1 to 64 letters, digits, _ or -",
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}$": _NAME,
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63})?$": f"{_NAME}; a second such name may follow a dot",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "must be a time of day as in 09:00",
    r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$": "must be a time of day as in 18:00, or 24:00",
}
_QUOTED = re.compile(r"'([^']*)'")
_WORDS = re.compile(r"\^\(\?:([\w.\\|]+)\)(\(\?:,\(\?:\1\)\)\*)?\$")


def problems_of(error: ValidationError, given: object, whole: str) -> tuple[Problem, ...]:
    """Return what is wrong with an input, each thing once; `whole` names the input itself: `body`, `query`."""
    details = error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
    return tuple(dict.fromkeys(Problem(_path(each, given) or whole, _reason(each)) for each in details))


def short(name: str) -> str:
    """Return a name as it is shown: cut where somebody gave an endless one."""
    return name if len(name) <= _MOST_NAME else name[:_MOST_NAME] + "…"


def _path(error: ErrorDetails, given: Any) -> str:
    """Return the path to what is wrong, leaving out every part of the location that the input doesn't have.

    Those name what was tried: an alternative of a union, the key of an entry, a field that was made of a shorter form.
    """
    parts: list[str] = []
    last = len(error["loc"]) - 1
    for position, part in enumerate(error["loc"]):
        if _has(given, part):
            given = given[part]
        elif not (isinstance(given, dict) and position == last and error["type"] == "missing"):
            continue
        parts.append(short(str(part)))
    return ".".join(parts)


def _has(given: object, part: int | str) -> bool:
    if isinstance(given, dict):
        return part in given
    return isinstance(given, list) and isinstance(part, int) and part < len(given)


def _reason(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind in _BOUNDS:
        name, sentence = _BOUNDS[kind]
        return sentence.format(_number(context[name]))
    if kind in _LEAST:
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} {_LEAST[kind]}"
    return _reason_by_content(error, kind, context)


def _reason_by_content(error: ErrorDetails, kind: str, context: _Context) -> str:
    match kind:
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
        case "literal_error" | "enum":
            return _one_of(_QUOTED.findall(str(context["expected"])))
        case "string_pattern_mismatch":
            return _of_pattern(str(context["pattern"]))
        case _ if kind.startswith("datetime_"):
            return _MOMENT
        case _ if kind.startswith("date_"):
            return _DATE
        case _:
            return UNKNOWN


def _number(bound: object) -> object:
    # A bound of a field that takes fractions is one itself: 2.0.
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _of_pattern(pattern: str) -> str:
    if words := _WORDS.fullmatch(pattern):
        allowed = words[1].replace("\\", "").split("|")
        return f"must be some of {', '.join(allowed)}, comma-separated" if words[2] else _one_of(allowed)
    return _PATTERNS.get(pattern, UNKNOWN)


def _one_of(allowed: list[str]) -> str:
    return f"must be {allowed[0]}" if len(allowed) == 1 else f"must be one of {', '.join(allowed)}"
