"""Room for people in X's 15 minutes.

A campaign would use every call of each quarter of an hour, and an answer of a person would wait for up to 16 minutes.
So the share that is kept back for people (contract, part 5, "Campaigns") is kept of this window too.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from domain.send_windows import CAMPAIGN, SendWindows, WindowState

#: A call leaves its window up to a minute late: counts are kept by the minute (domain.send_windows).
_WINDOW = timedelta(minutes=16)


def campaign_free_at(windows: SendWindows, now: datetime, reserve: float) -> datetime:
    """Return when a message of a campaign may be claimed; `now` if at once. `reserve` is people's share, 0 to 1."""
    free = windows.next_free_at(now, CAMPAIGN)
    if free > now:
        return free
    window = _quarter_hour(windows, now)
    return now if window.used < _share(window, reserve) else max(now, window.resets_at or now)


def campaign_done_at(windows: SendWindows, now: datetime, count: int, reserve: float) -> datetime:
    """Return when the last of `count` messages of a campaign can be claimed, as far as X's 15 minutes decide it."""
    window = _quarter_hour(windows, now)
    share = _share(window, reserve)
    waiting = max(0, count - max(0, share - window.used))
    return now + -(-waiting // share) * _WINDOW


def _quarter_hour(windows: SendWindows, now: datetime) -> WindowState:
    return next(window for window in windows.describe(now) if window.name == "x15min")


def _share(window: WindowState, reserve: float) -> int:
    """Return how many calls campaigns may make in a window: something is always left to them."""
    return max(1, window.limit - int(window.limit * reserve))
