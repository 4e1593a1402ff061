"""What becomes of a model's wish to look something up: a call that the merchant allows, or a refusal.

A model can be talked into any wish. So a name must be one of the merchant's, a value must be what its parameter is, and
where the call goes does not depend on either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

import orjson

from domain.dialogue_exchange import Asker
from domain.dialogue_pattern import fits
from domain.dialogue_tools import PLACE, Parameter, Tool, places_of

LONGEST_VALUE = 200
_LONGEST_ARGUMENTS = 10_000
_LARGEST_NUMBER = 2**53
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: In a path these end a part of it, or are taken for the end of one by servers that decode twice.
_PARTS_PATHS = re.compile(r"[/\\%?#;]")

Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that may be made: its whole address, and its JSON body where it is a POST."""

    tool: Tool
    url: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A wish that is not fulfilled; `reason` is told to the model, in words of ours."""

    reason: str


class _Refused(Exception):
    """A wish is not fulfilled, for the reason that is its text."""


def checked_call(tools: Iterable[Tool], name: str, arguments: str, asker: Asker) -> ToolCall | RefusedCall:
    """Return what a model's wish comes to; never raises, whatever the model wrote.

    Args:
        tools: what the merchant allows.
        name: of the tool that the model wants.
        arguments: JSON text of the model.
        asker: whose dialogue it is.
    """
    tool = next((each for each in tools if each.name == name), None)
    if tool is None:
        return RefusedCall("there is no such tool")
    try:
        values = _values(tool, arguments)
        url = _filled(tool, values, asker)
    except _Refused as refused:
        return RefusedCall(str(refused))
    if tool.method == "GET":
        return ToolCall(tool, url)
    in_url = set(places_of(tool.url))
    return ToolCall(tool, url, orjson.dumps({name: value for name, value in values.items() if name not in in_url}))


def schema_of(tool: Tool) -> dict[str, object]:
    """Return the JSON schema of a tool's arguments, strict in OpenAI's sense: what may be left out may be null."""
    types = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
    properties: dict[str, object] = {}
    for parameter in tool.parameters:
        type_ = types[parameter.type]
        described = {"description": _described(parameter)} if _described(parameter) else {}
        properties[parameter.name] = {"type": type_ if parameter.required else [type_, "null"], **described}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _described(parameter: Parameter) -> str:
    pattern = f"Pattern: {parameter.pattern}" if parameter.pattern else ""
    return " ".join(part for part in (parameter.description.strip(), pattern) if part)


def _values(tool: Tool, arguments: str) -> dict[str, Value]:
    given = _object(arguments)
    if set(given) - {parameter.name for parameter in tool.parameters}:
        raise _Refused("there is an argument that the tool does not have")
    values: dict[str, Value] = {}
    for parameter in tool.parameters:
        raw = given.get(parameter.name)
        if raw is None:
            if parameter.required:
                raise _Refused(f"{parameter.name} is missing")
            continue
        value = _READERS[parameter.type](raw)
        if value is None or (parameter.pattern is not None and not fits(parameter.pattern, str(value))):
            raise _Refused(f"{parameter.name} is not what the tool takes")
        values[parameter.name] = value
    return values


def _object(arguments: str) -> dict[str, object]:
    try:
        given: object = orjson.loads(arguments or "{}") if len(arguments) <= _LONGEST_ARGUMENTS else None
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise _Refused("the arguments are not a JSON object")
    return given


def _text(raw: object) -> str | None:
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)  # an order's number is often given as one
    if not isinstance(raw, str):
        return None
    value = raw.strip()
    return value if 0 < len(value) <= LONGEST_VALUE and not _CONTROL.search(value) else None


def _integer(raw: object) -> int | None:
    if isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,16}", raw.strip()):
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int):
        return None
    return raw if abs(raw) <= _LARGEST_NUMBER else None


def _number(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return raw if math.isfinite(raw) and abs(raw) <= _LARGEST_NUMBER else None


def _boolean(raw: object) -> bool | None:
    return raw if isinstance(raw, bool) else None


_READERS: Mapping[str, Callable[[object], Value | None]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}


def _filled(tool: Tool, values: Mapping[str, Value], asker: Asker) -> str:
    texts = {
        "contact.id": asker.contact_id,
        "contact.twitterUserId": asker.twitter_user_id,
        "contact.username": asker.username,
        "conversation.id": asker.conversation_id,
        "account.id": asker.account_id,
    }
    for name, value in values.items():
        texts[name] = value if isinstance(value, str) else orjson.dumps(value).decode()
    path, question, query = tool.url.partition("?")
    for name in places_of(path):
        if not texts[name] or _PARTS_PATHS.search(texts[name]):
            raise _Refused(f"{name} is not what the tool takes")

    def fill(place: re.Match[str]) -> str:
        return quote(texts[place[1]], safe="")

    filled = PLACE.sub(fill, path)
    if any(part in {".", ".."} for part in filled.split("/")):
        raise _Refused("the arguments are not what the tool takes")
    return filled + question + PLACE.sub(fill, query)
