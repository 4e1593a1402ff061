"""When a flow with a schedule comes (contract, part 5, "Flows")."""

from __future__ import annotations

from datetime import datetime

from domain.flow_triggers import OnSchedule
from domain.recurrence import Recurrence


def next_time(schedule: OnSchedule, after: datetime) -> datetime | None:
    """Return the first time after a moment, in UTC; None when there is none any more."""
    if schedule.recurrence is None:
        return schedule.start_at if schedule.start_at > after else None
    return Recurrence.parse(schedule.recurrence, schedule.start_at, schedule.timezone).next_after(after)
