"""On which days a contact was active, so that distinct contacts of any period can be counted from sums.

For each day (UTC) on which a contact is active it is kept which day it was active before: then as many contacts were
active in a period as were active on one of its days and before that not since the period began. A contact remembers
its newest days; an event that comes late finds its place among them, and what was counted of the day after it is set
right. An event that is older than all days that are remembered changes nothing, where there may be older ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

#: Days that a contact remembers, the newest.
MOST_DAYS = 8
#: In the place of the day before, where there was none; it comes before every day.
NEVER = "0"

#: How many contacts were active on the first of two days, and before that on the second (`2026-01-18`, `0`).
Pairs: TypeAlias = Counter[tuple[str, str]]


def day_of(moment: datetime) -> str:
    """Return the day (UTC) of a moment, as `2026-01-18`."""
    return day_of_number(int(moment.timestamp() // 86_400))


@lru_cache(maxsize=1_000)
def day_of_number(number: int) -> str:
    """Return the day (UTC) of a number of days since 1970."""
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def add_days(known: Sequence[str], news: Iterable[str]) -> tuple[list[str], Pairs]:
    """Return the days that a contact remembers once it was active on some more, and what that changes.

    Args:
        known: the days that it remembers, in order.
        news: days on which it was active, in any order, known ones too.
    """
    days, pairs = list(known), Pairs()
    for day in sorted({*news}.difference(known)):
        if len(days) == MOST_DAYS and day < days[0]:
            continue
        place = sum(each < day for each in days)
        before = days[place - 1] if place else NEVER
        pairs[day, before] += 1
        if place < len(days):
            pairs[days[place], before] -= 1
            pairs[days[place], day] += 1
        days = [*days[:place], day, *days[place:]][-MOST_DAYS:]
    return days, Pairs({pair: count for pair, count in pairs.items() if count})


def pairs_of(days: Iterable[str]) -> Pairs:
    """Return what is counted of a contact that was active on these days and no others."""
    ordered = sorted(set(days))
    return Pairs(dict.fromkeys(zip(ordered, [NEVER, *ordered], strict=False), 1))
