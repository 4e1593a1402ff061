"""How a benchmark runs and ends: SIGTERM and Ctrl-C alike stop what it started before it goes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine

_STOPPED = 130


def run(work: Coroutine[None, None, int]) -> int:
    """Run a benchmark to its end and return its exit code."""

    async def watched() -> int:
        task = asyncio.create_task(work)
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        return _STOPPED
