"""What executors of flows have yet to take: read by the hosts that own them, written by whoever has something to tell.

An event is deleted in the transaction that writes what it meant (`storage/flow_executions.py`), so it is taken once,
whole, or not yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pymongo import UpdateOne

from domain.partition import PARTITIONS
from storage.client import Database, Document, Session
from storage.flow_documents import EffectOutcome, FlowEventDocument, flow_event_id

#: After the last digit of a partition.
_END = "g"


class FlowEvents:
    """The events of all contacts."""

    def __init__(self, database: Database) -> None:
        self._collection = database["flowEvents"]

    async def waiting(self, partitions: range, after: str, most: int) -> list[tuple[str, str]]:
        """Return the ids and contacts of events of these partitions, in order of their ids after one, or from ''."""
        end = f"{partitions.stop:02x}|" if partitions.stop < PARTITIONS else _END
        query = {"_id": {"$gt": after or f"{partitions.start:02x}|", "$lt": end}}
        found = self._collection.find(query, {"contactId": 1}).sort("_id", 1).limit(most)
        return [(each["_id"], each["contactId"]) async for each in found]

    async def done(self, event_id: str, outcome: EffectOutcome, session: Session | None = None) -> bool:
        """Note what became of an effect; returns whether it was still to be done."""
        still = {"_id": event_id, "outcome": {"$exists": False}}
        noted = await self._collection.update_one(still, {"$set": {"outcome": outcome}}, session=session)
        return noted.matched_count == 1

    async def move(self, event_ids: Sequence[str], contact_id: str) -> None:
        """Give events to another contact, with which theirs was merged."""
        await self._collection.update_many({"_id": {"$in": list(event_ids)}}, {"$set": {"contactId": contact_id}})

    async def forget(self, event_ids: Sequence[str]) -> None:
        """Delete events of which nothing can come any more."""
        await self._collection.delete_many({"_id": {"$in": list(event_ids)}})


async def note_messages_in(
    database: Database,
    session: Session,
    messages: Iterable[Mapping[str, Any]],
    kind: Literal["sent", "failed"],
    at: datetime | None = None,
    reason: str | None = None,
) -> None:
    """Within a transaction: tell executors what became of messages of flows; others are passed over.

    Without `at` it is that of each message.
    """
    writes = [_message_write(message, kind, at, reason) for message in messages if "flow" in message]
    if writes:
        await database["flowEvents"].bulk_write(writes, ordered=False, session=session)


def _message_write(message: Mapping[str, Any], kind: str, at: datetime | None, reason: str | None) -> UpdateOne:
    mark = message["flow"]
    event: Document = {name: message[name] for name in ("merchantId", "accountId", "contactId")}
    event |= {"kind": kind, "at": at or message["at"], "messageId": message["_id"]}
    event |= {name: mark[name] for name in ("executionId", "nodeId", "visit")}
    if reason is not None:
        event["reason"] = reason
    event_id = flow_event_id(message["contactId"], f"{kind}|{message['_id']}")
    return UpdateOne({"_id": event_id}, {"$setOnInsert": event}, upsert=True)


def in_order(events: Iterable[FlowEventDocument]) -> list[FlowEventDocument]:
    """Return events in the order in which they happened."""
    return sorted(events, key=lambda event: (event["at"], event["_id"]))
