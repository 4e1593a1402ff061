"""How late an event loop is: by how much a sleep of a second takes longer. A loop that is late makes everybody wait."""

from __future__ import annotations

import asyncio
from typing import Literal

from prometheus_client import Histogram

from domain.ended import ended

LAG = Histogram(
    "mktx_event_loop_lag_seconds",
    "By how much the event loop woke up too late, looked at once a second in each process",
    ["process"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

_EVERY_S = 1.0


class LoopLag:
    """Watches the loop that it is started on."""

    def __init__(self, process: Literal["gateway", "host"]) -> None:
        self._lag = LAG.labels(process)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        await ended(self._task)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self._lag.observe(max(0.0, loop.time() - due))
