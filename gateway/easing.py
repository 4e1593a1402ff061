"""Answers before processing: X gives a call up after seconds, while an event that is in the inbox can wait.

When so many calls arrive that the machine is busy with answering them, the hosts are asked to ease off for a moment,
again and again while it lasts. They go on at a fraction of their pace, and catch up afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from domain.errors import Unavailable

#: Calls in one group commit, on the mean: below it commits are small because calls are rare.
_CROWDED = 24.0
_SMOOTHING = 0.02
#: A pause of this length between two commits ends a crowd, however large its commits were.
_PAUSE_S = 0.5
_ASK_EVERY_S = 1.0
_EASE_FOR_S = 2.5


class Easeable(Protocol):
    """A host as it is seen from here."""

    async def ease(self, seconds: float) -> None:
        """Process events at a fraction of the pace for so many seconds."""
        ...


class Easing:
    """Watches the size of group commits and asks hosts to ease off while it is large."""

    def __init__(self, hosts: Sequence[Easeable]) -> None:
        self._hosts = hosts
        self._mean = 0.0
        self._asked = self._committed = 0.0
        self._task: asyncio.Task[None] | None = None

    def committed(self, calls: int) -> None:
        """Take note of a group commit of so many calls."""
        now = time.monotonic()
        if now - self._committed > _PAUSE_S:
            self._mean = 0.0
        self._committed = now
        self._mean += _SMOOTHING * (calls - self._mean)
        if self._mean > _CROWDED and now - self._asked > _ASK_EVERY_S and (self._task is None or self._task.done()):
            self._asked = now
            self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        answers = await asyncio.gather(*(host.ease(_EASE_FOR_S) for host in self._hosts), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Unavailable):
                raise answer

    async def close(self) -> None:
        """Ask nobody any more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
