"""Ending work that goes on for ever."""

from __future__ import annotations

import asyncio

_AGAIN_S = 0.5


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task until it has ended; its errors are its own.

    Once is not always enough: a driver's call that is cancelled may end with an error of the driver, which the task
    takes for trouble that passes, and goes on.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if task is not None and not task.cancelled():
        # Looked at, so that it is not reported as overlooked.
        task.exception()
