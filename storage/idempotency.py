"""The first answer to a request, kept for 24 hours under its `Idempotency-Key` (contract, part 3).

A key is reserved before the request is carried out, together with the id of what it will create. A gateway that
dies in between leaves the reservation; once that is stale, the request repeated takes it over with the same id, so
that what it creates or sends exists once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from hashlib import sha256
from typing import TypeAlias, cast

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from storage.client import Database
from storage.encryption import KeyRing, Place

#: Longer than any request may take; after it a reservation without an answer is taken over.
STALE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Reserved:
    """The request is to be carried out, with this id for what it creates."""

    resource_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The request was answered before."""

    status: int
    body: bytes


class Refused(Enum):
    """Why a request under a key is neither carried out nor answered again."""

    OTHER_REQUEST = auto()
    IN_PROGRESS = auto()


Reservation: TypeAlias = Reserved | Answered | Refused


class IdempotencyKeys:
    """First answers by merchant and key."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._collection = database["idempotencyKeys"]
        self._ring = ring

    async def reserve(
        self, merchant_id: str, key: str, request_hash: str, resource_id: str, now: datetime
    ) -> Reservation:
        """Claim a key for a request, or say what is known of it."""
        document = {
            "_id": _id(merchant_id, key),
            "merchantId": merchant_id,
            "requestHash": request_hash,
            "resourceId": resource_id,
            "status": None,
            "body": None,
            "reservedAt": now,
            "createdAt": now,
        }
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            return await self._known(merchant_id, key, request_hash, now)
        return Reserved(resource_id)

    async def _known(
        self, merchant_id: str, key: str, request_hash: str, now: datetime
    ) -> Reserved | Answered | Refused:
        stale = {"$or": [{"reservedAt": None}, {"reservedAt": {"$lte": now - STALE_AFTER}}]}
        taken = await self._collection.find_one_and_update(
            {"_id": _id(merchant_id, key), "requestHash": request_hash, "status": None, **stale},
            {"$set": {"reservedAt": now}},
            return_document=ReturnDocument.AFTER,
        )
        if taken is not None:
            return Reserved(cast("str", taken["resourceId"]))
        known = await self._collection.find_one({"_id": _id(merchant_id, key)})
        if known is not None and known["requestHash"] != request_hash:
            return Refused.OTHER_REQUEST
        if known is None or known["status"] is None:
            return Refused.IN_PROGRESS
        if known.get("sealed") is not None:
            return Answered(known["status"], self._ring.open(known["sealed"], _place(known["_id"])).encode())
        return Answered(known["status"], known["body"])

    async def keep(
        self, merchant_id: str, key: str, status: int, body: bytes, *, secret: bool = False, about: Sequence[str] = ()
    ) -> None:
        """Keep the first answer; one that holds a `secret` is kept sealed.

        `about` are ids of what the request was about: an erasure finds an answer by them that does not name anybody.
        """
        reservation = _id(merchant_id, key)
        answer: dict[str, object] = {"status": status, "body": body, "about": [*about]}
        if secret:
            sealed = self._ring.seal(body.decode(), _place(reservation))
            answer = {"status": status, "sealed": sealed, "about": [*about]}
        await self._collection.update_one({"_id": reservation, "status": None}, {"$set": answer})

    async def release(self, merchant_id: str, key: str) -> None:
        """Let the request be tried again at once: it was not carried out, or its outcome is not known."""
        await self._collection.update_one(
            {"_id": _id(merchant_id, key), "status": None}, {"$set": {"reservedAt": None}}
        )


def _place(reservation: str) -> Place:
    return Place("idempotencyKeys", reservation, "body")


def _id(merchant_id: str, key: str) -> str:
    return sha256(f"{merchant_id}|{key}".encode()).hexdigest()
