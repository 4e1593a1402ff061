"""The answer that a model is asked for, and what is made of the text that it really writes.

Models are asked for a JSON object by a schema that OpenAI takes as strict (guide "Structured outputs": every property
required, none besides, no free names); slots are a list of names and values for that reason. Whatever comes is checked:
a server may know no schemas, and a model may be talked into anything by a customer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from domain.dialogue_exchange import MOST_SLOTS

#: Characters of a direct message (X docs, "Manage Direct Messages").
LONGEST_RESPONSE = 10_000
LONGEST_INTENT = 100
LONGEST_SLOT = 500
#: Characters of a model's text that are looked at; a whole answer is never longer.
_LONGEST_TEXT = 100_000
_SLOT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
#: Control characters and those that turn the direction of what stands beside them; line ends and tabs are text.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

SCHEMA_NAME: Final = "answer"
#: JSON schema of the answer, strict in OpenAI's sense.
SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "description": "What the customer wants, in snake_case"},
        "confidence": {"type": "number", "description": "From 0 to 1: how sure you are that the response is right"},
        "response": {"type": "string", "description": "What the customer is told"},
        "slots": {
            "type": "array",
            "description": "What the customer has said that matters, such as orderId",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                "required": ["name", "value"],
                "additionalProperties": False,
            },
        },
        "requiresEscalation": {"type": "boolean", "description": "Whether a person has to take over"},
    },
    "required": ["intent", "confidence", "response", "slots", "requiresEscalation"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class StructuredAnswer:
    """A model's answer that holds what was asked for."""

    intent: str
    confidence: float
    response: str
    slots: Mapping[str, str]
    requires_escalation: bool


@dataclass(frozen=True, slots=True)
class BrokenAnswer:
    """A model's answer that can't be used; `problems` are in words of ours, and hold none of the model's."""

    problems: tuple[str, ...]


ReadAnswer: TypeAlias = StructuredAnswer | BrokenAnswer


def read_answer(text: str) -> ReadAnswer:
    """Return what a model's text says; never raises, whatever the text is.

    A block of code around the object is taken off, slots may be an object as well as a list, and names besides those
    that were asked for are left out: servers without schemas answer so.
    """
    if len(text) > _LONGEST_TEXT:
        return BrokenAnswer(("the answer is too long",))
    fenced = _FENCED.fullmatch(text)
    try:
        raw: object = orjson.loads(fenced[1] if fenced else text)
    except orjson.JSONDecodeError:
        return BrokenAnswer(("the answer is not one JSON object",))
    if not isinstance(raw, dict):
        return BrokenAnswer(("the answer is not one JSON object",))
    problems = tuple(_problems(raw))
    if problems:
        return BrokenAnswer(problems)
    return StructuredAnswer(
        intent=visible(str(raw["intent"])).strip(),
        confidence=float(raw["confidence"]),
        response=visible(str(raw["response"])).strip(),
        slots=_slots(raw["slots"]) or {},
        requires_escalation=raw["requiresEscalation"] is True,
    )


def visible(text: str) -> str:
    """Return a text without the characters that nobody sees but programs act on."""
    return _INVISIBLE.sub("", text)


def _problems(raw: Mapping[str, object]) -> Iterator[str]:
    if not _is_text(raw.get("intent"), LONGEST_INTENT):
        yield f"intent is not a text of 1 to {LONGEST_INTENT} characters"
    if not _is_text(raw.get("response"), LONGEST_RESPONSE):
        yield f"response is not a text of 1 to {LONGEST_RESPONSE} characters"
    if not _is_share(raw.get("confidence")):
        yield "confidence is not a number from 0 to 1"
    if not isinstance(raw.get("requiresEscalation"), bool):
        yield "requiresEscalation is not true or false"
    if _slots(raw.get("slots")) is None:
        yield f"slots is not a list of at most {MOST_SLOTS} objects with a name and a value"


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and bool(visible(value).strip()) and len(value) <= longest


def _is_share(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= 1


def _slots(raw: object) -> dict[str, str] | None:
    """Return slots by name, None where they can't be read; one without a value is left out."""
    pairs: list[tuple[object, object]] = []
    if isinstance(raw, dict):
        pairs = list(raw.items())
    elif isinstance(raw, list) and all(isinstance(each, dict) for each in raw):
        pairs = [(each.get("name"), each.get("value")) for each in raw]
    else:
        return None
    if len(pairs) > MOST_SLOTS:
        return None
    slots: dict[str, str] = {}
    for name, value in pairs:
        if not isinstance(name, str) or not _SLOT_NAME.fullmatch(name):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            return None
        text = "" if value is None else visible(str(value)).strip()
        if len(text) > LONGEST_SLOT:
            return None
        if text:
            slots[name] = text
    return slots
