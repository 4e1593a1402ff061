"""What one host has done, counted in plain integers: a turn costs microseconds, a metric's lock would be felt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class HostStats:
    """Counters since the host started."""

    turns: int = 0
    failures: int = 0
    expired: int = 0
    overflows: int = 0
    activated: int = 0
    deactivated: int = 0
