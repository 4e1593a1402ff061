"""The inbox: events of X that were answered 200 and are not processed yet.

One document holds the events of one lane that were committed together: many events pay for one index entry. A document
is in here exactly from the durable insert that precedes the answers to X until the transaction that writes its events'
effects and deletes it. Its id begins with the lane and the time of the commit, so reading a lane in order is one scan
of the one index that every collection has anyway.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias, cast

import orjson

from domain.events import EventKind, Profile, XEvent
from domain.lone_message import LoneMessage
from domain.partition import lane_of, partition_of
from domain.x_normalise import normalise
from storage.client import Client, Database, Document, Session, aggregated, session_of

#: What a webhook call brings, one by one: read already, or to be read when it is processed.
Arrival: TypeAlias = XEvent | LoneMessage


def lane_of_event(event: Arrival) -> int:
    """Return the lane of an event: that of the conversation it belongs to, so that a conversation stays in order."""
    return lane_of(partition_of("contact", f"{event.for_user_id}:{event.participant_id}"))


def traced(events: Sequence[Arrival], trace: str) -> Sequence[Arrival]:
    """Return events with the W3C traceparent of the call that brought them."""
    return [
        each._replace(trace=trace) if isinstance(each, LoneMessage) else replace(each, trace=trace) for each in events
    ]


def traces_of(documents: Iterable[Document]) -> list[str]:
    """Return the traceparents of the calls that brought what is in documents of the inbox, each once."""
    return list(dict.fromkeys(entry["trace"] for each in documents for entry in each["events"] if "trace" in entry))


def entry_of(event: Arrival) -> Document:
    """Return an event as it is kept in the inbox."""
    entry = _entry_of(event)
    if event.trace:
        entry["trace"] = event.trace
    return entry


def _entry_of(event: Arrival) -> Document:
    if isinstance(event, LoneMessage):
        return {
            "key": event.key,
            "forUserId": event.for_user_id,
            "participantId": event.participant_id,
            "body": event.body,
        }
    return {
        "key": event.key,
        "kind": event.kind.value,
        "forUserId": event.for_user_id,
        "participantId": event.participant_id,
        "at": event.at,
        "data": event.data,
        "profile": event.profile,
    }


def event_of(entry: Document, received_at: datetime) -> XEvent:
    """Return the event that is kept so, since a moment.

    Raises:
        ValueError: when the body that is kept is not one message any more: another release of ours stored it.
    """
    if "body" in entry:
        (event,) = normalise(orjson.loads(entry["body"]), received_at)
        return event
    return XEvent(
        entry["key"],
        EventKind(entry["kind"]),
        entry["forUserId"],
        entry["participantId"],
        entry["at"],
        entry["data"],
        cast(Profile, entry["profile"]),
    )


class Waiting(NamedTuple):
    """What is in the inbox: how many events, and when the oldest of them arrived."""

    events: int
    oldest: datetime | None


#: Weight of the latest reading in the mean number of events in a document.
_SMOOTHING = 0.2


class Inbox:
    """Adds events durably and hands them out in order."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._inbox = database["inbox"]
        self._dead = database["deadLetters"]
        self._process = os.urandom(3).hex()
        self._numbers = itertools.count()
        self._events_per_document = 1.0

    async def add(self, events: Iterable[Arrival], received_at: datetime, session: Session | None = None) -> set[int]:
        """Store events; returns, once they are durable, the lanes that have got some.

        With a session it is a part of that transaction, and durable with it.

        Raises:
            PyMongoError: when it is not known that all of them are durable.
        """
        lanes: dict[int, list[Document]] = {}
        for event in events:
            lanes.setdefault(lane_of_event(event), []).append(entry_of(event))
        moment = time.time_ns()
        documents: list[Document] = [
            {
                "_id": f"{lane:02x}-{moment:016x}-{next(self._numbers):06x}{self._process}",
                "receivedAt": received_at,
                "events": entries,
            }
            for lane, entries in lanes.items()
        ]
        if documents:
            await self._inbox.insert_many(documents, ordered=False, session=session)
        return set(lanes)

    async def read(self, lanes: range, start: int, limit: int) -> list[Document]:
        """Return the oldest documents of the lanes from `start` on, then of those before it; about `limit` events."""
        found = await self._scan(start, lanes.stop, limit)
        if not found and start > lanes.start:
            found = await self._scan(lanes.start, start, limit)
        return found

    async def _scan(self, start: int, stop: int, limit: int) -> list[Document]:
        query = {"_id": {"$gte": f"{start:02x}-", "$lt": f"{stop:02x}-"}}
        # As many documents as will hold about that many events: what is read beyond is decoded for nothing.
        count = max(1, round(limit / self._events_per_document))
        found = await self._inbox.find(query, batch_size=count + 1).sort("_id", 1).limit(count).to_list()
        if found:
            mean = sum(len(document["events"]) for document in found) / len(found)
            self._events_per_document += _SMOOTHING * (mean - self._events_per_document)
        # The mean may be far off, as after a standstill; a transaction of many times the size might never end in time.
        totals = itertools.accumulate(len(document["events"]) for document in found)
        return found[: 1 + next((place for place, total in enumerate(totals) if total >= limit), len(found))]

    async def split(self, document: Document) -> None:
        """Put each event of a document into a document of its own, in the same place of the order."""
        parts = [
            {"_id": f"{document['_id']}-{number:04x}", "receivedAt": document["receivedAt"], "events": [entry]}
            for number, entry in enumerate(document["events"])
        ]

        async def work(session: Session) -> None:
            deleted = await self._inbox.delete_one({"_id": document["_id"]}, session=session)
            if deleted.deleted_count:
                await self._inbox.insert_many(parts, session=session)

        async with session_of(self._client) as session:
            await session.with_transaction(work)

    async def bury(self, document: Document, reason: str, now: datetime) -> None:
        """Move a document that can't be processed to the dead letters."""
        letter = {"_id": document["_id"], "reason": reason, "events": document["events"], "at": now}
        await self._dead.replace_one({"_id": document["_id"]}, letter, upsert=True)
        await self._inbox.delete_one({"_id": document["_id"]})

    async def bury_body(self, body: bytes, reason: str, letter_id: str, now: datetime) -> None:
        """Keep a signed body that is no envelope of X's."""
        await self._dead.insert_one({"_id": letter_id, "reason": reason, "body": body, "at": now})

    async def waiting(self) -> Waiting:
        """Return how much waits; reads the whole inbox."""
        sums = {"events": {"$sum": {"$size": "$events"}}, "oldest": {"$min": "$receivedAt"}}
        pipeline: Sequence[Document] = [{"$group": {"_id": None, **sums}}]
        for group in await aggregated(self._inbox, pipeline):
            return Waiting(int(group["events"]), group["oldest"])
        return Waiting(0, None)

    async def pending(self) -> int:
        """Return how many events wait."""
        return (await self.waiting()).events

    async def oldest(self) -> datetime | None:
        """Return when the oldest waiting document arrived, of the first lane that has one."""
        document = await self._inbox.find_one({}, {"receivedAt": 1}, sort=[("_id", 1)])
        return cast("datetime | None", document["receivedAt"]) if document else None
