"""Group commit: many webhook calls, one durable insert.

While an insert is under way, what arrives goes with the next one. A lone event waits for nobody; under load one journal
flush pays for hundreds of answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import structlog
from prometheus_client import Counter, Histogram
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError

from domain.clock import Clock
from domain.errors import Overloaded, Unavailable
from storage.inbox import Arrival, Inbox

log = structlog.get_logger()

REQUESTS = Counter("mktx_webhook_requests_total", "Webhook calls, by outcome", ["outcome"])
EVENTS = Counter("mktx_webhook_events_total", "Events in accepted webhook calls")
#: Observed once a group commit: a histogram's lock for each of thousands of calls a second would be felt.
ACK = Histogram(
    "mktx_webhook_ack_seconds",
    "Time from a webhook call's head to its commit, of the call that waited longest in each group commit",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_ACCEPTED = REQUESTS.labels("accepted")

_LARGEST_INSERT = 500
#: A document of the inbox is processed in one transaction, which must not grow without bound.
_MOST_EVENTS = 2000
_SERVER_SAYS_TOO_LARGE = 10334
_INSERTS_UNDER_WAY = 2
_MOST_WAITING = 20_000

#: A call's events, what is told once they are durable, and when the call arrived.
_Call: TypeAlias = tuple[Sequence[Arrival], asyncio.Future[None], float]


class GroupCommit:
    """Collects events and stores them in batches; `stored` is told which lanes have got some, of how many calls."""

    def __init__(self, inbox: Inbox, clock: Clock, stored: Callable[[Iterable[int], int], None]) -> None:
        self._inbox = inbox
        self._clock = clock
        self._stored = stored
        self._waiting: list[_Call] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, events: Sequence[Arrival], arrived: float) -> asyncio.Future[None]:
        """Return what ends when a call's events are durable; `arrived` is monotonic time in seconds.

        Raises:
            Overloaded: when too many wait already.
            Unavailable: when it is not known that they are durable.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise Overloaded("The inbox can't keep up", retry_after_s=3)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, future, arrived))
        if len(self._tasks) < _INSERTS_UNDER_WAY:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_INSERT], self._waiting[_LARGEST_INSERT:]
            await self._store(batch)

    async def _store(self, batch: list[_Call]) -> None:
        try:
            lanes = await self._insert([event for events, _, _ in batch for event in events])
        except PyMongoError as error:
            log.warning("inbox.insert_failed", error=type(error).__name__, calls=len(batch))
            _fail(batch)
        except Exception as error:
            # Whoever waits must be told, whatever broke: without an answer X would wait until it gives up.
            log.exception("inbox.insert_broke", error=type(error).__name__, calls=len(batch))
            _fail(batch)
        else:
            for _, future, _ in batch:
                if not future.done():
                    future.set_result(None)
            _ACCEPTED.inc(len(batch))
            EVENTS.inc(sum(len(events) for events, _, _ in batch))
            ACK.observe(time.monotonic() - batch[0][2])
            self._stored(lanes, len(batch))

    async def _insert(self, events: Sequence[Arrival]) -> set[int]:
        """Store events; what is too much for one document of the inbox is halved, and keeps its order."""
        if len(events) <= _MOST_EVENTS:
            try:
                return await self._inbox.add(events, self._clock.now())
            except (DocumentTooLarge, OperationFailure) as error:
                if not _is_too_large(error) or len(events) == 1:
                    raise
        middle = len(events) // 2
        return await self._insert(events[:middle]) | await self._insert(events[middle:])

    async def close(self) -> None:
        """Wait until all that was added is answered."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _is_too_large(error: DocumentTooLarge | OperationFailure) -> bool:
    return isinstance(error, DocumentTooLarge) or error.code == _SERVER_SAYS_TOO_LARGE


def _fail(batch: list[_Call]) -> None:
    """Tell the callers that it is not known whether their events are durable; each gets an error of its own."""
    for _, future, _ in batch:
        if not future.done():
            future.set_exception(Unavailable("The event could not be stored", retry_after_s=3))
