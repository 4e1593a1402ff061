"""What both simulated servers do with faults that are ordered from them: which one happens, and how often."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from sandbox.body import JsonObject, as_number, as_object, as_text


class WrongFault(ValueError):
    """An ordered fault can't be read."""


@dataclass(slots=True)
class Ordered:
    """What every ordered fault has; `left` is how often it still happens (None: for ever)."""

    id: int
    left: int | None
    probability: float


@dataclass(slots=True)
class OrderedFault:
    """Base of a fault; `fired` is how often it has happened."""

    order: Ordered
    fired: int = 0

    def shown(self, **of_its_kind: object) -> JsonObject:
        """Return the fault as the control API shows it."""
        order = self.order
        counted = {"left": order.left, "probability": order.probability, "fired": self.fired}
        return {"id": order.id, **of_its_kind, **counted}


KindT = TypeVar("KindT", bound=StrEnum)
FaultT = TypeVar("FaultT", bound=OrderedFault)
AskedT = TypeVar("AskedT")


class FaultOrders(Generic[FaultT, AskedT]):
    """The ordered faults; the first that matches a request happens to it."""

    def __init__(
        self,
        draw: random.Random,
        read: Callable[[JsonObject, Ordered], FaultT],
        matches: Callable[[FaultT, AskedT], bool],
    ) -> None:
        self._draw = draw
        self._read = read
        self._matches = matches
        self._next = 1
        self.ordered: list[FaultT] = []

    def order(self, wanted: JsonObject) -> FaultT:
        """Add a fault from the control API's object.

        Raises:
            WrongFault: when it can't be read.
        """
        fault = self._read(wanted, _ordered(wanted, self._next))
        self._next += 1
        self.ordered.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        """Remove one fault, or all."""
        self.ordered = [fault for fault in self.ordered if fault_id is not None and fault.order.id != fault_id]

    def strike(self, asked: AskedT) -> FaultT | None:
        """Return the fault that happens to this request, and count it."""
        for fault in self.ordered:
            if fault.order.left == 0 or not self._matches(fault, asked):
                continue
            if fault.order.probability >= 1 or self._draw.random() < fault.order.probability:
                _use(fault, 1)
                return fault
        return None

    def give_back(self, fault: FaultT) -> None:
        """Undo `strike`: there was nothing for it to happen to."""
        _use(fault, -1)


def kind_of(wanted: JsonObject, kinds: type[KindT]) -> KindT:
    """Return the kind that is wanted.

    Raises:
        WrongFault: when it is none.
    """
    try:
        return kinds(as_text(wanted.get("kind")))
    except ValueError:
        raise WrongFault(f"kind must be one of {', '.join(kinds)}") from None


def where_of(
    wanted: JsonObject, name: str, flags: re.RegexFlag = re.NOFLAG
) -> tuple[re.Pattern[str] | None, JsonObject]:
    """Return what `match` says: the pattern under a name, which alone will do, and everything else that is in it.

    Raises:
        WrongFault: when the pattern is none.
    """
    match = wanted.get("match")
    where: JsonObject = {name: match} if isinstance(match, str) else as_object(match)
    pattern = as_text(where.get(name))
    try:
        return (re.compile(pattern, flags) if pattern else None), where
    except re.error as wrong:
        raise WrongFault(f"match.{name} is no regular expression: {wrong}") from None


def _ordered(wanted: JsonObject, identifier: int) -> Ordered:
    count, probability = wanted.get("count"), wanted.get("probability")
    if count is None and probability is None:
        count = 1
    return Ordered(identifier, int(as_number(count)) if count is not None else None, as_number(probability, 1.0))


def _use(fault: OrderedFault, times: int) -> None:
    fault.fired += times
    if fault.order.left is not None:
        fault.order.left -= times
