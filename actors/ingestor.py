"""Takes events out of the inbox, batch by batch, in the host that owns their partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from bson.errors import InvalidDocument
from prometheus_client import Counter, Histogram
from pymongo.errors import OperationFailure, PyMongoError

from config.tracing import is_tracing, span
from domain.clock import Clock
from storage.client import Document
from storage.inbox import Inbox, traces_of
from storage.ingest import Ingest, Ingested, Superseded

log = structlog.get_logger()

PROCESSED = Counter("mktx_ingest_events_total", "Events processed, by outcome", ["outcome"])
# There from the start: what first appears with a 1 is no increase to Prometheus.
_FAILED, _BROKE = PROCESSED.labels("failed"), PROCESSED.labels("broke")
LAG = Histogram(
    "mktx_ingest_lag_seconds",
    "Time from an event's arrival to its effects, of the oldest event of each batch",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)

FLOW_EVENTS = Counter("mktx_flow_events_total", "Starts of flows and replies to them that came in by events of X")

#: Without a ring: how often the inbox is looked into, for what a lost ring left.
_LOOK_S = 10.0
#: After a batch that was not full: lets the next one fill, so that a busy host works on sets.
_GATHER_S = 0.005
_RETRY_S = 0.5
#: While eased: how long to rest after a transaction, as a multiple of how long it took.
_REST_SHARE = 16.0


class Ingestor:
    """Reads a range of lanes, one transaction under way at a time."""

    def __init__(
        self,
        inbox: Inbox,
        ingest: Ingest,
        lanes: range,
        clock: Clock,
        *,
        batch: int,
        reacted: Callable[[Ingested], Awaitable[None]],
    ) -> None:
        self._inbox = inbox
        self._ingest = ingest
        self._lanes = lanes
        self._clock = clock
        self._batch = batch
        self._reacted = reacted
        self._next = lanes.start
        self._rung = asyncio.Event()
        self._rings: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._eased_until = 0.0
        self._was_full = False

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

    @property
    def is_behind(self) -> bool:
        """Whether more events wait than one batch takes, or a while to rest was asked for."""
        return self._was_full or time.monotonic() < self._eased_until

    def ease(self, seconds: float) -> None:
        """Rest between transactions for so many seconds from now on."""
        self._eased_until = time.monotonic() + seconds

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
                await self._again_later()
            except Exception as error:
                # Without this loop the lanes would stand still until the host is started again.
                log.exception("ingest.broke", error=type(error).__name__)
                _BROKE.inc()
                await self._again_later()
            self._answer_rings(rings)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._rung.wait()
            except TimeoutError:
                continue

    async def _again_later(self) -> None:
        await asyncio.sleep(_RETRY_S)
        self._rung.set()

    @staticmethod
    def _answer_rings(rings: list[asyncio.Future[None]]) -> None:
        for ring in rings:
            if not ring.done():
                ring.set_result(None)

    async def _drain(self) -> None:
        """Process until nothing is left."""
        while not self._stopping:
            documents = await self._inbox.read(self._lanes, self._next, self._batch)
            if not documents:
                self._was_full = False
                # Nothing is before it either, so the next look is one question.
                self._next = self._lanes.start
                return
            begun = time.monotonic()
            await self._process_traced(documents)
            now = time.monotonic()
            if now < self._eased_until:
                await asyncio.sleep(min(_REST_SHARE * (now - begun), self._eased_until - now))
            # Go on behind the last lane that was reached, so that a flood in one starves no other.
            self._next = int(documents[-1]["_id"][:2], 16) + 1
            if self._next >= self._lanes.stop:
                self._next = self._lanes.start
            self._was_full = sum(len(document["events"]) for document in documents) >= self._batch
            if not self._was_full:
                await asyncio.sleep(_GATHER_S)

    async def _process_traced(self, documents: list[Document]) -> None:
        """Process documents in a span: a part of the call that brought them, where one call brought all of them.

        A batch of several calls belongs to none of them: it is a trace of its own, linked to each.
        """
        if not is_tracing():
            await self._process(documents)
            return
        traces = traces_of(documents)
        parent = traces[0] if len(traces) == 1 else ""
        with span("ingest", parent=parent, links=traces, events=sum(len(each["events"]) for each in documents)):
            await self._process(documents)

    async def _process(self, documents: list[Document]) -> None:
        try:
            ingested = await self._ingest.apply(documents)
        except Superseded:
            return
        except PyMongoError as error:
            if not _is_refusal(error):
                raise
            await self._narrow_down(documents, error)
        except Exception as error:  # noqa: BLE001  # whatever breaks here is logged, and its event put aside
            await self._narrow_down(documents, error)
        else:
            await self._report(ingested)

    async def _narrow_down(self, documents: list[Document], error: Exception) -> None:
        """Find the event that can't be processed and put it aside, so that it stops nobody else."""
        log.error("ingest.failed", documents=len(documents), exc_info=error)
        if len(documents) > 1:
            for document in documents:
                await self._process([document])
        elif len(documents[0]["events"]) > 1:
            await self._inbox.split(documents[0])
        else:
            _FAILED.inc()
            await self._inbox.bury(documents[0], f"failed: {type(error).__name__}", self._clock.now())

    async def _report(self, ingested: Ingested) -> None:
        PROCESSED.labels("applied").inc(ingested.events - ingested.duplicates - ingested.unrouted)
        if ingested.duplicates:
            PROCESSED.labels("duplicate").inc(ingested.duplicates)
        if ingested.unrouted:
            PROCESSED.labels("unknown_account").inc(ingested.unrouted)
        if ingested.oldest:
            LAG.observe(max(0.0, (self._clock.now() - ingested.oldest).total_seconds()))
        FLOW_EVENTS.inc(ingested.flow_events)
        if ingested.concerns_actors:
            await self._reacted(ingested)


def _is_refusal(error: PyMongoError) -> bool:
    """Whether the database refused what was asked, instead of not being able to do it now."""
    return (
        isinstance(error, OperationFailure | InvalidDocument)
        and not error.timeout
        and not error.has_error_label("TransientTransactionError")
        and not error.has_error_label("RetryableWriteError")
    )
