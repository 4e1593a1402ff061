from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import hdrs, web
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from config.settings import Settings
from domain.errors import NotAllowed, Unauthenticated, Unavailable
from gateway.events.announcements import announce
from gateway.events.feed import Feed
from gateway.events.subscriber import Subscriber, Wanted
from gateway.metrics import UNHANDLED_ERRORS
from storage.change_position import Position, WrongPosition
from storage.changes import Change, Changes, HistoryLost

log = structlog.get_logger()

CUT_OFF = Counter("mktx_event_streams_cut_off_total", "Streams of events that were ended because they were not read.")

LAST_EVENT_ID: Final = "Last-Event-ID"
MEDIA: Final = "text/event-stream"
_HEADERS = {
    hdrs.CONTENT_TYPE: MEDIA,
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    # Proxies that collect an answer before they pass it on (nginx) are told not to.
    "X-Accel-Buffering": "no",
}
_HELLO = b"retry: 3000\n\n"
#: How long a client may take to read what is written at once, and to be told what it has missed.
_WRITE_S = 30.0
_CATCH_UP_S = 60.0
_CATCH_UP_WAIT_MS = 50
#: How far ahead of this process another one that has given the id may be.
_MOST_AHEAD_S = 60


class _TooSlowError(Exception):
    """The client does not read."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a stream's events come from: the shared feed, and streams of its own for what it has missed."""

    feed: Feed
    changes: Changes
    #: How many of a merchant's streams may catch up at a time.
    gate: asyncio.Semaphore


class EventStream:
    """One client's stream, from its head to its end."""

    def __init__(
        self,
        request: web.Request,
        wanted: Wanted,
        sources: Sources,
        settings: Settings,
        allowed: Callable[[], Awaitable[object]],
    ) -> None:
        """Make a stream; `allowed` raises `Unauthenticated` or `NotAllowed` once the caller may not listen any more."""
        self._request = request
        self._wanted = wanted
        self._feed = sources.feed
        self._sources = sources
        self._settings = settings
        self._allowed = allowed
        self._response = web.StreamResponse(headers=_HEADERS)
        self._subscriber: Subscriber | None = None
        self._scope: asyncio.Timeout | None = None
        self._is_over = False
        self._is_cut_off = False

    async def run(self) -> web.StreamResponse:
        """Send events until the client goes, does not read or may not listen any more, or the time is over."""
        try:
            await self._response.prepare(self._request)
            async with asyncio.timeout(self._settings.event_stream_lifetime_s) as self._scope:
                await self._listen(await self._begin())
        except TimeoutError:
            # It has lasted as long as it may, or was ended from outside.
            log.debug("events.over")
        except ConnectionError:
            log.debug("events.client_gone")
        except (Unauthenticated, NotAllowed) as error:
            log.info("events.not_allowed_any_more", code=error.code)
        except _TooSlowError:
            self._is_cut_off = True
        except (PyMongoError, Unavailable) as error:
            log.warning("events.ended", error=type(error).__name__)
        except Exception as error:
            # The head is sent: no other answer can be given.
            UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
            log.exception("events.stream_broke")
        finally:
            self._scope = None
            if self._subscriber is not None:
                self._feed.remove(self._subscriber)
        await self._close()
        return self._response

    def end(self) -> None:
        """End the stream now, whatever it is waiting for."""
        self._is_over = True
        scope = self._scope
        if scope is not None and not scope.expired():
            scope.reschedule(asyncio.get_running_loop().time())

    def _cut_off(self) -> None:
        self._is_cut_off = True
        self.end()

    async def _close(self) -> None:
        transport = self._request.transport
        if self._is_cut_off:
            CUT_OFF.inc()
            log.info("events.cut_off")
        if transport is None:
            return
        if self._is_cut_off or transport.get_write_buffer_size():
            # Saying good-bye would have to wait for a client that does not read.
            transport.abort()
            return
        try:
            await self._response.write_eof()
        except ConnectionError:
            log.debug("events.client_gone")

    async def _begin(self) -> Subscriber:
        """Return the subscriber that goes on where the client was."""
        await self._write(_HELLO)
        last = self._request.headers.get(LAST_EVENT_ID, "")
        try:
            if not last:
                subscriber = self._join(self._feed.frontier)
                await self._write(_mark(subscriber.position))
                return subscriber
            return await self._resume(Position.parse(last))
        except (WrongPosition, HistoryLost) as error:
            log.info("events.reset", reason=str(error))
            subscriber = self._subscriber or self._join(self._feed.frontier)
            subscriber.reset(max(subscriber.position, self._feed.frontier))
            return subscriber

    async def _resume(self, since: Position) -> Subscriber:
        """Tell what has happened since a position, and join the feed without a gap and without telling anything twice.

        Raises:
            WrongPosition: when it is in the future.
            HistoryLost: when it is too long ago, or too much has happened.
        """
        frontier = self._feed.frontier
        if since.time.time > frontier.time.time + _MOST_AHEAD_S:
            raise WrongPosition("is in the future")
        if since >= frontier:
            return self._join(since)
        async with self._sources.gate:
            patience = asyncio.timeout(_CATCH_UP_S)
            try:
                async with patience:
                    return await self._catch_up(since)
            except TimeoutError:
                if patience.expired():
                    raise _TooSlowError from None
                raise

    async def _catch_up(self, since: Position) -> Subscriber:
        seen, joined, target = 0, None, self._feed.frontier
        async with self._sources.changes.open(since, wait_ms=_CATCH_UP_WAIT_MS) as missed:
            while self._goes_on():
                batch = await missed.batch(target)
                # What is after the place where it has joined, the feed offers.
                await self._tell([each for each in batch if joined is None or each.position <= target])
                seen += len(batch)
                if seen > self._settings.event_catch_up:
                    raise HistoryLost("too much has happened")
                if missed.position < target:
                    continue
                if joined is not None:
                    return joined
                target = self._feed.frontier
                if missed.position >= target:
                    return self._join(missed.position)
                joined = self._join(target)
        raise TimeoutError

    async def _tell(self, batch: list[Change]) -> None:
        merchants = {self._wanted.merchant_id}
        found = await announce(self._sources.changes, batch, merchants, as_they_were=False)
        frames = [each.frame for each in found if self._wanted.includes(each)]
        if frames:
            await self._write(b"".join(frames))

    def _join(self, position: Position) -> Subscriber:
        subscriber = Subscriber(self._wanted, position, self._settings.event_buffer_bytes, self._cut_off)
        self._subscriber = subscriber
        self._feed.add(subscriber)
        return subscriber

    async def _listen(self, subscriber: Subscriber) -> None:
        loop, every = asyncio.get_running_loop(), self._settings.event_heartbeat_s
        due = loop.time() + every
        while self._goes_on():
            try:
                async with asyncio.timeout_at(due):
                    data = await subscriber.take()
            except TimeoutError:
                data = subscriber.take_now() or b": heartbeat\n" + _mark(subscriber.position)
            if loop.time() >= due:
                await self._check()
                due = loop.time() + every
            await self._write(data)

    def _goes_on(self) -> bool:
        """Whether the stream has neither lasted enough nor been ended; the driver may have lost the cancellation."""
        return not self._is_over and self._scope is not None and not self._scope.expired()

    async def _check(self) -> None:
        try:
            await self._allowed()
        except (PyMongoError, Unavailable) as error:
            # Nobody can tell at the moment: it is asked again at the next heartbeat.
            log.warning("events.not_checked", error=type(error).__name__)

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._response.write(data)
        except TimeoutError:
            raise _TooSlowError from None


def _mark(position: Position) -> bytes:
    """Return what makes a client resume from a position without telling it anything."""
    return b"id: %b\n\n" % position.text.encode()
