"""Reminders: wake this actor at that time, whatever happens in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import DeleteOne
from pymongo.errors import PyMongoError

from domain.errors import Unavailable
from domain.partition import partition_of
from domain.reminder import Reminder
from storage.client import Database, Document
from storage.together import Together

#: Reminders that are ended in one step.
_MOST_AT_ONCE = 256


class Reminders:
    """Keeps reminders; those of a range of partitions are read by the host that owns it."""

    def __init__(self, database: Database) -> None:
        self._collection = database["reminders"]
        self._ends = Together(self._end_all, most=_MOST_AT_ONCE)

    async def set(self, reminder: Reminder) -> None:
        """Set a reminder, or move the one of the same name."""
        await self._collection.replace_one({"_id": reminder.id}, reminder_fields(reminder), upsert=True)

    async def cancel(self, kind: str, key: str, name: str) -> None:
        """Forget a reminder."""
        await self._collection.delete_one({"_id": f"{kind}|{key}|{name}"})

    async def due(
        self, partitions: range, until: datetime, limit: int, after: Reminder | None = None
    ) -> list[Reminder]:
        """Return the reminders of these partitions that are due by then, the earliest first, from after one on.

        Raises:
            Unavailable: when the database is not to be reached.
        """
        query: Document = {"partition": {"$gte": partitions.start, "$lt": partitions.stop}, "dueAt": {"$lte": until}}
        if after is not None:
            query["dueAt"]["$gte"] = after.due_at
            query["$or"] = [{"dueAt": {"$gt": after.due_at}}, {"dueAt": after.due_at, "_id": {"$gt": after.id}}]
        try:
            found = await self._collection.find(query).sort([("dueAt", 1), ("_id", 1)]).limit(limit).to_list()
        except PyMongoError as error:
            raise Unavailable("Reminders can't be read", retry_after_s=2) from error
        return [Reminder(d["kind"], d["key"], d["name"], d["dueAt"], d["payload"]) for d in found]

    async def done(self, reminder: Reminder) -> None:
        """Forget a reminder that its actor has dealt with, unless it has been set to another time since.

        Raises:
            Unavailable: when the database is not to be reached.
        """
        try:
            await self._ends(reminder)
        except PyMongoError as error:
            raise Unavailable("The reminder can't be ended", retry_after_s=2) from error

    async def _end_all(self, reminders: Sequence[Reminder]) -> list[Exception | None]:
        ends = [DeleteOne({"_id": each.id, "dueAt": each.due_at}) for each in reminders]
        await self._collection.bulk_write(ends, ordered=False)
        return [None] * len(reminders)


def reminder_fields(reminder: Reminder) -> Document:
    """Return a reminder's document, but for its id."""
    return {
        "kind": reminder.kind,
        "key": reminder.key,
        "name": reminder.name,
        "partition": partition_of(reminder.kind, reminder.key),
        "dueAt": reminder.due_at,
        "payload": dict(reminder.payload),
    }
