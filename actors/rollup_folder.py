"""Has the sums of days that are over made one document each, from time to time (docs/analytics.md)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from domain.active_days import day_of
from domain.clock import Clock
from domain.ended import ended
from storage.client import Client, Database
from storage.rollup_folding import fold

log = structlog.get_logger()

FOLDED = Counter("mktx_rollup_parts_folded_total", "Parts of days that were made one document with others")

_FOLD_EVERY_S = 3_600.0
#: Events of a day come for a while after it.
_SETTLED = timedelta(days=1)


class RollupFolder:
    """Folds days that have been over for a day; one host does it."""

    def __init__(
        self, client: Client, database: Database, clock: Clock, *, fold_every_s: float = _FOLD_EVERY_S
    ) -> None:
        self._client = client
        self._database = database
        self._clock = clock
        self._fold_every_s = fold_every_s
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fold."""
        self._task = asyncio.create_task(self._fold_for_ever())

    async def stop(self) -> None:
        """Fold nothing any more; what is not folded stays as it is, and counts the same."""
        self._is_stopped = True
        await ended(self._task)

    async def fold(self) -> int:
        """Fold what there is now; returns how many parts there were.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        folded = await fold(self._client, self._database, day_of(self._clock.now() - _SETTLED))
        FOLDED.inc(folded)
        return folded

    async def _fold_for_ever(self) -> None:
        while True:
            try:
                if folded := await self.fold():
                    log.info("rollups.folded", parts=folded)
            except PyMongoError as error:
                log.warning("rollups.unfolded", error=type(error).__name__)
            # A cancellation that meets the end of a call to the database may be taken for the call's own.
            if self._is_stopped:
                return
            await asyncio.sleep(self._fold_every_s)
