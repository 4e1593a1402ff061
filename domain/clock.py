"""The one source of time: passed in as an argument, so that tests can own it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Answers the present moment, timezone-aware in UTC."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        ...


class SystemClock:
    """The machine's clock, cut to the milliseconds that MongoDB keeps."""

    def now(self) -> datetime:
        """Return the present moment in UTC, in whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


class ManualClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the moment it was last set to."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Go to a moment."""
        self._now = moment
