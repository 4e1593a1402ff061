"""Faults that can be ordered from the simulated X, to see how a client takes them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from enum import StrEnum

from sandbox.body import JsonObject, as_number, as_object, as_text
from sandbox.problems import V1_ERRORS, V2_ERRORS, v1_body


class FaultKind(StrEnum):
    """What goes wrong.

    `drop` closes the connection without performing the request, `reset` resets it (TCP RST). `accept_then_…` performs
    the request, then aborts the connection, answers 500, or waits. `error` answers without performing; a 429 has X's
    headers, with a window that ends after `seconds`. `slow` waits
    before performing. `echo_before_response` holds the answer of a send back until its echo was delivered once.
    """

    DROP = "drop"
    RESET = "reset"
    ACCEPT_THEN_DROP = "accept_then_drop"
    ACCEPT_THEN_500 = "accept_then_500"
    ACCEPT_THEN_SLOW = "accept_then_slow"
    ERROR = "error"
    SLOW = "slow"
    ECHO_BEFORE_RESPONSE = "echo_before_response"


#: Faults that only concern requests that X accepted.
AFTER = frozenset({FaultKind.ACCEPT_THEN_DROP, FaultKind.ACCEPT_THEN_500, FaultKind.ACCEPT_THEN_SLOW})


class WrongFault(ValueError):
    """An ordered fault can't be read."""


@dataclass(slots=True)
class Fault:
    """One ordered fault; `left` is how often it still happens (None: for ever), `echo` whether sends are echoed."""

    id: int
    kind: FaultKind
    path: re.Pattern[str] | None
    method: str
    account_id: str
    participant_id: str
    left: int | None
    probability: float
    seconds: float
    status: int
    body: object
    headers: dict[str, str]
    echo: bool
    fired: int = 0

    def raw(self) -> JsonObject:
        """Return the fault as the control API shows it."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "path": self.path.pattern if self.path else "",
            "method": self.method,
            "account": self.account_id,
            "participant": self.participant_id,
            "left": self.left,
            "probability": self.probability,
            "fired": self.fired,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What faults are matched with: a request before it is performed."""

    method: str
    path: str
    account_id: str
    participant_id: str


class Faults:
    """The ordered faults; the first that matches a request happens to it."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._next = 1
        self.ordered: list[Fault] = []

    def order(self, wanted: JsonObject) -> Fault:
        """Add a fault from the control API's object.

        Raises:
            WrongFault: unknown kind, unknown error name, or a pattern that is none.
        """
        fault = _read(wanted, self._next)
        self._next += 1
        self.ordered.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        """Remove one fault, or all."""
        self.ordered = [fault for fault in self.ordered if fault_id is not None and fault.id != fault_id]

    @property
    def want_participants(self) -> bool:
        """Whether any fault looks at the participant, which may need the body."""
        return any(fault.participant_id for fault in self.ordered)

    def strike(self, asked: Asked) -> Fault | None:
        """Return the fault that happens to this request; `happened` is called when it really does."""
        for fault in self.ordered:
            if fault.left == 0 or not _matches(fault, asked):
                continue
            if fault.probability >= 1 or self._draw.random() < fault.probability:
                self._use(fault, 1)
                return fault
        return None

    def give_back(self, fault: Fault) -> None:
        """Undo `strike`: the request was refused, so there was nothing to accept."""
        self._use(fault, -1)

    def _use(self, fault: Fault, times: int) -> None:
        fault.fired += times
        if fault.left is not None:
            fault.left -= times


def _matches(fault: Fault, asked: Asked) -> bool:
    return (
        (fault.path is None or fault.path.search(asked.path) is not None)
        and fault.method in ("", asked.method)
        and fault.account_id in ("", asked.account_id)
        and fault.participant_id in ("", asked.participant_id)
    )


def _read(wanted: JsonObject, identifier: int) -> Fault:
    try:
        kind = FaultKind(as_text(wanted.get("kind")))
    except ValueError:
        raise WrongFault(f"kind must be one of {', '.join(FaultKind)}") from None
    match = wanted.get("match")
    where = {"path": match} if isinstance(match, str) else as_object(match)
    pattern = as_text(where.get("path"))
    try:
        path = re.compile(pattern) if pattern else None
    except re.error as wrong:
        raise WrongFault(f"match.path is no regular expression: {wrong}") from None
    count, probability = wanted.get("count"), wanted.get("probability")
    if count is None and probability is None:
        count = 1
    status, body = _answer(wanted, kind)
    return Fault(
        id=identifier,
        kind=kind,
        path=path,
        method=as_text(where.get("method")).upper(),
        account_id=as_text(where.get("account")),
        participant_id=as_text(where.get("participant")),
        left=int(as_number(count)) if count is not None else None,
        probability=as_number(probability, 1.0),
        seconds=as_number(wanted.get("seconds"), 1.0),
        status=status,
        body=body,
        headers={name: as_text(value) for name, value in as_object(wanted.get("headers")).items()},
        echo=wanted.get("echo") is not False,
    )


def _answer(wanted: JsonObject, kind: FaultKind) -> tuple[int, object]:
    """Return status and body of the error: named (`code` of v1.1 or `error` of v2) or given."""
    code, name = wanted.get("code"), as_text(wanted.get("error"))
    if isinstance(code, int):
        if code not in V1_ERRORS:
            raise WrongFault(f"code must be one of {sorted(V1_ERRORS)}")
        status, body = V1_ERRORS[code][0], v1_body(code)
    elif name:
        if name not in V2_ERRORS:
            raise WrongFault(f"error must be one of {', '.join(V2_ERRORS)}")
        status, body = V2_ERRORS[name]
    else:
        if kind is FaultKind.ERROR and "status" not in wanted:
            raise WrongFault("an error needs status and body, code, or error")
        status, body = V2_ERRORS["InternalServerError"]
    return int(as_number(wanted.get("status"), status)), wanted.get("body", body)
