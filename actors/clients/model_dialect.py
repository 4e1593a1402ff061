"""What servers of models differ in: how an answer's form is asked for, and which fields they take.

Everything is asked for at first. A server that refuses a field is asked again without it, or with another in its place:
OpenAI's older models know no schemas, its newest no `max_tokens` and no temperature, and the servers of other makers
know each a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal, TypeAlias

from actors.clients.model_failures import ModelRefusal

Form: TypeAlias = Literal["json_schema", "json_object", "text"]

_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a model is asked with."""

    form: Form = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    tools: bool = True


def next_dialect(dialect: Dialect, refusal: ModelRefusal) -> Dialect | None:
    """Return what to ask with after a refusal, None where the refusal was about something else."""
    if refusal.status not in _REFUSED:
        return None
    about = f"{refusal.param or ''} {refusal.message}".casefold()
    return next((milder for word, milder in _milder(dialect) if word in about), None)


def _milder(dialect: Dialect) -> Iterator[tuple[str, Dialect]]:
    """Yield the word by which a refusal is about a field, and what is asked with then."""
    weaker: Form = "json_object" if dialect.form == "json_schema" else "text"
    if dialect.form != "text":
        yield "response_format", replace(dialect, form=weaker)
    if dialect.form == "json_schema":
        yield "json_schema", replace(dialect, form=weaker)
    if dialect.limit == "max_tokens":
        yield "max_completion_tokens", replace(dialect, limit="max_completion_tokens")
    if dialect.temperature:
        yield "temperature", replace(dialect, temperature=False)
    if dialect.tools:
        yield "tool", replace(dialect, tools=False)
