"""Wakes actors when their reminders are due.

Reminders are documents. Each host reads those of its partitions that are due within the next seconds and keeps them in
memory until then; when the actor has dealt with one, its document is deleted. A host that dies in between leaves the
document to its successor, so a reminder may come twice but is never lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from actors.runtime.host import ActorHost
from actors.runtime.wire import Call, Outcome
from domain.clock import Clock
from domain.ended import ended
from domain.errors import Unavailable
from domain.reminder import Reminder

log = structlog.get_logger()

_AHEAD_S = 3.0
_READ_EVERY_S = 2.0
_AGAIN_S = 5.0
_MOST_AT_ONCE = 2000
#: Reminders in memory, those being delivered among them; what is due beyond that waits in the database.
_MOST_IN_MEMORY = 10_000
_CALL_S = 300.0


class ReminderStore(Protocol):
    """Where reminders are kept; raises `Unavailable` when it is not to be reached."""

    async def due(
        self, partitions: range, until: datetime, limit: int, after: Reminder | None = None
    ) -> Sequence[Reminder]:
        """Return the reminders of these partitions that are due by then, the earliest first, from after one on."""
        ...

    async def done(self, reminder: Reminder) -> None:
        """Forget a reminder that its actor has dealt with."""
        ...


class ReminderService:
    """Reads and delivers the reminders of one host's partitions."""

    def __init__(
        self,
        store: ReminderStore,
        host: ActorHost,
        partitions: range,
        clock: Clock,
        *,
        read_every_s: float = _READ_EVERY_S,
        most_at_once: int = _MOST_AT_ONCE,
        most_in_memory: int = _MOST_IN_MEMORY,
    ) -> None:
        self._store = store
        self._host = host
        self._partitions = partitions
        self._clock = clock
        self._read_every_s = read_every_s
        self._most_at_once = most_at_once
        self._most_in_memory = most_in_memory
        self._room = asyncio.Event()
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        #: What has ended since the read under way was asked for, which may show it still.
        self._ended_meanwhile: set[tuple[str, datetime]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for reminders."""
        self._task = asyncio.create_task(self._read_for_ever())

    async def stop(self) -> None:
        """Wake nobody any more; what is due stays in the database."""
        await ended(self._task)
        for handle in self._waiting.values():
            handle.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self.read()
            except Unavailable as error:
                log.warning("reminders.unavailable", error=type(error).__name__)
            await asyncio.sleep(self._read_every_s)

    async def read(self) -> None:
        """Take into memory what is due within the next seconds, as far as there is room.

        What was not read because of that has waited longest, and is what is read next.
        """
        last: Reminder | None = None
        while True:
            while len(self._waiting) >= self._most_in_memory:
                self._room.clear()
                await self._room.wait()
            now = self._clock.now()
            until = now + timedelta(seconds=_AHEAD_S)
            self._ended_meanwhile.clear()
            found = await self._store.due(self._partitions, until, self._most_at_once, last)
            for reminder in found:
                if reminder.id not in self._waiting and (reminder.id, reminder.due_at) not in self._ended_meanwhile:
                    delay = max(0.0, (reminder.due_at - now).total_seconds())
                    self._waiting[reminder.id] = asyncio.get_running_loop().call_later(delay, self._deliver, reminder)
            if len(found) < self._most_at_once:
                return
            last = found[-1]

    def _deliver(self, reminder: Reminder) -> None:
        def answered(outcome: Outcome) -> None:
            task = asyncio.get_running_loop().create_task(self._end(reminder, outcome))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        args = (reminder.name, reminder.payload)
        deadline = time.time() + _CALL_S
        self._host.dispatch(Call(0, reminder.kind, reminder.key, "on_reminder", args, None, deadline), answered)

    async def _end(self, reminder: Reminder, outcome: Outcome) -> None:
        again_s = 0.0
        if outcome.failed:
            error = type(outcome.value).__name__
            log.warning("reminder.failed", kind=reminder.kind, name=reminder.name, error=error)
            again_s = _AGAIN_S
        else:
            try:
                await self._store.done(reminder)
                self._ended_meanwhile.add((reminder.id, reminder.due_at))
            except Unavailable as error:
                log.warning("reminder.not_ended", error=type(error).__name__)
        # Once it is forgotten here, it is read again if its document is still there.
        asyncio.get_running_loop().call_later(again_s, self._forget, reminder.id)

    def _forget(self, reminder_id: str) -> None:
        self._waiting.pop(reminder_id, None)
        self._room.set()
