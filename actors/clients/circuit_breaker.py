"""Keeps from calling what has just failed again and again (Michael Nygard, "Release It!", "Circuit Breaker").

After some failures in a row the circuit of a key is open: nothing is called for a while. Then one call is let through;
if it fails as well the circuit is open for twice as long. Kept in memory, by each process for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.clock import Clock

_FAILURES = 5
_OPEN_FOR = timedelta(seconds=15)
_LONGEST = timedelta(minutes=5)
_MOST_DOUBLED = 16


class CircuitOpen(Exception):
    """Nothing is called at present; `retry_after_s` is when it will be tried again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    opened: int = 0
    until: datetime | None = None
    is_tried: bool = False


class CircuitBreakers:
    """The circuits of many keys; one that works costs no memory. `opened` is told of each that opens."""

    def __init__(
        self,
        clock: Clock,
        opened: Callable[[str], object],
        *,
        failures: int = _FAILURES,
        open_for: timedelta = _OPEN_FOR,
        longest: timedelta = _LONGEST,
    ) -> None:
        self._clock = clock
        self._opened = opened
        self._failures = failures
        self._open_for = open_for
        self._longest = longest
        self._circuits: dict[str, _Circuit] = {}

    @contextmanager
    def guarding(self, key: str, counts: Callable[[BaseException], bool]) -> Iterator[None]:
        """Guard one call: it has failed when the block raises what `counts`; anything else raised says nothing.

        Raises:
            CircuitOpen: instead of the call.
        """
        circuit = self._admitted(key)
        try:
            yield
        except BaseException as error:
            if counts(error):
                self._failed(key, circuit)
            else:
                self._released(key, circuit)
            raise
        self._circuits.pop(key, None)

    def is_open(self, key: str) -> bool:
        """Whether nothing is called for a key at present."""
        circuit = self._circuits.get(key)
        return circuit is not None and circuit.until is not None and self._clock.now() < circuit.until

    def _admitted(self, key: str) -> _Circuit:
        circuit = self._circuits.setdefault(key, _Circuit())
        if circuit.until is None:
            return circuit
        left = circuit.until - self._clock.now()
        if left > timedelta(0) or circuit.is_tried:
            raise CircuitOpen(max(1, -(-left // timedelta(seconds=1))))
        circuit.is_tried = True
        return circuit

    def _released(self, key: str, circuit: _Circuit) -> None:
        circuit.is_tried = False
        if not circuit.failures:
            self._circuits.pop(key, None)

    def _failed(self, key: str, circuit: _Circuit) -> None:
        # Another call that was under way as well may have closed it meanwhile.
        circuit = self._circuits.setdefault(key, circuit)
        circuit.failures += 1
        was_tried, circuit.is_tried = circuit.is_tried, False
        if was_tried or (circuit.until is None and circuit.failures >= self._failures):
            circuit.until = self._clock.now() + min(self._longest, self._open_for * 2**circuit.opened)
            circuit.opened = min(circuit.opened + 1, _MOST_DOUBLED)
            self._opened(key)
