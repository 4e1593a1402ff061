from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

from domain.errors import MktxError
from gateway.metrics import UNHANDLED_ERRORS

log = structlog.get_logger()


class Background:
    """Work that goes on after its request was answered; what it does must be safe to be cut off."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[object, object, object]) -> None:
        """Start some work; its failure is logged."""
        task = asyncio.create_task(self._guarded(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut off what is still going on."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, name: str, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except MktxError as error:
            log.warning("background.failed", work=name, code=error.code, reason=error.message)
        except Exception as error:
            UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
            log.exception("background.broke", work=name)
