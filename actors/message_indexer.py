"""Makes messages searchable in the background of a host, so that no event waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from storage.message_words import MessageWords

log = structlog.get_logger()

INDEXED = Counter("mktx_search_messages_total", "Messages that were made searchable")

#: How often notes are looked for where there are none.
_LOOK_S = 3.0
_RETRY_S = 1.0
#: How long to rest after each step, as a multiple of how long it took: half of the time is for others.
_REST_SHARE = 1.0
#: The same while events wait.
_LONG_REST_SHARE = 19.0


class MessageIndexer:
    """Works through the notes of a range of lanes; a twentieth of the time while `is_behind` says that events wait.

    Under lasting load search falls behind, and catches up afterwards.
    """

    def __init__(
        self, words: MessageWords, lanes: range, is_behind: Callable[[], bool], *, look_s: float = _LOOK_S
    ) -> None:
        self._words = words
        self._lanes = lanes
        self._is_behind = is_behind
        self._look_s = look_s
        self._next = lanes.start
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for notes."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish the step under way; the other notes stay in the database."""
        self._stopping.set()
        if self._task:
            await self._task

    async def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                rest_s = await self._step()
            except PyMongoError as error:
                log.warning("search.database", error=type(error).__name__)
                rest_s = _RETRY_S
            try:
                async with asyncio.timeout(rest_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _step(self) -> float:
        """Make the messages of some notes searchable; returns for how long to rest then."""
        begun = time.monotonic()
        notes = await self._words.read(self._lanes, self._next)
        if not notes:
            return self._look_s
        INDEXED.inc(await self._words.set(notes))
        # Go on behind the last lane that was reached: each gets its turn.
        self._next = int(notes[-1]["_id"][:2], 16) + 1
        if self._next >= self._lanes.stop:
            self._next = self._lanes.start
        return (_LONG_REST_SHARE if self._is_behind() else _REST_SHARE) * (time.monotonic() - begun)
