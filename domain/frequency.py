"""How often and at what hours a contact is written to by campaigns: a cap a week, and hours of the night to keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from domain.campaign_outcomes import MOST_REMEMBERED

#: The highest cap that can be kept: a contact remembers twice as many campaigns, those that it was held back from too.
HIGHEST_CAP = MOST_REMEMBERED // 2
_WEEK = timedelta(days=7)
#: A local day can be missing altogether where an island changes sides of the date line.
_DAYS = range(4)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours in which no campaign writes, by the contact's clock: from `start` to before `end`, over midnight or not.

    `timezone` is that of contacts who have none of their own.
    """

    start: time
    end: time
    timezone: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, str | None]) -> QuietHours:
        """Return the quiet hours of an account's document: `start` and `end` as HH:MM (24:00 too), `timezone`."""
        return cls(_time_of(document["start"]), _time_of(document["end"]), document.get("timezone"))

    def hold(self, at: time) -> bool:
        """Whether it is quiet at this time of day."""
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


def over_cap(recent_sent: Sequence[datetime], now: datetime, per_week: int) -> bool:
    """Whether a contact that was sent messages at these times has had its share of the last seven days; 0: no cap."""
    return per_week > 0 and sum(1 for at in recent_sent if now - at < _WEEK) >= per_week


def next_allowed(now: datetime, zone: ZoneInfo, quiet: QuietHours) -> datetime:
    """Return the next moment, in UTC, that is not in the quiet hours by a zone's clock: now, or when they end.

    Where the clock is put forward over the end, it is the moment that the end would have been.
    """
    now = now.astimezone(UTC)
    local = now.astimezone(zone)
    if not quiet.hold(local.time()):
        return now
    ends = (
        datetime.combine(local.date() + timedelta(days=days), quiet.end, zone).replace(fold=fold).astimezone(UTC)
        for days in _DAYS
        for fold in (0, 1)
    )
    return min(end for end in ends if end > now and not quiet.hold(end.astimezone(zone).time()))


def zone_of(names: Iterable[object]) -> ZoneInfo:
    """Return the first of these that is a time zone of the IANA database, or UTC."""
    known = _zones()
    return ZoneInfo(next((name for name in names if isinstance(name, str) and name in known), "UTC"))


def _time_of(text: str | None) -> time:
    return time() if text is None or text == "24:00" else time.fromisoformat(text)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
