"""Tells hosts that there is something in the inbox; the events themselves they read from the database.

One ring a host is under way at a time, and a host answers it when it has drained its part of the inbox: a busy host is
not rung again and again, an idle one is rung at once. One that can't be reached is rung until it can: it may be there
all along, and not look by itself for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from domain.errors import Unavailable
from domain.partition import host_of_lane

_AGAIN_S = 1.0


class Ringable(Protocol):
    """A host as the doorbell sees it."""

    async def ring(self) -> None:
        """Return when the host has dealt with what was in the inbox."""
        ...


class Doorbell:
    """Rings the hosts whose lanes have got something."""

    def __init__(self, hosts: Sequence[Ringable], *, again_s: float = _AGAIN_S) -> None:
        self._hosts = hosts
        self._again_s = again_s
        self._news = [False] * len(hosts)
        self._ringing: dict[int, asyncio.Task[None]] = {}

    def stored(self, lanes: Iterable[int]) -> None:
        """Take note of events that are in these lanes of the inbox now."""
        count = len(self._hosts)
        for index in {host_of_lane(lane, count) for lane in lanes}:
            self._news[index] = True
            if index not in self._ringing:
                self._ringing[index] = asyncio.create_task(self._ring(index))

    async def _ring(self, index: int) -> None:
        try:
            while self._news[index]:
                self._news[index] = False
                try:
                    await self._hosts[index].ring()
                except Unavailable:
                    self._news[index] = True
                    await asyncio.sleep(self._again_s)
        finally:
            del self._ringing[index]

    async def close(self) -> None:
        """Ring nobody any more."""
        for task in list(self._ringing.values()):
            task.cancel()
        await asyncio.gather(*self._ringing.values(), return_exceptions=True)
