from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import Gauge

from config.settings import Settings
from domain.errors import LimitExceeded, Unavailable
from gateway.authentication import authenticated, check_allowed
from gateway.events.feed import Feed
from gateway.events.kinds import KINDS
from gateway.events.stream import EventStream, Sources
from gateway.events.subscriber import Wanted
from gateway.routing import route_of
from storage.changes import Changes
from storage.client import Database

OPEN = Gauge("mktx_event_streams", "Streams of events that are open.", multiprocess_mode="livesum")

_RETRY_S = 10
_CATCHING_UP_AT_ONCE = 2


@dataclass(slots=True)
class _OfMerchant:
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CATCHING_UP_AT_ONCE))
    streams: set[EventStream] = field(default_factory=set)
    count: int = 0


class EventStreams:
    """Every stream of events of this process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._settings = settings
        self._changes = Changes(database, [kind.watched for kind in KINDS.values()])
        self._feed = Feed(self._changes)
        self._merchants: dict[str, _OfMerchant] = {}
        self._is_closed = False

    @property
    def is_listening(self) -> bool:
        """Whether the change stream is open; it is while somebody listens."""
        return self._feed.is_open

    async def serve(self, request: web.Request, wanted: Wanted) -> web.StreamResponse:
        """Answer a request with events until either side ends it.

        Raises:
            LimitExceeded: when the merchant has as many streams here as it may have.
            Unavailable: when there are no events to be had at the moment.
        """
        async with self._counted(wanted.merchant_id) as own, self._feed.attended():
            if self._is_closed:
                raise Unavailable("The gateway is being stopped", retry_after_s=_RETRY_S)
            sources = Sources(self._feed, self._changes, own.gate)
            stream = EventStream(request, wanted, sources, self._settings, lambda: _check_still_allowed(request))
            own.streams.add(stream)
            try:
                return await stream.run()
            finally:
                own.streams.discard(stream)

    async def close(self) -> None:
        """End all streams, and begin none."""
        self._is_closed = True
        for own in self._merchants.values():
            for stream in tuple(own.streams):
                stream.end()

    async def ended(self) -> None:
        """Wait until the change stream is closed."""
        await self._feed.ended()

    @asynccontextmanager
    async def _counted(self, merchant_id: str) -> AsyncIterator[_OfMerchant]:
        own = self._merchants.setdefault(merchant_id, _OfMerchant())
        if own.count >= self._settings.event_streams_per_merchant:
            raise LimitExceeded("Too many streams of events are open", retry_after_s=_RETRY_S)
        own.count += 1
        OPEN.inc()
        try:
            yield own
        finally:
            OPEN.dec()
            own.count -= 1
            if not own.count:
                self._merchants.pop(merchant_id, None)


async def _check_still_allowed(request: web.Request) -> None:
    principal, route = await authenticated(request), route_of(request)
    if route is not None:
        check_allowed(principal, route)
