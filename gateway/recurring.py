"""Work that is done again and again, to make up for what a process that died has left undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from pymongo.errors import PyMongoError

from domain.ended import ended
from domain.errors import MktxError
from gateway.metrics import UNHANDLED_ERRORS

log = structlog.get_logger()

#: A process that died is started again, and begins with all of this: the repetition is for what failed.
_EVERY_S = 30.0


class Recurring:
    """Does `work` at once, and again some seconds after it was done; what fails is only put off."""

    def __init__(self, name: str, work: Callable[[], Awaitable[object]], *, every_s: float = _EVERY_S) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._do_for_ever(), name=self._name)

    async def stop(self) -> None:
        """Cut off what is being done, and do it no more."""
        await ended(self._task)

    async def _do_for_ever(self) -> None:
        while True:
            try:
                await self._work()
            except (PyMongoError, MktxError) as error:
                log.warning("recurring.put_off", work=self._name, error=type(error).__name__)
            except Exception as error:
                # Else it would not be done again as long as the process lives.
                UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
                log.exception("recurring.broke", work=self._name)
            await asyncio.sleep(self._every_s)
