"""The one change stream of a gateway process, handed out to everybody who listens to it.

It is open while somebody listens, and goes on after errors from where it was. What is read is put together while the
batch before it is being worked on, so that a busy stream costs few reads of the database.

A task that waits for the database may miss that it was cancelled: the driver can lose it. So what is to end is told so
by a flag too, which it sees as soon as the server has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from pymongo.errors import PyMongoError

from domain.errors import Unavailable
from gateway.events.announcements import announce
from gateway.events.subscriber import Subscriber
from gateway.metrics import UNHANDLED_ERRORS
from storage.change_position import Position
from storage.change_reader import Broken, ChangeReader, Read
from storage.changes import Change, Changes, HistoryLost

log = structlog.get_logger()

_OPEN_S = 5.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


@dataclass(slots=True)
class _Run:
    """The stream from its first listener to its last one.

    Up to `frontier` changes are being handed out: who comes now is offered what is after it. Up to `offered` they have
    been.
    """

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    frontier: Position | None = None
    offered: Position | None = None
    is_over: bool = False
    task: asyncio.Task[None] | None = None


class Feed:
    """Follows the changes and offers them to subscribers as events."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._subscribers: dict[str, set[Subscriber]] = {}
        self._attending = 0
        self._run: _Run | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether the change stream is open, or about to be."""
        return self._run is not None or bool(self._ending)

    @property
    def frontier(self) -> Position:
        """The position after which a subscriber that is added now is offered everything.

        Raises:
            Unavailable: when the stream is not open.
        """
        if self._run is None or self._run.frontier is None:
            raise Unavailable("The stream of changes is not open", retry_after_s=2)
        return self._run.frontier

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Keep the stream open.

        Raises:
            Unavailable: when it can't be opened in time.
        """
        self._attending += 1
        try:
            if self._run is None:
                self._run = _Run()
                self._run.task = asyncio.create_task(self._follow(self._run))
            try:
                await asyncio.wait_for(self._run.opened.wait(), _OPEN_S)
            except TimeoutError:
                raise Unavailable("The stream of changes can't be opened", retry_after_s=2) from None
            yield
        finally:
            self._attending -= 1
            if not self._attending:
                self._end()

    def add(self, subscriber: Subscriber) -> None:
        """Offer a subscriber everything after the frontier from now on."""
        self._subscribers.setdefault(subscriber.wanted.merchant_id, set()).add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Offer a subscriber nothing any more."""
        of_merchant = self._subscribers.get(subscriber.wanted.merchant_id, set())
        of_merchant.discard(subscriber)
        if not of_merchant:
            self._subscribers.pop(subscriber.wanted.merchant_id, None)

    async def ended(self) -> None:
        """Wait until the streams that nobody attends any more are closed."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self) -> None:
        run, self._run = self._run, None
        if run is not None and run.task is not None:
            run.is_over = True
            self._ending.add(run.task)
            run.task.add_done_callback(self._ending.discard)
            run.task.cancel()

    async def _follow(self, run: _Run) -> None:
        """Follow the changes until told to end; after an error go on where it was, or else say that some are lost."""
        pause = _FIRST_PAUSE_S
        while not run.is_over:
            before = run.offered
            try:
                await self._follow_once(run)
            except HistoryLost as error:
                log.warning("events.history_lost", reason=str(error))
                run.offered = None
            except PyMongoError as error:
                log.warning("events.interrupted", error=type(error).__name__)
            except Exception as error:
                UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
                log.exception("events.broke")
                # What broke it would break it again.
                run.offered = None
            pause = _FIRST_PAUSE_S if run.offered != before else min(pause * 2, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _follow_once(self, run: _Run) -> None:
        async with self._changes.open(run.offered) as stream:
            if run.is_over:
                return
            position = stream.position
            if run.offered is None:
                run.frontier = position
                for subscriber in self._everybody():
                    subscriber.reset(position)
            run.offered = position
            run.opened.set()
            reader = ChangeReader(stream)
            try:
                while not run.is_over:
                    await self._hand_out(await reader.taken(), run)
            finally:
                await reader.stop()

    async def _hand_out(self, batch: list[Read], run: _Run) -> None:
        changes = [each for each in batch if isinstance(each, Change)]
        positions = [*(change.position for change in changes), *(each for each in batch if isinstance(each, Position))]
        if positions:
            position = max(positions)
            # Who comes while the documents are being read would miss some of them here, and must begin after them.
            run.frontier = max(run.frontier or position, position)
            announcements = await announce(self._changes, changes, set(self._subscribers), as_they_were=True)
            if run.is_over:
                # Another run may have begun, to which none of this belongs.
                return
            for announcement in announcements:
                for subscriber in tuple(self._subscribers.get(announcement.merchant_id, ())):
                    subscriber.offer(announcement)
            for subscriber in self._everybody():
                subscriber.advance(position)
            run.offered = position
        for each in batch:
            if isinstance(each, Broken):
                raise each.error

    def _everybody(self) -> list[Subscriber]:
        return [subscriber for subscribers in self._subscribers.values() for subscriber in subscribers]
