"""The one source of time: passed in as an argument, so that tests can own it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Protocol


class Alarm(Protocol):
    """Something that will be called at its moment, unless it is cancelled."""

    def cancel(self) -> None:
        """Call it no more; nothing happens where it has been called."""
        ...


class Clock(Protocol):
    """Answers the present moment, timezone-aware in UTC."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        ...


class Waker(Clock, Protocol):
    """A clock that calls back as well."""

    def call_at(self, moment: datetime, callback: Callable[[], object]) -> Alarm:
        """Call back on the running event loop once a moment has come, never at once."""
        ...


class SystemClock:
    """The machine's clock, cut to the milliseconds that MongoDB keeps."""

    def now(self) -> datetime:
        """Return the present moment in UTC, in whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def call_at(self, moment: datetime, callback: Callable[[], object]) -> Alarm:
        """Call back on the running event loop once a moment has come, never at once."""
        delay = (moment - self.now()).total_seconds()
        return asyncio.get_running_loop().call_later(max(0.0, delay), callback)


@dataclass(slots=True, order=True)
class _Alarm:
    moment: datetime
    number: int
    callback: Callable[[], object] | None = field(compare=False)

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until it is told otherwise, and calls back while it is set forward."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._alarms: list[_Alarm] = []
        self._numbers = count()

    def now(self) -> datetime:
        """Return the moment it was last set to."""
        return self._now

    def call_at(self, moment: datetime, callback: Callable[[], object]) -> Alarm:
        """Call back once the clock is set to a moment, or beyond it."""
        alarm = _Alarm(moment, next(self._numbers), callback)
        heapq.heappush(self._alarms, alarm)
        return alarm

    def next_alarm(self) -> datetime | None:
        """Return the moment of the next call, None when nobody is to be called."""
        while self._alarms and self._alarms[0].callback is None:
            heapq.heappop(self._alarms)
        return self._alarms[0].moment if self._alarms else None

    def set(self, moment: datetime) -> None:
        """Go to a moment, and call whoever wanted to be called by then, each at its own moment."""
        while (due := self.next_alarm()) is not None and due <= moment:
            alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, due)
            if alarm.callback is not None:
                alarm.callback()
        self._now = moment
