"""Takes events out of the inbox, batch by batch, in the host that owns their partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter, Histogram
from pymongo.errors import PyMongoError

from domain.clock import Clock
from storage.client import Document
from storage.inbox import Inbox
from storage.ingest import Ingest, Ingested, Superseded

log = structlog.get_logger()

PROCESSED = Counter("mktx_ingest_events_total", "Events processed, by outcome", ["outcome"])
LAG = Histogram(
    "mktx_ingest_lag_seconds",
    "Time from an event's arrival to its effects, of the oldest event of each batch",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)

#: Without a ring: how often the inbox is looked into, for what a lost ring or a dead gateway left.
_LOOK_S = 2.0
#: After a batch that was not full: lets the next one fill, so that a busy host works on sets.
_GATHER_S = 0.005
_RETRY_S = 0.5


class Ingestor:
    """One lane: a range of partitions, one batch under way at a time."""

    def __init__(
        self,
        inbox: Inbox,
        ingest: Ingest,
        partitions: range,
        clock: Clock,
        *,
        batch: int,
        reacted: Callable[[Ingested], Awaitable[None]],
    ) -> None:
        self._inbox = inbox
        self._ingest = ingest
        self._partitions = partitions
        self._clock = clock
        self._batch = batch
        self._reacted = reacted
        self._next = partitions.start
        self._rung = asyncio.Event()
        self._rings: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to look into the inbox."""
        self._task = asyncio.create_task(self._work())

    async def ring(self) -> None:
        """Return when everything that is in the inbox now has been dealt with."""
        if self._stopping:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rings.append(future)
        self._rung.set()
        await future

    async def stop(self) -> None:
        """Finish the batch under way; the rest stays in the inbox."""
        self._stopping = True
        self._rung.set()
        if self._task:
            await self._task
        self._answer_rings(self._rings)

    async def _work(self) -> None:
        while not self._stopping:
            self._rung.clear()
            rings, self._rings = self._rings, []
            try:
                await self._drain()
            except PyMongoError as error:
                log.warning("ingest.database", error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)
                self._rung.set()
            self._answer_rings(rings)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._rung.wait()
            except TimeoutError:
                continue

    @staticmethod
    def _answer_rings(rings: list[asyncio.Future[None]]) -> None:
        for ring in rings:
            if not ring.done():
                ring.set_result(None)

    async def _drain(self) -> None:
        """Process until nothing is left."""
        while not self._stopping:
            entries = await self._inbox.next_batch(self._partitions, self._next, self._batch)
            if not entries:
                return
            await self._process(entries)
            # Go on behind the last partition that was reached, so that a flood in one starves no other.
            self._next = entries[-1]["partition"] + (0 if len(entries) == self._batch else 1)
            if self._next >= self._partitions.stop:
                self._next = self._partitions.start
            if len(entries) < self._batch:
                await asyncio.sleep(_GATHER_S)

    async def _process(self, entries: list[Document]) -> None:
        try:
            ingested = await self._ingest.apply(entries)
        except Superseded:
            return
        except PyMongoError:
            raise
        except Exception as error:
            log.exception("ingest.batch_failed", events=len(entries), error=type(error).__name__)
            await self._process_singly(entries)
            return
        await self._report(ingested)

    async def _process_singly(self, entries: list[Document]) -> None:
        """Find the event that breaks a batch and put it aside, so that it stops nobody else."""
        for entry in entries:
            try:
                ingested = await self._ingest.apply([entry])
            except Superseded:
                continue
            except PyMongoError:
                raise
            except Exception as error:
                log.exception("ingest.event_failed", kind=entry.get("kind"), error=type(error).__name__)
                PROCESSED.labels("failed").inc()
                await self._inbox.bury(entry, f"failed: {type(error).__name__}", self._clock.now())
            else:
                await self._report(ingested)

    async def _report(self, ingested: Ingested) -> None:
        PROCESSED.labels("applied").inc(ingested.events - ingested.duplicates - ingested.unrouted)
        if ingested.duplicates:
            PROCESSED.labels("duplicate").inc(ingested.duplicates)
        if ingested.unrouted:
            PROCESSED.labels("unknown_account").inc(ingested.unrouted)
        if ingested.received_at:
            LAG.observe(max(0.0, (self._clock.now() - min(ingested.received_at)).total_seconds()))
        if ingested.touched_accounts:
            await self._reacted(ingested)
