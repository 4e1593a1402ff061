"""Takes up events whose account has been connected since they came.

Connecting an account does so at once. Where the process died in between, or events were being put aside at that very
moment, this makes up for it.
"""

from __future__ import annotations

import asyncio

import structlog
from pymongo.errors import PyMongoError

from domain.clock import Clock
from storage.dead_letters import DeadLetters

log = structlog.get_logger()

_LOOK_S = 10.0


class UnroutedEvents:
    """Looks after the dead letters of connected accounts; one gateway of a deployment does."""

    def __init__(self, letters: DeadLetters, clock: Clock) -> None:
        self._letters = letters
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_for_ever())

    async def stop(self) -> None:
        """Look no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await self._letters.revive_all(self._clock.now())
            except PyMongoError as error:
                log.warning("dead_letters.unread", error=type(error).__name__)
            await asyncio.sleep(_LOOK_S)
