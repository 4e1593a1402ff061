"""The inbox: events of X that were answered 200 and are not processed yet.

An event is in here exactly from the durable insert that precedes the answer to X until the transaction that writes its
effects and deletes it. Reading goes by partition and order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

from pymongo.errors import BulkWriteError

from domain.events import EventKind, Profile, XEvent
from domain.partition import partition_of
from storage.client import Database, Document

_DUPLICATE_KEY = 11000


def partition_of_event(event: XEvent) -> int:
    """Return the partition of an event: that of the conversation it belongs to."""
    return partition_of("contact", f"{event.for_user_id}:{event.participant_id}")


def entry_of(event: XEvent, seq: int, received_at: datetime) -> Document:
    """Return the inbox document of an event; `seq` is the time of arrival in nanoseconds."""
    return {
        "_id": event.key,
        "partition": partition_of_event(event),
        "seq": seq,
        "kind": event.kind.value,
        "forUserId": event.for_user_id,
        "participantId": event.participant_id,
        "at": event.at,
        "data": event.data,
        "profile": event.profile,
        "receivedAt": received_at,
    }


def event_of(entry: Document) -> XEvent:
    """Return the event of an inbox document."""
    return XEvent(
        entry["_id"],
        EventKind(entry["kind"]),
        entry["forUserId"],
        entry["participantId"],
        entry["at"],
        entry["data"],
        cast(Profile, entry["profile"]),
    )


class Inbox:
    """Adds events durably and hands them out in order."""

    def __init__(self, database: Database) -> None:
        self._inbox = database["inbox"]
        self._dead = database["deadLetters"]

    async def add(self, entries: Sequence[Document]) -> None:
        """Store entries; returns when they are durable. One that is there already counts as stored.

        Raises:
            PyMongoError: when it is not known that all of them are durable.
        """
        try:
            await self._inbox.insert_many(entries, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            others = [e for e in details.get("writeErrors", []) if e.get("code") != _DUPLICATE_KEY]
            if others or details.get("writeConcernErrors"):
                raise

    async def next_batch(self, partitions: range, start: int, limit: int) -> list[Document]:
        """Return the first entries of the partitions from `start` on, then of those before it, each in order."""
        found = await self._read(start, partitions.stop, limit)
        if len(found) < limit and start > partitions.start:
            found += await self._read(partitions.start, start, limit - len(found))
        return found

    async def _read(self, start: int, stop: int, limit: int) -> list[Document]:
        cursor = self._inbox.find({"partition": {"$gte": start, "$lt": stop}}, limit=limit, batch_size=limit + 1)
        return await cursor.sort([("partition", 1), ("seq", 1)]).to_list()

    async def bury(self, entry: Document, reason: str, now: datetime) -> None:
        """Move an entry that can't be processed to the dead letters."""
        letter = {"_id": entry["_id"], "reason": reason, "event": entry, "at": now}
        await self._dead.replace_one({"_id": entry["_id"]}, letter, upsert=True)
        await self._inbox.delete_one({"_id": entry["_id"]})

    async def bury_body(self, body: bytes, reason: str, letter_id: str, now: datetime) -> None:
        """Keep a signed body that is no envelope of X's."""
        await self._dead.insert_one({"_id": letter_id, "reason": reason, "body": body, "at": now})

    async def pending(self) -> int:
        """Return about how many events wait, from the collection's metadata."""
        return int(await self._inbox.estimated_document_count())

    async def oldest(self) -> datetime | None:
        """Return when the oldest waiting event arrived."""
        entry = await self._inbox.find_one({}, {"receivedAt": 1}, sort=[("partition", 1), ("seq", 1)])
        return cast("datetime | None", entry["receivedAt"]) if entry else None


def keys(entries: Iterable[Document]) -> list[str]:
    """Return the keys of entries."""
    return [entry["_id"] for entry in entries]
