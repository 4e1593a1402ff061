"""A load of customer messages, sent open loop: the pace does not wait for answers."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.body import JsonObject
from sandbox.delivery import Delivery

_TICK_S = 0.005
#: Messages a tick where no rate is set.
_BATCH = 200


@dataclass(slots=True)
class Load:
    """One run and what came of it; latencies run from the moment a message was due to its acceptance."""

    count: int
    rate: float
    sent: int = 0
    deliveries: int = 0
    acknowledged: int = 0
    retried: int = 0
    lost: int = 0
    began: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    _latencies: array[float] = field(default_factory=lambda: array("d"))

    def settled(self, delivery: Delivery) -> None:
        """Count one delivery's end."""
        if len(delivery.attempts) > 1:
            self.retried += 1
        if delivery.outcome == "acknowledged":
            self.acknowledged += 1
            self._latencies.append(delivery.waited_ms)
        else:
            self.lost += 1
        if self.sent == self.count and self.acknowledged + self.lost == self.deliveries:
            self.ended = time.perf_counter()

    def progress(self) -> JsonObject:
        """Return counts, seconds so far and latency percentiles in milliseconds."""
        latencies = sorted(self._latencies)
        return {
            "count": self.count,
            "rate": self.rate,
            "sent": self.sent,
            "deliveries": self.deliveries,
            "acknowledged": self.acknowledged,
            "retried": self.retried,
            "lost": self.lost,
            "done": self.ended is not None,
            "seconds": round((self.ended or time.perf_counter()) - self.began, 3),
            "p50_ms": _percentile(latencies, 0.50),
            "p99_ms": _percentile(latencies, 0.99),
            "max_ms": _percentile(latencies, 1.0),
        }


def _percentile(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


async def drive(load: Load, emit: Callable[[int, float], int]) -> None:
    """Call `emit(n, due)` for the n-th message when it is due; `emit` returns how many deliveries it made.

    `due` is the moment in `time.perf_counter()`'s terms from which latency counts, so that a late pacemaker is not
    hidden.
    """
    while load.sent < load.count:
        now = time.perf_counter()
        wanted = int((now - load.began) * load.rate) + 1 if load.rate > 0 else load.sent + _BATCH
        due = min(load.count, wanted)
        for number in range(load.sent, due):
            planned = load.began + number / load.rate if load.rate > 0 else now
            load.deliveries += emit(number, planned)
            load.sent += 1
        await asyncio.sleep(_TICK_S)
    if load.deliveries == load.acknowledged + load.lost:
        load.ended = time.perf_counter()
