"""How much waits in the inbox, and for how long: what X was told is safe and nobody has processed yet."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client import Gauge
from pymongo.errors import PyMongoError

from domain.clock import Clock
from domain.ended import ended
from storage.inbox import Inbox

log = structlog.get_logger()

# Where nobody looks, nothing is said: a number that stands still would look like peace.
PENDING = Gauge("mktx_inbox_pending", "Events that wait in the inbox", multiprocess_mode="livemax")
OLDEST = Gauge("mktx_inbox_oldest_seconds", "Age of the oldest event in the inbox", multiprocess_mode="livemax")

_EVERY_S = 5.0
#: Looking takes at most one part in so many of the time, however full the inbox is.
_REST_SHARE = 50


class InboxWatch:
    """Looks into the inbox again and again; one gateway of all does it."""

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_for_ever())

    async def stop(self) -> None:
        """Look no more."""
        await ended(self._task)

    async def look(self) -> None:
        """Look once."""
        waiting = await self._inbox.waiting()
        PENDING.set(waiting.events)
        age = self._clock.now() - waiting.oldest if waiting.oldest else None
        OLDEST.set(max(0.0, age.total_seconds()) if age else 0)

    async def _look_for_ever(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                await self.look()
            except PyMongoError as error:
                log.warning("inbox.not_seen", error=type(error).__name__)
            await asyncio.sleep(max(_EVERY_S, _REST_SHARE * (time.monotonic() - begun)))
