"""Reads a stream of changes ahead of who works on them: what comes meanwhile is taken together with the next.

A task that waits for the database may miss that it was cancelled: the driver can lose it. So the reader is told to end
by a flag too, which it sees as soon as the server has answered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from domain.ended import ended
from storage.change_position import Position
from storage.changes import Change, ChangesFrom

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream has ended with an error."""

    error: Exception


#: A position says that nothing of interest has happened up to there.
Read: TypeAlias = Change | Position | Broken


class ChangeReader:
    """Reads a stream until it is told to stop, up to a batch ahead."""

    def __init__(self, stream: ChangesFrom) -> None:
        self._stream = stream
        self._read: asyncio.Queue[Read] = asyncio.Queue(_BATCH)
        self._is_over = False
        self._task = asyncio.create_task(self._read_all())

    async def taken(self) -> list[Read]:
        """Return everything that was read, as soon as there is something."""
        batch = [await self._read.get()]
        while not self._read.empty():
            batch.append(self._read.get_nowait())
        return batch

    def nudge(self) -> None:
        """Have `taken` return, also where there is nothing new."""
        if self._read.empty():
            self._read.put_nowait(self._stream.position)

    async def stop(self) -> None:
        """Read no more."""
        self._is_over = True
        await ended(self._task)

    async def _read_all(self) -> None:
        try:
            while not self._is_over:
                change = await self._stream.next()
                await self._read.put(self._stream.position if change is None else change)
        except Exception as error:  # noqa: BLE001  # raised where the stream is followed
            await self._read.put(Broken(error))
