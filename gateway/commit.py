"""Group commit: many webhook calls, one durable insert.

While an insert is under way, what arrives goes with the next one. A lone event waits for nobody; under load one journal
flush pays for hundreds of answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from pymongo.errors import PyMongoError

from domain.errors import Overloaded, Unavailable
from storage.client import Document
from storage.inbox import Inbox

log = structlog.get_logger()

_LARGEST_INSERT = 500
_INSERTS_UNDER_WAY = 2
_MOST_WAITING = 20_000


class GroupCommit:
    """Collects inbox entries and stores them in batches."""

    def __init__(self, inbox: Inbox, stored: Callable[[Sequence[Document]], None]) -> None:
        self._inbox = inbox
        self._stored = stored
        self._waiting: list[tuple[list[Document], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, entries: list[Document]) -> Awaitable[None]:
        """Return what to await until the entries are durable.

        Raises:
            Overloaded: when too many wait already.
            Unavailable: when it is not known that they are durable.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise Overloaded("The inbox can't keep up", retry_after_s=3)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, future))
        if len(self._tasks) < _INSERTS_UNDER_WAY:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_INSERT], self._waiting[_LARGEST_INSERT:]
            await self._store(batch)

    async def _store(self, batch: list[tuple[list[Document], asyncio.Future[None]]]) -> None:
        # One key may be in the batch twice: X repeats a call whose answer it did not get.
        entries = {entry["_id"]: entry for some, _ in batch for entry in some}
        failure: Unavailable | None = None
        try:
            await self._inbox.add(list(entries.values()))
        except PyMongoError as error:
            log.warning("inbox.insert_failed", error=type(error).__name__, events=len(entries))
            failure = Unavailable("The event could not be stored", retry_after_s=3)
        for _, future in batch:
            if future.done():
                continue
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
        if failure is None:
            self._stored(list(entries.values()))

    async def close(self) -> None:
        """Wait until all that was added is answered."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
