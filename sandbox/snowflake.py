"""Ids as X makes them: decimal text, increasing, with the milliseconds in their upper bits."""

from __future__ import annotations

from sandbox.clock import Clock, millis

EPOCH_MS = 1_288_834_974_657
_LOW_BITS = 22


class Snowflakes:
    """A source of ids, each greater than all before it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """Return a fresh id."""
        candidate = (millis(self._clock) - EPOCH_MS) << _LOW_BITS
        self._last = max(candidate, self._last + 1)
        return str(self._last)

    def seen(self, identifier: str) -> None:
        """Never return an id at or below `identifier` again (ids read back from a journal)."""
        if identifier.isdecimal():
            self._last = max(self._last, int(identifier))
