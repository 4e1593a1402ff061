"""Faults that can be ordered from the simulated X, to see how a client takes them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.body import JsonObject, as_number, as_object, as_text
from sandbox.fault_orders import FaultOrders, Ordered, OrderedFault, WrongFault, kind_of, where_of
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


@dataclass(slots=True)
class Fault(OrderedFault):
    """One ordered fault of X; `echo` is whether sends are echoed."""

    kind: FaultKind = FaultKind.ERROR
    path: re.Pattern[str] | None = None
    method: str = ""
    account_id: str = ""
    participant_id: str = ""
    seconds: float = 1.0
    status: int = 500
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    echo: bool = True

    def raw(self) -> JsonObject:
        """Return the fault as the control API shows it."""
        return self.shown(
            kind=str(self.kind),
            path=self.path.pattern if self.path else "",
            method=self.method,
            account=self.account_id,
            participant=self.participant_id,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What faults are matched with: a request before it is performed."""

    method: str
    path: str
    account_id: str
    participant_id: str


class Faults(FaultOrders[Fault, Asked]):
    """The faults ordered from X."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw, _read, _matches)

    @property
    def want_participants(self) -> bool:
        """Whether any fault looks at the participant, which may need the body."""
        return any(fault.participant_id for fault in self.ordered)


def _matches(fault: Fault, asked: Asked) -> bool:
    return (
        (fault.path is None or fault.path.search(asked.path) is not None)
        and fault.method in ("", asked.method)
        and fault.account_id in ("", asked.account_id)
        and fault.participant_id in ("", asked.participant_id)
    )


def _read(wanted: JsonObject, order: Ordered) -> Fault:
    kind = kind_of(wanted, FaultKind)
    path, where = where_of(wanted, "path")
    status, body = _answer(wanted, kind)
    return Fault(
        order,
        kind=kind,
        path=path,
        method=as_text(where.get("method")).upper(),
        account_id=as_text(where.get("account")),
        participant_id=as_text(where.get("participant")),
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
