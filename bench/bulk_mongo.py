"""What the database alone takes of an event's writes, in bulk from one client.

For each event: one contact is upserted, one conversation updated, one message inserted, and its place in an inbox
document (one a lane and batch, as in the program) inserted and deleted, in the shapes of docs/documents.md and with the
indexes of the program. Batches of 256 events; the inbox insert comes first, then the rest, once in one transaction and
once without. Everything is acknowledged by majority and journal. Only the writing is timed, not the making of the
documents. Run as `python -m bench.bulk_mongo`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import orjson
from pymongo import InsertOne, MongoClient, UpdateOne, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database

from bench.arguments import Arguments, parse
from bench.load.events import ACCOUNT_X_ID, CUSTOMERS, run_prefix
from bench.machine import describe
from bench.running import run
from domain.contact_names import search_terms
from domain.ids import new_id
from domain.partition import lane_of, partition_of
from storage.embedded import EmbeddedMongo
from storage.indexes import INDEXES

Document = dict[str, object]

_BATCH = 256
_DURABLE = WriteConcern(w="majority", j=True)
_MERCHANT, _ACCOUNT = new_id(), new_id()
_STRIDE = 2_741


@dataclass(frozen=True, slots=True)
class Person:
    """A customer with the ids that their documents have."""

    x_id: str
    contact_id: str
    conversation_id: str


def prepare(database: Database[Document]) -> list[Person]:
    """Create collections, indexes and one open conversation a customer."""
    for name in ("contacts", "conversations", "messages"):
        if name in INDEXES:
            database[name].create_indexes(INDEXES[name])
    people = [Person(str(2_000_000 + number), new_id(), new_id()) for number in range(CUSTOMERS)]
    now = datetime.now(UTC)
    database.conversations.insert_many(_conversation(person, now) for person in people)
    return people


def _conversation(person: Person, now: datetime) -> Document:
    return {
        "_id": person.conversation_id,
        "merchantId": _MERCHANT,
        "accountId": _ACCOUNT,
        "contactId": person.contact_id,
        "twitterUserId": person.x_id,
        "status": "open",
        "channel": "direct_message",
        "assignedToUserId": None,
        "messageCount": 0,
        "unreadCount": 0,
        "startedAt": now,
        "lastMessageAt": now,
        "lastInboundAt": now,
        "waitingSince": now,
        "closedAt": None,
        "closeReason": None,
    }


@dataclass(frozen=True, slots=True)
class Batch:
    """The writes of one batch of events."""

    inbox: dict[int, list[Document]]
    contacts: list[UpdateOne]
    conversations: list[UpdateOne]
    messages: list[InsertOne[Document]]


def batches(people: list[Person], prefix: str) -> Iterator[Batch]:
    """Yield batches without end."""
    number = 0
    while True:
        now = datetime.now(UTC)
        batch = Batch({}, [], [], [])
        for _ in range(_BATCH):
            person = people[number * _STRIDE % CUSTOMERS]
            _add(batch, person, f"{prefix}{number:08d}", number, now)
            number += 1
        yield batch


def _add(batch: Batch, person: Person, message_id: str, number: int, now: datetime) -> None:
    key = f"dm:{ACCOUNT_X_ID}:{message_id}"
    text = f"Where is my order {number}?"
    profile = {
        "username": f"ann_{person.x_id}",
        "displayName": f"Ann {person.x_id}",
        "profileImageUrl": "https://pbs.example/a.png",
    }
    lane = lane_of(partition_of("contact", f"{ACCOUNT_X_ID}:{person.x_id}"))
    batch.inbox.setdefault(lane, []).append(
        {
            "key": key,
            "kind": "message",
            "forUserId": ACCOUNT_X_ID,
            "participantId": person.x_id,
            "at": now,
            "data": {"twitterMessageId": message_id, "direction": "inbound", "text": text},
            "profile": profile,
        }
    )
    batch.contacts.append(
        UpdateOne(
            {"accountId": _ACCOUNT, "twitterUserId": person.x_id},
            {
                "$set": {"lastInteractionAt": now, "updatedAt": now},
                "$inc": {"messagesReceived": 1},
                "$setOnInsert": {
                    **profile,
                    "searchTerms": search_terms(profile["username"], profile["displayName"]),
                    "_id": person.contact_id,
                    "merchantId": _MERCHANT,
                    "tags": [],
                    "attributes": {},
                    "source": "message",
                    "consent": {"state": "inbound", "at": now, "source": "message"},
                    "conversationCount": 1,
                    "messagesSent": 0,
                    "responseSeconds": 0,
                    "responseCount": 0,
                    "firstInteractionAt": now,
                    "createdAt": now,
                },
            },
            upsert=True,
        )
    )
    batch.conversations.append(
        UpdateOne(
            {"_id": person.conversation_id},
            {"$set": {"lastMessageAt": now, "lastInboundAt": now}, "$inc": {"messageCount": 1, "unreadCount": 1}},
        )
    )
    batch.messages.append(
        InsertOne(
            {
                "_id": new_id(),
                "merchantId": _MERCHANT,
                "accountId": _ACCOUNT,
                "conversationId": person.conversation_id,
                "contactId": person.contact_id,
                "twitterUserId": person.x_id,
                "twitterMessageId": message_id,
                "direction": "inbound",
                "type": "text",
                "content": text,
                "attachments": [],
                "isFromBot": False,
                "source": "customer",
                "status": "received",
                "sentAt": now,
                "at": now,
                "createdAt": now,
            }
        )
    )


def write(database: Database[Document], batch: Batch, session: ClientSession | None) -> None:
    """Write what processing a batch writes, and take it out of the inbox."""
    database.contacts.bulk_write(batch.contacts, ordered=False, session=session)
    database.conversations.bulk_write(batch.conversations, ordered=False, session=session)
    database.messages.bulk_write(batch.messages, ordered=False, session=session)
    database.inbox.delete_many({}, session=session)


def in_transaction(database: Database[Document], batch: Batch) -> None:
    """Write a batch in one transaction."""
    with database.client.start_session() as session, session.start_transaction(write_concern=_DURABLE):
        write(database, batch, session)


def without_transaction(database: Database[Document], batch: Batch) -> None:
    """Write a batch, each collection by itself."""
    write(database, batch, None)


WAYS: dict[str, Callable[[Database[Document], Batch], None]] = {
    "in a transaction": in_transaction,
    "without a transaction": without_transaction,
}


def measure(uri: str, way: str, seconds: float) -> float:
    """Return events a second that one client gets written."""
    with MongoClient[Document](uri) as client:
        client.drop_database("bulk")
        database = client.get_database("bulk", write_concern=_DURABLE)
        people = prepare(database)
        prefix = run_prefix()
        source = batches(people, prefix)
        count, spent_s = 0, 0.0
        while spent_s < seconds:
            batch = next(source)
            begun = time.monotonic()
            moment = time.time_ns()
            database.inbox.insert_many(
                [
                    {"_id": f"{lane:02x}-{moment:016x}", "receivedAt": datetime.now(UTC), "events": entries}
                    for lane, entries in batch.inbox.items()
                ],
                ordered=False,
            )
            WAYS[way](database, batch)
            spent_s += time.monotonic() - begun
            count += _BATCH
        if database.messages.count_documents({}) != count or database.inbox.count_documents({}):
            raise RuntimeError("the database does not hold what was written")
        return count / spent_s


async def _run(arguments: Arguments) -> int:
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as folder:
        for _ in range(arguments.rounds):
            for way, rates in found.items():
                mongo = EmbeddedMongo(Path(folder) / way.replace(" ", "-"))
                try:
                    await mongo.start()
                    rates.append(await asyncio.to_thread(measure, mongo.uri, way, arguments.seconds))
                finally:
                    await mongo.stop()
                    mongo.erase()
                print(f"{way:22} {rates[-1]:8.0f} events/s", flush=True)
    medians = {way: round(median(rates), 1) for way, rates in found.items()}
    report = {"machine": describe(), "batch": _BATCH, "medians": medians, "runs": found}
    print(orjson.dumps(medians).decode())
    if arguments.output:
        arguments.output.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    sys.exit(run(_run(parse(__doc__ or "", seconds=10))))
