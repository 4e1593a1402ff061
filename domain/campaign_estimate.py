"""When a campaign will be over, worked out from the limits that really apply (contract, part 5, "Campaigns")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.send_windows import CAMPAIGN, SendWindows

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class LaneWork:
    """What one account still has to do for a campaign, and for each other one that it takes turns with."""

    windows: SendWindows
    remaining: int
    others: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """Messages a minute until the end, and when that is; no moment where nothing remains."""

    rate_per_minute: float
    completion_at: datetime | None


def estimate(lanes: Sequence[LaneWork], now: datetime) -> Estimate:
    """Return when the last of a campaign's accounts is done.

    Campaigns of one account take turns: until this one is done, each other one sends as many, or all that it has.
    """
    busy = [lane for lane in lanes if lane.remaining > 0]
    if not busy:
        return Estimate(0.0, None)
    completion_at = max(lane.windows.finish_at(now, _messages_until_done(lane), CAMPAIGN) for lane in busy)
    minutes = max((completion_at - now).total_seconds() / _MINUTE_S, 1.0)
    return Estimate(round(sum(lane.remaining for lane in busy) / minutes, 2), completion_at)


def _messages_until_done(lane: LaneWork) -> int:
    return lane.remaining + sum(min(other, lane.remaining) for other in lane.others)
