"""The sums that analytics are answered from, written in the transaction of what they count (docs/analytics.md).

A day (UTC) of a merchant, an account or a flow is one document, with a part for each writer: transactions of writers
side by side don't wait for each other. What is shown is the sum of the parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zlib import crc32

from pymongo import UpdateOne

from domain.rollup import Counts, Place, Tally, account_scope, counts_messages
from storage.client import Database, Document, Session, aggregated

COLLECTION: Final = "rollups"
#: Parts for writers of which many may be at it side by side.
_SHARED_PARTS = 4
_BATCH = 1_000
_WHOLE: Final = "whole"
_NOTHING: Mapping[str, Any] = {}


def shared_part(key: str) -> str:
    """Return the part for a writer that has no name of its own, by the id of what it writes to."""
    return f"shared{crc32(key.encode()) % _SHARED_PARTS}"


async def add_in(
    database: Database, session: Session, tally: Tally, part: str, *, collection: str = COLLECTION
) -> None:
    """Within a transaction: add up what it counts, under a part of the days concerned."""
    await write_in(database, session, tally.places, part, collection=collection)


def whole_id(place: Place) -> str:
    """Return the id of the document that the parts of a day become once it is over."""
    return f"{place.merchant_id}|{place.scope}|{place.day}|{_WHOLE}"


def add_sums(key: str, merchant_id: str, counts: Counts) -> UpdateOne:
    """Return the write that adds sums to a document that holds a day."""
    changes = {path: count for path, count in counts.items() if count}
    update: Document = {"$setOnInsert": {"merchantId": merchant_id}}
    return UpdateOne({"_id": key}, update | ({"$inc": changes} if changes else {}), upsert=True)


async def write_in(
    database: Database, session: Session, sums: Mapping[Place, Counts], part: str, *, collection: str = COLLECTION
) -> None:
    """Within a transaction: add sums, always in the same order, one write a document."""
    is_folded_later = collection == COLLECTION
    writes = [
        UpdateOne(
            {"_id": f"{place.merchant_id}|{place.scope}|{place.day}|{part}"},
            {"$inc": changes, "$setOnInsert": _named(place, is_loose=is_folded_later)},
            upsert=True,
        )
        for place, counts in sorted(sums.items())
        if (changes := {path: count for path, count in counts.items() if count})
    ]
    if writes:
        await database[collection].bulk_write(writes, ordered=False, session=session)


@dataclass(slots=True)
class Day:
    """The sums of a day: `measures` by name (`sent:agent`), the same by hour, active contacts by the day before."""

    day: str
    measures: Counter[str] = field(default_factory=Counter)
    hours: dict[int, Counter[str]] = field(default_factory=dict)
    active: Counter[str] = field(default_factory=Counter)

    def add(self, part: Mapping[str, Any]) -> None:
        """Add one writer's part."""
        self.measures.update(part.get("total", _NOTHING))
        for hour, counts in part.get("hours", _NOTHING).items():
            self.hours.setdefault(int(hour), Counter()).update(counts)
        self.active.update(part.get("active", _NOTHING))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which days are read (`first` to `last`, both included), and of which the hours are, too."""

    first: str
    last: str
    hours_of: frozenset[str] | None = frozenset()
    active: bool = False


class Rollups:
    """Reads the sums."""

    def __init__(self, database: Database) -> None:
        self._collection = database[COLLECTION]

    async def days(self, merchant_id: str, scope: str, wanted: Wanted) -> dict[str, Day]:
        """Return the days in which anything was counted; the hours of all of them where `hours_of` is None."""
        shown = {"total": 1, **({"active": 1} if wanted.active else {})}
        days: dict[str, Day] = {}
        if wanted.hours_of is None:
            shown["hours"] = 1
        async for part in self._parts(merchant_id, scope, wanted.first, wanted.last, shown):
            _gather(days, part)
        for day in sorted(wanted.hours_of or ()):
            async for part in self._parts(merchant_id, scope, day, day, {"hours": 1}):
                _gather(days, part)
        return days

    async def messages_in_month(self, merchant_id: str, account_id: str, moment: datetime) -> int:
        """Return how many messages an account had in the month (UTC) of a moment, in both directions."""
        month = f"{moment:%Y-%m}"
        days = await self.days(merchant_id, account_scope(account_id), Wanted(f"{month}-01", f"{month}-31"))
        return sum(count for day in days.values() for name, count in day.measures.items() if counts_messages(name))

    async def before(self, merchant_id: str, scope: str, day: str, names: tuple[str, ...]) -> Counter[str]:
        """Return the sums of some measures over all days before one."""
        start = f"{merchant_id}|{scope}|"
        pipeline: list[Document] = [
            {"$match": {"_id": {"$gte": start, "$lt": f"{start}{day}"}}},
            {"$group": {"_id": None, **{name: {"$sum": f"$total.{name}"} for name in names}}},
        ]
        found = await aggregated(self._collection, pipeline)
        return Counter({name: found[0][name] for name in names} if found else {})

    async def by_scope(self, merchant_id: str, prefix: str, wanted: Wanted) -> dict[str, dict[str, Day]]:
        """Return the days, with their hours, of all scopes whose names begin with something, by what comes after it."""
        start = f"{merchant_id}|{prefix}"
        found: dict[str, dict[str, Day]] = {}
        query = {"_id": {"$gte": start, "$lt": start + "~"}}
        async for part in self._collection.find(query, {"total": 1, "hours": 1}, batch_size=_BATCH):
            place = place_of(part["_id"])
            if wanted.first <= place.day <= wanted.last:
                _gather(found.setdefault(place.scope.removeprefix(prefix), {}), part)
        return found

    async def _parts(
        self, merchant_id: str, scope: str, first: str, last: str, shown: Mapping[str, int]
    ) -> AsyncIterator[Document]:
        start = f"{merchant_id}|{scope}|"
        query = {"_id": {"$gte": f"{start}{first}|", "$lt": f"{start}{last}|~"}}
        async for part in self._collection.find(query, shown, batch_size=_BATCH):
            yield part


def _named(place: Place, *, is_loose: bool) -> Document:
    return {"merchantId": place.merchant_id, **({"loose": place.day} if is_loose else {})}


def place_of(key: str) -> Place:
    """Return the place that the document of an id is a part of."""
    merchant_id, scope, day, _ = key.split("|")
    return Place(merchant_id, scope, day)


def paths_of(counts: object, prefix: str = "") -> Counter[str]:
    """Return the numbers of a nested document by their paths, leaving out zeros."""
    found: Counter[str] = Counter()
    if isinstance(counts, Mapping):
        for name, value in counts.items():
            found.update(paths_of(value, f"{prefix}.{name}" if prefix else str(name)))
    elif isinstance(counts, int) and counts:
        found[prefix] = counts
    return found


def _gather(days: dict[str, Day], part: Document) -> None:
    day = part["_id"].rsplit("|", 2)[1]
    days.setdefault(day, Day(day)).add(part)
