from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.events.announcements import Announcement, frame
from gateway.events.kinds import RESET
from storage.change_position import Position


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody listens for; nothing named means everything."""

    merchant_id: str
    events: frozenset[str] | None = None
    account_id: str | None = None

    def includes(self, announcement: Announcement) -> bool:
        """Whether an event is to be told to whom this is of."""
        return (
            announcement.merchant_id == self.merchant_id
            and (self.events is None or announcement.event in self.events)
            and (self.account_id is None or announcement.account_id == self.account_id)
        )


class Subscriber:
    """One who listens: the events that wait to be sent, up to a number of bytes.

    `position` is up to where events have been taken in; what is not after it is not taken a second time.
    """

    def __init__(self, wanted: Wanted, position: Position, most_bytes: int, overflow: Callable[[], None]) -> None:
        """Make one who listens from a position on; `overflow` is called when more waits than may."""
        self.wanted = wanted
        self.position = position
        self._most_bytes = most_bytes
        self._overflow = overflow
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._news = asyncio.Event()

    def offer(self, announcement: Announcement) -> None:
        """Take an event that is new and wanted."""
        if announcement.position > self.position:
            self.position = announcement.position
            if self.wanted.includes(announcement):
                self._put(announcement.frame)

    def advance(self, position: Position) -> None:
        """Note that all events up to a position have been offered."""
        self.position = max(self.position, position)

    def reset(self, position: Position) -> None:
        """Tell that events up to a position are lost."""
        self.position = position
        self._put(frame(position, RESET, b"{}"))

    async def take(self) -> bytes:
        """Return everything that waits, as soon as there is something."""
        await self._news.wait()
        return self.take_now()

    def take_now(self) -> bytes:
        """Return what waits, which may be nothing."""
        self._news.clear()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        return b"".join(waiting)

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)
        self._news.set()
        if self._bytes > self._most_bytes:
            self._overflow()
