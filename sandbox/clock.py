"""Time of the simulated X: given to it from outside, so that tests can move through its windows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
DAY_MS = 24 * 60 * MINUTE_MS


class Clock(Protocol):
    """Answers the present moment, timezone-aware in UTC."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)


def millis(clock: Clock) -> int:
    """Return the present moment of `clock` in milliseconds since 1970."""
    return int(clock.now().timestamp() * 1000)


def rfc3339(at_ms: int) -> str:
    """Write a moment as X's v2 does: `2026-11-02T10:00:00.000Z`."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def classic(at_ms: int) -> str:
    """Write a moment as X's v1.1 does: `Mon Nov 02 10:00:00 +0000 2026`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%a %b %d %H:%M:%S +0000 %Y")
