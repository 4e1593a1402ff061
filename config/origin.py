"""What the present work is done for: the request that asked for it, and the trace that it is part of.

It goes with a message to an actor, and is kept with a message to X, so that what is done about it later, in another
process, is known to belong to it: log lines have the request's id, spans their parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Self

from config.tracing import is_tracing, traceparent, under

#: Id of the request that the present work is done for; empty where it is nobody's.
REQUEST: ContextVar[str] = ContextVar("request", default="")


class Origin(NamedTuple):
    """Id of a request, and a W3C traceparent; either may be empty."""

    request: str
    trace: str

    @classmethod
    def of(cls, document: Mapping[str, object]) -> Self | None:
        """Return what is kept in a document, if anything is."""
        kept = document.get("origin")
        if not isinstance(kept, dict):
            return None
        return cls(str(kept.get("request", "")), str(kept.get("trace", "")))


def origin() -> Origin | None:
    """Return what the present work is done for; None where nobody asked and nothing is traced, as mostly."""
    request = REQUEST.get()
    if not request and not is_tracing():
        return None
    trace = traceparent()
    return Origin(request, trace) if request or trace else None


def kept_origin() -> dict[str, dict[str, str]]:
    """Return the present origin as a field for a document: `{"origin": {…}}`, or nothing."""
    present = origin()
    if present is None:
        return {}
    return {"origin": {name: value for name, value in present._asdict().items() if value}}


@contextmanager
def working_for(given: Origin | None) -> Iterator[None]:
    """Have what is done within the block be done for that, and for nothing else."""
    token = REQUEST.set(given.request if given else "")
    try:
        with under(given.trace if given else ""):
            yield
    finally:
        REQUEST.reset(token)
