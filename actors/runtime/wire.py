"""What travels between processes: batches of calls and batches of outcomes, encoded once for the whole batch.

Batches are pickled: they only ever travel between processes of one deployment, over Ray's own connections, which carry
pickles anyway. Nothing that arrived over HTTP is unpickled.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import NamedTuple

_PROTOCOL = 5


class Call(NamedTuple):
    """One message to one actor; `deadline` is Unix time in seconds, after which nobody waits for the answer."""

    id: int
    kind: str
    key: str
    method: str
    args: tuple[object, ...]
    kwargs: dict[str, object] | None
    deadline: float


class Outcome(NamedTuple):
    """What became of a call: its result, or the error it raised."""

    id: int
    value: object
    failed: bool


def encode_calls(calls: Sequence[Call]) -> bytes:
    """Encode a batch of calls."""
    return pickle.dumps([tuple(call) for call in calls], _PROTOCOL)


def decode_calls(data: bytes) -> list[Call]:
    """Decode a batch of calls."""
    return [Call._make(fields) for fields in pickle.loads(data)]  # noqa: S301  # see the module's docstring


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Encode a batch of outcomes."""
    return pickle.dumps([tuple(outcome) for outcome in outcomes], _PROTOCOL)


def decode_outcomes(data: bytes) -> list[Outcome]:
    """Decode a batch of outcomes."""
    return [Outcome._make(fields) for fields in pickle.loads(data)]  # noqa: S301  # see the module's docstring
