"""Finds what executors of flows have yet to take, in case nobody told them: a host reads the events of its partitions.

Telling an executor is quick but not certain; this is what it may be lost for. What comes in masses, as the starts of a
schedule do, is handed over page by page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from domain.ended import ended
from domain.errors import MktxError
from storage.flow_events import FlowEvents

log = structlog.get_logger()

FOUND = Counter("mktx_flow_contacts_found_total", "Contacts with events that their executors had not taken yet")

_READ_EVERY_S = 10.0
_PAGE = 500


class FlowFeed:
    """Has the executors of one host's contacts take what is there for them; `take` asks one and waits for it."""

    def __init__(
        self,
        events: FlowEvents,
        partitions: range,
        take: Callable[[str], Awaitable[object]],
        *,
        read_every_s: float = _READ_EVERY_S,
    ) -> None:
        self._events = events
        self._partitions = partitions
        self._take = take
        self._read_every_s = read_every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for events."""
        self._task = asyncio.create_task(self._read_for_ever())

    async def stop(self) -> None:
        """Tell nobody any more; what is there stays in the database."""
        await ended(self._task)

    async def read(self) -> None:
        """Go through all events once.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        after, told = "", set[str]()
        while page := await self._events.waiting(self._partitions, after, _PAGE):
            contact_ids = dict.fromkeys(contact_id for _, contact_id in page if contact_id not in told)
            told.update(contact_ids)
            FOUND.inc(len(contact_ids))
            outcomes = await asyncio.gather(*map(self._take, contact_ids), return_exceptions=True)
            self._check(outcomes)
            if len(page) < _PAGE:
                return
            after, _ = page[-1]

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self.read()
            except PyMongoError as error:
                log.warning("flow_feed.unavailable", error=type(error).__name__)
            except Exception as error:
                # Without this loop what a lost call left would be left for ever.
                log.exception("flow_feed.broke", error=type(error).__name__)
            await asyncio.sleep(self._read_every_s)

    @staticmethod
    def _check(outcomes: list[object]) -> None:
        """Let everybody be told again later whose executor could not take it now."""
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            log.warning("flow_feed.not_taken", contacts=len(errors), error=type(errors[0]).__name__)
        for error in errors:
            if not isinstance(error, MktxError):
                raise error
