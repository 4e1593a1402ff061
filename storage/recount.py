"""Counts everything anew from the documents, compares it with the rollups, and sets these right (docs/analytics.md).

Documents, remains and rollups are read as of one moment. Whoever writes meanwhile writes a document and what it counts
for together, so how far they are apart does not change: the difference can be added to the rollups at any later time,
while the program runs. Two that repair at once don't add it twice: each repair is conditional on no other having been
made since it read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure

from domain.active_days import pairs_of
from domain.rollup import Counts, Place, Tally
from storage import rollup_remains, rollups
from storage.client import Client, Database, Document, Session, session_of, snapshot_of, unhurried
from storage.rollups import paths_of, place_of, write_in

_REPAIRS: Final = "rollupRepairs"
_PART: Final = "repair"
_SNAPSHOT_TOO_OLD: Final = 239
#: The longest that one read may take, in seconds.
_LONGEST_S: Final = 3600.0
_BATCH: Final = 500

Sums = dict[Place, Counts]


class RecountFailed(Exception):
    """The recount can't be brought to an end; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is not what the documents say."""

    place: Place
    path: str
    kept: int
    counted: int


@dataclass(frozen=True, slots=True)
class Recounted:
    """What was found: how many numbers were compared, those that differ, and how many repairs were made before."""

    compared: int
    differences: list[Difference]
    revision: int


async def recount(client: Client, database: Database) -> Recounted:
    """Count everything anew, of all merchants, and compare.

    Raises:
        RecountFailed: when it takes longer than the database keeps its past.
    """
    try:
        with unhurried(_LONGEST_S):
            async with snapshot_of(client) as session:
                repairs = await database[_REPAIRS].find_one({"_id": _PART}, session=session)
                counted = _sums_of(await _counted(database, session))
                remains = await _kept(database, session, rollup_remains.COLLECTION)
                kept = await _kept(database, session, rollups.COLLECTION)
    except OperationFailure as error:
        if error.code != _SNAPSHOT_TOO_OLD:
            raise
        text = "the count takes longer than the database keeps its past (minSnapshotHistoryWindowInSeconds)"
        raise RecountFailed(text) from None
    for place, counts in remains.items():
        counted.setdefault(place, Counts()).update(counts)
    numbers = sorted({(place, path) for sums in (counted, kept) for place, counts in sums.items() for path in counts})
    none = Counts()
    differences = [
        Difference(place, path, known, right)
        for place, path in numbers
        if (known := kept.get(place, none)[path]) != (right := counted.get(place, none)[path])
    ]
    return Recounted(len(numbers), differences, repairs["revision"] if repairs else 0)


async def repair(client: Client, database: Database, found: Recounted) -> None:
    """Set the rollups right by what a recount has found.

    Raises:
        RecountFailed: when somebody else has repaired meanwhile; what was not set right is found by a recount.
    """
    revision = found.revision
    for start in range(0, len(found.differences), _BATCH):
        batch = found.differences[start : start + _BATCH]
        changes: Sums = {}
        for each in batch:
            changes.setdefault(each.place, Counts())[each.path] += each.counted - each.kept
        async with session_of(client) as session:
            try:
                await session.with_transaction(_Repair(database, changes, revision))
            except DuplicateKeyError:
                raise _was_faster() from None
        revision += 1


class _Repair:
    """One transaction of a repair."""

    def __init__(self, database: Database, changes: Sums, revision: int) -> None:
        self._database = database
        self._changes = changes
        self._revision = revision

    async def __call__(self, session: Session) -> None:
        noted = await self._database[_REPAIRS].find_one_and_update(
            {"_id": _PART, "revision": self._revision} if self._revision else {"_id": _PART, "revision": None},
            {"$set": {"revision": self._revision + 1, "at": datetime.now(UTC)}},
            upsert=not self._revision,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if noted is None:
            raise _was_faster()
        await write_in(self._database, session, self._changes, _PART)


def _was_faster() -> RecountFailed:
    return RecountFailed("somebody else has repaired meanwhile: recount again")


def _sums_of(tally: Tally) -> Sums:
    return {place: _without_zeros(counts) for place, counts in tally.places.items()}


def _without_zeros(counts: Counts) -> Counts:
    return Counts({path: count for path, count in counts.items() if count})


async def _kept(database: Database, session: Session, collection: str) -> Sums:
    sums: Sums = {}
    async for part in database[collection].find({}, session=session):
        counts = sums.setdefault(place_of(part["_id"]), Counts())
        counts.update(paths_of({name: part[name] for name in ("total", "hours", "active") if name in part}))
    return {place: _without_zeros(counts) for place, counts in sums.items()}


async def _counted(database: Database, session: Session) -> Tally:
    tally = Tally()
    fields = ("merchantId", "accountId", "status", "source", "answeredAfterS")
    query: Document = {"status": {"$in": ["received", "sent"]}}
    async for message, times in _grouped(database, session, "messages", query, fields, ("at",)):
        tally.message(message, times)
    owner = ("merchantId", "accountId")
    async for each, times in _grouped(database, session, "conversations", {}, owner, ("startedAt", "closedAt")):
        tally.conversation(each, times)
    known: Document = {"mergedInto": {"$exists": False}}
    async for each, times in _grouped(database, session, "contacts", known, owner, ("createdAt",)):
        tally.contact(each, times)
    of_flow, moments = (*owner, "flowId", "status"), ("startedAt", "completedAt")
    async for each, times in _grouped(database, session, "flowExecutions", {}, of_flow, moments):
        tally.execution(each, times)
    async for contact, days in _active(database, session):
        tally.active(contact, pairs_of(days))
    return tally


async def _grouped(
    database: Database,
    session: Session,
    collection: str,
    query: Document,
    fields: tuple[str, ...],
    moments: tuple[str, ...],
) -> AsyncIterator[tuple[Document, int]]:
    """Yield documents that have the same fields, and moments in the same hours, as one, with how many they are."""
    by: Document = {name: f"${name}" for name in fields}
    by |= {name: {"$dateTrunc": {"date": f"${name}", "unit": "hour"}} for name in moments}
    pipeline: list[Document] = [{"$match": query}, {"$group": {"_id": by, "times": {"$sum": 1}}}]
    async for found in await database[collection].aggregate(pipeline, allowDiskUse=True, session=session):
        yield found["_id"], found["times"]


async def _active(database: Database, session: Session) -> AsyncIterator[tuple[Mapping[str, Any], set[str]]]:
    """Yield each contact (`_id, merchantId, accountId`) with the days on which it was active."""
    day = {"$dateToString": {"date": "$at", "format": "%Y-%m-%d"}}
    deeds: Document = {"contactId": {"$ne": None}, "data.direction": {"$ne": "outbound"}}
    shown: Document = {"$project": {"_id": 0, "contactId": 1, "day": day}}
    found_in = {"from": "contacts", "localField": "_id", "foreignField": "_id", "as": "contact"}
    pipeline: list[Document] = [
        {"$match": {"status": "received"}},
        shown,
        {"$unionWith": {"coll": "activities", "pipeline": [{"$match": deeds}, shown]}},
        {"$group": {"_id": "$contactId", "days": {"$addToSet": "$day"}}},
        {"$lookup": found_in},
        {"$project": {"days": 1, "contact.merchantId": 1, "contact.accountId": 1}},
    ]
    found = database["contactMerges"].find({}, session=session)
    merges: dict[str, str] = {each["_id"]: each["intoContactId"] async for each in found}
    joined: dict[str, set[str]] = {}
    async for each in await database["messages"].aggregate(pipeline, allowDiskUse=True, session=session):
        # What a merge has not moved yet is the kept contact's.
        kept = merges.get(each["_id"], str(each["_id"]))
        if kept != each["_id"] or kept in merges.values():
            joined.setdefault(kept, set()).update(each["days"])
        elif each["contact"]:
            yield each["contact"][0], set(each["days"])
    for contact_id, days in joined.items():
        contact = await database["contacts"].find_one({"_id": contact_id}, session=session)
        if contact is not None:
            yield contact, days
