"""What one host says of its actors, copied into metrics once a second: a turn costs microseconds, a metric a lock."""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import Counter, Gauge

from actors.runtime.host import ActorHost
from domain.ended import ended

STARTS = Counter(
    "mktx_host_starts_total", "Starts of actor hosts, by host: each after the first is a restart", ["host"]
)
IN_MEMORY = Gauge("mktx_actor_in_memory", "Actors in memory", multiprocess_mode="livesum")
UNDER_WAY = Gauge("mktx_actor_under_way", "Actors that have a message under way", multiprocess_mode="livesum")
#: Counters by the fields of `HostStats`.
COUNTERS: Final = {
    "turns": Counter("mktx_actor_turns_total", "Messages that actors took"),
    "failures": Counter("mktx_actor_failures_total", "Messages that broke an actor, or one that could not start"),
    "expired": Counter("mktx_actor_expired_total", "Messages whose caller had given up before it was their turn"),
    "overflows": Counter("mktx_actor_overflows_total", "Messages that were refused because a mailbox was full"),
    "activated": Counter("mktx_actor_activations_total", "Actors that came into memory"),
    "deactivated": Counter("mktx_actor_deactivations_total", "Actors that left memory"),
}

_EVERY_S = 1.0


class HostMetrics:
    """Copies what a host has counted for itself."""

    def __init__(self, host: ActorHost, index: int) -> None:
        self._host = host
        self._copied = dict.fromkeys(COUNTERS, 0)
        self._task: asyncio.Task[None] | None = None
        STARTS.labels(str(index)).inc()

    def start(self) -> None:
        """Begin to copy."""
        self._task = asyncio.create_task(self._copy_for_ever())

    async def stop(self) -> None:
        """Copy for the last time."""
        await ended(self._task)
        self.copy()

    def copy(self) -> None:
        """Bring the metrics to what the host has counted so far."""
        for field, counter in COUNTERS.items():
            counted: int = getattr(self._host.stats, field)
            counter.inc(counted - self._copied[field])
            self._copied[field] = counted
        IN_MEMORY.set(len(self._host))
        UNDER_WAY.set(self._host.under_way)

    async def _copy_for_ever(self) -> None:
        while True:
            self.copy()
            await asyncio.sleep(_EVERY_S)
