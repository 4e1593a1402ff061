"""What travels between processes: batches of calls and batches of outcomes, encoded once for the whole batch.

Batches are pickled: they only ever travel between processes of one deployment, over Ray's own connections, which carry
pickles anyway. Nothing that arrived over HTTP is unpickled.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from actors.runtime.errors import ActorFailed
from config.origin import Origin

log = structlog.get_logger()

_PROTOCOL = 5
#: What is sent without a trial: it would cost more than the sending, for what almost every answer is.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, dict, list, tuple})


class Call(NamedTuple):
    """One message to one actor; `deadline` is Unix time in seconds, after which nobody waits for the answer.

    `origin` is what it is sent for, where that is known: log lines and spans of the turn belong to it.
    """

    id: int
    kind: str
    key: str
    method: str
    args: tuple[object, ...]
    kwargs: dict[str, object] | None
    deadline: float
    origin: Origin | None = None


class Outcome(NamedTuple):
    """What became of a call: its result, or the error it raised."""

    id: int
    value: object
    failed: bool


def encode_calls(calls: Sequence[Call]) -> bytes:
    """Encode a batch of calls."""
    return pickle.dumps([tuple(call) for call in calls], _PROTOCOL)


def can_travel(value: object) -> bool:
    """Whether a value survives the way to another process."""
    try:
        pickle.loads(pickle.dumps(value, _PROTOCOL))  # noqa: S301  # our own, made in the same expression
    except Exception:  # noqa: BLE001  # a value's own code runs here, and may raise anything
        return False
    return True


def decode_calls(data: bytes) -> list[Call]:
    """Decode a batch of calls."""
    return [Call._make(fields) for fields in pickle.loads(data)]  # noqa: S301  # see the module's docstring


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Encode a batch of outcomes; what can't be sent becomes `ActorFailed`, an error that can't be read back too."""
    safe = [o if type(o.value) in _PLAIN or can_travel(o.value) else _broken(o) for o in outcomes]
    try:
        return pickle.dumps([tuple(outcome) for outcome in safe], _PROTOCOL)
    except Exception:  # noqa: BLE001  # one result that can't travel must not take the others with it
        return pickle.dumps([tuple(o if can_travel(o.value) else _broken(o)) for o in safe], _PROTOCOL)


def _broken(outcome: Outcome) -> Outcome:
    log.error("outcome.cannot_travel", type=type(outcome.value).__name__)
    return Outcome(outcome.id, ActorFailed("The answer can't be sent"), True)


def decode_outcomes(data: bytes) -> list[Outcome]:
    """Decode a batch of outcomes."""
    return [Outcome._make(fields) for fields in pickle.loads(data)]  # noqa: S301  # see the module's docstring
