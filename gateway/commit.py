"""Group commit: many webhook calls, one durable insert.

While an insert is under way, what arrives goes with the next one. A lone event waits for nobody; under load one journal
flush pays for hundreds of answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from pymongo.errors import PyMongoError

from domain.clock import Clock
from domain.errors import Overloaded, Unavailable
from domain.events import XEvent
from storage.inbox import Inbox

log = structlog.get_logger()

_LARGEST_INSERT = 500
_INSERTS_UNDER_WAY = 2
_MOST_WAITING = 20_000


class GroupCommit:
    """Collects events and stores them in batches; `stored` is told the lanes that have got some."""

    def __init__(self, inbox: Inbox, clock: Clock, stored: Callable[[Iterable[int]], None]) -> None:
        self._inbox = inbox
        self._clock = clock
        self._stored = stored
        self._waiting: list[tuple[list[XEvent], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, events: list[XEvent]) -> Awaitable[None]:
        """Return what to await until the events are durable.

        Raises:
            Overloaded: when too many wait already.
            Unavailable: when it is not known that they are durable.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise Overloaded("The inbox can't keep up", retry_after_s=3)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, future))
        if len(self._tasks) < _INSERTS_UNDER_WAY:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_INSERT], self._waiting[_LARGEST_INSERT:]
            await self._store(batch)

    async def _store(self, batch: list[tuple[list[XEvent], asyncio.Future[None]]]) -> None:
        failure: Unavailable | None = None
        lanes: set[int] = set()
        try:
            lanes = await self._inbox.add((event for events, _ in batch for event in events), self._clock.now())
        except PyMongoError as error:
            log.warning("inbox.insert_failed", error=type(error).__name__, calls=len(batch))
            failure = Unavailable("The event could not be stored", retry_after_s=3)
        for _, future in batch:
            if future.done():
                continue
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
        self._stored(lanes)

    async def close(self) -> None:
        """Wait until all that was added is answered."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
