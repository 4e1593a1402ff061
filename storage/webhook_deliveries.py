"""What endpoints are to be told, and what became of it.

A delivery names what it is about and holds nothing of it: that is read when it is sent. So what was erased since is
told to nobody, and an erasure leaves nothing here. `_id` is made of the endpoint and the event, which has the same id
whenever it is read from the stream of changes: it is written once, however often it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict, cast

from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError

from domain.ids import timed_id
from storage.change_position import Position
from storage.client import Database, Document
from storage.indexes import DELIVERIES_PENDING
from storage.paging import LargeTotals, Slice, find_page
from storage.together import Together

COLLECTION = "webhookDeliveries"

#: `skipped`: what it was about is gone.
DeliveryStatus: TypeAlias = Literal["pending", "delivered", "failed", "skipped"]

_DUPLICATE_KEY: Final = 11000
_MOST_WRITES = 128
_COUNTS = 1 << 12
_LAST_MILLISECOND = 999


class AttemptDocument(TypedDict):
    """One try: the status of the answer, or why there was none, and how the answer of a failure begins."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int
    answer: str | None


class SubjectDocument(TypedDict):
    """What an event is about."""

    collection: str
    id: str


class DeliveryDocument(TypedDict):
    """One event for one endpoint; `attempts` counts all tries, `tries` those since it was last asked for by hand."""

    _id: str
    merchantId: str
    endpointId: str
    eventId: str
    type: str
    subject: SubjectDocument | None
    contactId: NotRequired[str]
    happenedAt: datetime
    status: DeliveryStatus
    reason: str | None
    attempts: int
    tries: int
    dueAt: datetime | None
    lastAttempt: AttemptDocument | None
    createdAt: datetime
    endedAt: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a delivery after a try, or without one; with `due_at` it is tried again then."""

    delivery_id: str
    status: DeliveryStatus
    at: datetime
    reason: str | None = None
    due_at: datetime | None = None
    attempt: AttemptDocument | None = None


class WebhookDeliveries:
    """The deliveries of all merchants."""

    def __init__(self, database: Database) -> None:
        self._collection = database[COLLECTION]
        self._outcomes = Together(self._note_all, most=_MOST_WRITES)
        self._totals = LargeTotals()

    # --- for who follows the changes

    async def add(self, deliveries: Sequence[DeliveryDocument]) -> None:
        """Write deliveries; those that are there already stay as they are.

        Raises:
            PyMongoError: when not all of them could be written.
        """
        if not deliveries:
            return
        try:
            await self._collection.insert_many(cast("Sequence[Document]", deliveries), ordered=False)
        except BulkWriteError as error:
            failed = any(each["code"] != _DUPLICATE_KEY for each in error.details["writeErrors"])
            if failed or error.details["writeConcernErrors"]:
                raise

    # --- for the actor of an endpoint

    async def due(
        self, endpoint_id: str, now: datetime, limit: int, without: Collection[str]
    ) -> list[DeliveryDocument]:
        """Return what is to be sent by now, what is due first; `without` some by id."""
        query: Document = {"endpointId": endpoint_id, "status": "pending", "dueAt": {"$lte": now}}
        if without:
            query["_id"] = {"$nin": [*without]}
        found = self._collection.find(query).sort([("dueAt", ASCENDING), ("_id", ASCENDING)]).limit(limit)
        return cast("list[DeliveryDocument]", await found.hint(DELIVERIES_PENDING).to_list(None))

    async def next_due(self, endpoint_id: str) -> datetime | None:
        """Return when the next delivery is due; nothing where none is pending."""
        query = {"endpointId": endpoint_id, "status": "pending"}
        found = self._collection.find(query, {"dueAt": 1}).sort([("dueAt", ASCENDING), ("_id", ASCENDING)]).limit(1)
        documents = await found.hint(DELIVERIES_PENDING).to_list(None)
        return documents[0]["dueAt"] if documents else None

    async def note(self, outcome: Outcome) -> None:
        """Write what became of a delivery, together with others of the moment; one that is gone stays gone."""
        await self._outcomes(outcome)

    async def end_pending(self, endpoint_id: str, reason: str, now: datetime) -> int:
        """End everything that is pending for an endpoint as failed; returns how many there were."""
        query = {"endpointId": endpoint_id, "status": "pending"}
        fields = {"status": "failed", "reason": reason, "dueAt": None, "endedAt": now}
        return (await self._collection.update_many(query, {"$set": fields})).modified_count

    async def pending(self, most: int, endpoint_id: str | None = None) -> int:
        """Return how many are pending, for one endpoint or for all, counted up to `most`."""
        query: Document = {"status": "pending"} if endpoint_id is None else {"endpointId": endpoint_id} | _PENDING
        return await self._collection.count_documents(query, hint=DELIVERIES_PENDING, limit=most)

    async def waiting(self, now: datetime) -> list[str]:
        """Return the endpoints, of all merchants, that something is due for."""
        return [
            str(each) for each in await self._collection.distinct("endpointId", {**_PENDING, "dueAt": {"$lte": now}})
        ]

    # --- for the API

    async def page(
        self, merchant_id: str, endpoint_id: str, status: str | None, event: str | None, part: Slice
    ) -> tuple[list[DeliveryDocument], int]:
        """Return a part of an endpoint's deliveries, those of the newest events first, and how many there are."""
        query: Document = {"merchantId": merchant_id, "endpointId": endpoint_id}
        if status is None:
            # What sorts directly after the bar: all ids of this endpoint.
            query["_id"] = {"$gte": f"{endpoint_id}|", "$lt": f"{endpoint_id}}}"}
        else:
            query["status"] = status
        if event is not None:
            query["type"] = event
        documents, total = await find_page(self._collection, query, [("_id", DESCENDING)], part, totals=self._totals)
        return cast("list[DeliveryDocument]", documents), total

    async def get(self, merchant_id: str, endpoint_id: str, event_id: str) -> DeliveryDocument | None:
        """Return one delivery of the merchant."""
        query = {"_id": delivery_id(endpoint_id, event_id), "merchantId": merchant_id}
        return cast("DeliveryDocument | None", await self._collection.find_one(query))

    async def retry(self, merchant_id: str, endpoint_id: str, event_id: str, now: datetime) -> DeliveryDocument | None:
        """Have a delivery sent now, whatever became of it, and return it; nothing where the merchant has none."""
        fields = {
            "status": "pending",
            "reason": None,
            "tries": 0,
            "dueAt": now,
            "lastAttempt": None,
            "endedAt": None,
        }
        changed = await self._collection.find_one_and_update(
            {"_id": delivery_id(endpoint_id, event_id), "merchantId": merchant_id},
            {"$set": fields},
            return_document=ReturnDocument.AFTER,
        )
        return cast("DeliveryDocument | None", changed)

    # --- inside

    async def _note_all(self, outcomes: Sequence[Outcome]) -> list[Exception | None]:
        await self._collection.bulk_write([_write_of(each) for each in outcomes], ordered=False)
        return [None] * len(outcomes)


_PENDING: Final[Document] = {"status": "pending"}


def delivery_id(endpoint_id: str, event_id: str) -> str:
    """Return the id of the delivery of an event to an endpoint."""
    return f"{endpoint_id}|{event_id}"


def event_id_of(position: Position, name: str) -> str:
    """Return the id of an event at a position, the same whenever the change is read; later ones are greater."""
    time = position.time
    # A second has as many places as a transaction log has entries in it: the place is spread over the milliseconds.
    millisecond = min(time.inc // _COUNTS, _LAST_MILLISECOND)
    return timed_id(time.time * 1000 + millisecond, time.inc % _COUNTS, f"{name}|{position.text}")


def moment_of(position: Position) -> datetime:
    """Return when a change was made, to the second."""
    return datetime.fromtimestamp(position.time.time, UTC)


def new_delivery(
    merchant_id: str,
    endpoint_id: str,
    event_id: str,
    event: str,
    happened_at: datetime,
    now: datetime,
    subject: SubjectDocument | None = None,
    contact_id: str | None = None,
) -> DeliveryDocument:
    """Return a delivery that is due now."""
    delivery: DeliveryDocument = {
        "_id": delivery_id(endpoint_id, event_id),
        "merchantId": merchant_id,
        "endpointId": endpoint_id,
        "eventId": event_id,
        "type": event,
        "subject": subject,
        "happenedAt": happened_at,
        "status": "pending",
        "reason": None,
        "attempts": 0,
        "tries": 0,
        "dueAt": now,
        "lastAttempt": None,
        "createdAt": now,
        "endedAt": None,
    }
    if contact_id is not None:
        delivery["contactId"] = contact_id
    return delivery


def _write_of(outcome: Outcome) -> UpdateOne:
    is_over = outcome.status != "pending"
    fields: Document = {
        "status": outcome.status,
        "reason": outcome.reason,
        "dueAt": outcome.due_at,
        "endedAt": outcome.at if is_over else None,
    }
    update: Document = {"$set": fields}
    if outcome.attempt is not None:
        fields["lastAttempt"] = outcome.attempt
        update["$inc"] = {"attempts": 1, "tries": 1}
    return UpdateOne({"_id": outcome.delivery_id, "status": "pending"}, update)


def endpoints_of(deliveries: Iterable[DeliveryDocument]) -> list[str]:
    """Return the endpoints that deliveries are for, each once."""
    return list(dict.fromkeys(each["endpointId"] for each in deliveries))
