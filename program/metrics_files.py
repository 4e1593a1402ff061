"""The folder in which every process of this machine keeps its metrics, and what dead processes leave in it.

A process that has ended has counted what it has counted: its counters stay. What it said of the present (streams that
are open, actors in memory) is true no more, and is removed. Hosts are Ray's children and end without our being told,
so the folder is looked through again and again.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

log = structlog.get_logger()

#: The variable by which the library is told of the folder.
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_EVERY_S = 2.0
_PRESENT = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


class MetricsFiles:
    """Keeps the folder free of what is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._task: asyncio.Task[None] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a child process is to be started with."""
        return {VARIABLE: str(self._folder)}

    def start(self) -> None:
        """Make the folder, empty it of an earlier run, and begin to look after it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob("*.db"):
            left.unlink()
        self._task = asyncio.create_task(self._look_for_ever())

    async def stop(self) -> None:
        """Look after it no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        """Remove what processes that have ended said of the present."""
        named = (_PRESENT.fullmatch(path.name) for path in self._folder.glob("gauge_live*.db"))
        for pid in {int(match[1]) for match in named if match}:
            if not _is_alive(pid):
                mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]  # the library has no types here
                log.info("metrics.process_ended", pid=pid)

    async def _look_for_ever(self) -> None:
        while True:
            try:
                self.look()
            except OSError as error:
                # Without this the numbers of the dead would stay for as long as the program runs.
                log.warning("metrics.not_cleaned", error=type(error).__name__)
            await asyncio.sleep(_EVERY_S)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
