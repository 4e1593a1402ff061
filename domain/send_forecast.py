"""When many more messages will have been claimed: the windows of an account, played ahead.

Exact for the first four days of claims. By then they come in a pattern, since each claim waits for one that leaves a
window: as many messages as a day allows take as long as the same number before them. So the rest is reckoned in whole
such rounds, and only what is left of the last one is played again. Moments are seconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MINUTE_S = 60
_DAY_S = 24 * 60 * 60
_PLAYED_S = 4 * _DAY_S
#: How much of what was played is a round where no window of a day is ever full: then bursts come again and again.
_BURSTS_S = 3 * _DAY_S
#: A window of a day that is full passes its limit in hardly more than a day: counts are kept by the minute.
_FULL_DAY_S = _DAY_S + 20 * _MINUTE_S


class RollingWindow:
    """So many claims in any span of `length` seconds; `counts` are (minute, count) of those that there were."""

    def __init__(self, length: int, limit: int, counts: Iterable[tuple[int, int]]) -> None:
        self.length = length
        self.limit = limit
        self._claims = deque(sorted((self._leaves(minute), count) for minute, count in counts if count))
        self._used = sum(count for _, count in self._claims)

    def free_at(self, at: int) -> int:
        """Return the first moment from `at` on that has room; what has left by then is forgotten."""
        while self._claims and (self._claims[0][0] <= at or self._used >= self.limit):
            leaves, count = self._claims.popleft()
            self._used -= count
            at = max(at, leaves)
        return at

    def room(self) -> int:
        """Return how many claims there is room for at the moment last asked for."""
        return self.limit - self._used

    def claim(self, at: int, count: int) -> None:
        """Count claims at a moment that is free."""
        leaves = self._leaves(at // _MINUTE_S)
        there = 0
        if self._claims and self._claims[-1][0] >= leaves:
            leaves, there = self._claims.pop()
        self._claims.append((leaves, there + count))
        self._used += count

    def _leaves(self, minute: int) -> int:
        return (minute + 1) * _MINUTE_S + self.length


@dataclass(slots=True)
class ReportedRoom:
    """What X has last said is left until a moment; nothing is known of what comes after it."""

    remaining: int
    until: int


class Forecast:
    """Plays claims of one priority ahead; used once."""

    def __init__(self, windows: Sequence[RollingWindow], reports: Sequence[ReportedRoom], not_before: int) -> None:
        self._windows = windows
        self._reports = reports
        self._not_before = not_before
        # All claims so far, after each moment at which there were some.
        self._moments: list[int] = []
        self._totals: list[int] = []

    def finish_at(self, now: int, count: int) -> int:
        """Return when the last of `count` claims is made, if each is made as soon as it may be; `now` for none."""
        at, left, left_out_s = now, count, 0
        is_known = False
        while left > 0:
            at = self._free_at(at)
            if not is_known and self._has_pattern(at):
                is_known = True
                size, length = self._round()
                rounds = (left - 1) // size
                left -= rounds * size
                left_out_s = rounds * length
            left -= self._claim(at, left)
        return at + left_out_s

    def _has_pattern(self, at: int) -> bool:
        # From when on nothing but the windows holds: each of them has room again within a day.
        begin = max([*self._moments[:1], *(report.until for report in self._reports)], default=at)
        return bool(self._moments) and at - begin >= _PLAYED_S

    def _free_at(self, at: int) -> int:
        at = max(at, self._not_before)
        for report in self._reports:
            if report.remaining <= 0:
                at = max(at, report.until)
        free = at
        # What one window waits for makes the others only freer.
        for window in self._windows:
            free = max(free, window.free_at(at))
        return free

    def _claim(self, at: int, most: int) -> int:
        for window in self._windows:
            window.free_at(at)
        known = [report for report in self._reports if at < report.until]
        count = min([most, *(window.room() for window in self._windows), *(report.remaining for report in known)])
        for window in self._windows:
            window.claim(at, count)
        for report in known:
            report.remaining -= count
        self._moments.append(at)
        self._totals.append((self._totals[-1] if self._totals else 0) + count)
        return count

    def _round(self) -> tuple[int, int]:
        """Return how many claims the pattern has before it comes again, and how long they take."""
        total, last = self._totals[-1], self._moments[-1]
        size = min(window.limit for window in self._windows if window.length == _DAY_S)
        if size >= total or last - self._moment_of(total - size) > _FULL_DAY_S:
            size = total - self._totals[bisect_left(self._moments, last - _BURSTS_S)]
        return size, last - self._moment_of(total - size)

    def _moment_of(self, number: int) -> int:
        """Return when a claim was made, counted from 1."""
        return self._moments[bisect_left(self._totals, number)]
