"""Where merchants want to be told what happens: their webhook endpoints, whose secrets are sealed.

An endpoint that is deleted stays for a while, so that the change is seen by who tells endpoints of events; it is shown
to nobody. How many a merchant has is bounded by places, each of which is given once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypeAlias, TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.errors import Conflict
from domain.ids import new_id
from domain.webhook_signature import KEY_BYTES, secret_of
from storage.client import Database, Document
from storage.encryption import KeyRing, Place
from storage.paging import Slice, find_page

COLLECTION = "webhookEndpoints"
#: Endpoints of one merchant.
MOST_ENDPOINTS = 20
#: Secrets that hold at once while they are replaced.
MOST_SECRETS = 5

Status: TypeAlias = Literal["active", "disabled", "deleted"]
#: Why an endpoint is disabled: a person, its own 410, days of failures, or more waiting than is kept.
DisabledBy: TypeAlias = Literal["by_request", "gone", "failing", "backlog"]


class SecretDocument(TypedDict):
    """A secret; one that was replaced holds until `expiresAt`."""

    id: str
    sealed: str
    createdAt: datetime
    expiresAt: datetime | None


class EndpointDocument(TypedDict):
    """An endpoint; `secrets` has the newest first, `failingSince` is there while nothing has succeeded since."""

    _id: str
    merchantId: str
    place: NotRequired[int]
    url: str
    events: list[str]
    accountId: str | None
    description: str
    status: Status
    statusReason: DisabledBy | None
    secrets: list[SecretDocument]
    failingSince: datetime | None
    createdAt: datetime
    updatedAt: datetime
    deletedAt: NotRequired[datetime]


class EndpointFields(TypedDict):
    """What a merchant says of an endpoint."""

    url: str
    events: list[str]
    accountId: str | None
    description: str


class WebhookEndpoints:
    """The endpoints of all merchants."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._collection = database[COLLECTION]
        self._ring = ring

    # --- for the API

    async def add(
        self, merchant_id: str, endpoint_id: str, fields: EndpointFields, now: datetime
    ) -> tuple[EndpointDocument, str]:
        """Store an endpoint with a new secret, and return both.

        One with this very id, whose secret nobody has seen, gets another secret: a request was repeated.

        Raises:
            Conflict: when the merchant has as many as there may be.
        """
        secret, sealed = self._new_secret(endpoint_id, now)
        document: EndpointDocument = {
            "_id": endpoint_id,
            "merchantId": merchant_id,
            "url": fields["url"],
            "events": fields["events"],
            "accountId": fields["accountId"],
            "description": fields["description"],
            "status": "active",
            "statusReason": None,
            "secrets": [sealed],
            "failingSince": None,
            "createdAt": now,
            "updatedAt": now,
        }
        again = await self._update(merchant_id, endpoint_id, {"$set": {"secrets": [sealed]}})
        if again is not None:
            return again, secret
        for place in await self._free_places(merchant_id):
            try:
                await self._collection.insert_one({**document, "place": place})
            except DuplicateKeyError:
                continue
            return document, secret
        raise Conflict(f"There are {MOST_ENDPOINTS} webhook endpoints already")

    async def page(self, merchant_id: str, part: Slice) -> tuple[list[EndpointDocument], int]:
        """Return a part of the merchant's endpoints, newest first, and how many there are."""
        query = {"merchantId": merchant_id, "status": {"$ne": "deleted"}}
        documents, total = await find_page(self._collection, query, [("_id", DESCENDING)], part)
        return cast("list[EndpointDocument]", documents), total

    async def get(self, merchant_id: str, endpoint_id: str) -> EndpointDocument | None:
        """Return one endpoint of the merchant."""
        return cast("EndpointDocument | None", await self._collection.find_one(_one(merchant_id, endpoint_id)))

    async def change(
        self, merchant_id: str, endpoint_id: str, changes: Mapping[str, object], now: datetime
    ) -> EndpointDocument | None:
        """Change what is given of an endpoint and return it; nothing where the merchant has none.

        With a `status` it is as it was made, or disabled by request: earlier failures are forgotten.
        """
        fields = {**changes, "updatedAt": now}
        if "status" in changes:
            reason = None if changes["status"] == "active" else "by_request"
            fields |= {"statusReason": reason, "failingSince": None}
        return await self._update(merchant_id, endpoint_id, {"$set": fields})

    async def rotate(
        self, merchant_id: str, endpoint_id: str, overlap: timedelta, now: datetime
    ) -> tuple[EndpointDocument, str] | None:
        """Give an endpoint a new secret and return both; those that it has hold for `overlap` more at most."""
        secret, sealed = self._new_secret(endpoint_id, now)
        until = {"$min": [{"$ifNull": ["$$each.expiresAt", now + overlap]}, now + overlap]}
        former: Document = {
            "$map": {
                "input": {"$filter": {"input": "$secrets", "as": "each", "cond": _holds("$$each", now)}},
                "as": "each",
                "in": {"$mergeObjects": ["$$each", {"expiresAt": until}]},
            }
        }
        both: Document = {"$concatArrays": [[{"$literal": sealed}], former if overlap else []]}
        update = [{"$set": {"secrets": {"$slice": [both, MOST_SECRETS]}, "updatedAt": now}}]
        changed = await self._update(merchant_id, endpoint_id, update)
        return None if changed is None else (changed, secret)

    async def remove(self, merchant_id: str, endpoint_id: str, now: datetime) -> bool:
        """Delete an endpoint; answers whether the merchant had it."""
        gone = {"status": "deleted", "secrets": [], "deletedAt": now, "updatedAt": now}
        return await self._update(merchant_id, endpoint_id, {"$set": gone, "$unset": {"place": ""}}) is not None

    # --- for those who tell endpoints of events

    async def active(self) -> list[EndpointDocument]:
        """Return the active endpoints of all merchants."""
        return cast("list[EndpointDocument]", [each async for each in self._collection.find({"status": "active"})])

    async def of_actor(self, endpoint_id: str) -> EndpointDocument | None:
        """Return an endpoint to its own actor, whatever its status."""
        return cast("EndpointDocument | None", await self._collection.find_one({"_id": endpoint_id}))

    def secrets_of(self, endpoint: EndpointDocument, now: datetime) -> list[str]:
        """Return the secrets that hold, in the clear, the newest first.

        Raises:
            CannotOpen: when one was sealed with a key that is not there any more.
        """
        holding = (each for each in endpoint["secrets"] if each["expiresAt"] is None or each["expiresAt"] > now)
        return [self._ring.open(each["sealed"], _place(endpoint["_id"], each["id"])) for each in holding]

    async def note_failing(self, endpoint_id: str, since: datetime) -> None:
        """Note that nothing has succeeded since a moment, unless that is noted already."""
        await self._collection.update_one({"_id": endpoint_id, "failingSince": None}, {"$set": {"failingSince": since}})

    async def note_working(self, endpoint_id: str) -> None:
        """Note that something has succeeded."""
        await self._collection.update_one({"_id": endpoint_id}, {"$set": {"failingSince": None}})

    async def disable(self, endpoint_id: str, reason: DisabledBy, now: datetime) -> bool:
        """Disable an active endpoint; answers whether it was one."""
        fields = {"status": "disabled", "statusReason": reason, "updatedAt": now}
        result = await self._collection.update_one({"_id": endpoint_id, "status": "active"}, {"$set": fields})
        return result.modified_count == 1

    # --- inside

    async def _free_places(self, merchant_id: str) -> list[int]:
        """Return places that are free at this moment; somebody else may be faster to each of them."""
        query = {"merchantId": merchant_id, "place": {"$exists": True}}
        taken = {each["place"] async for each in self._collection.find(query, {"place": 1})}
        return [place for place in range(MOST_ENDPOINTS) if place not in taken]

    async def _update(
        self, merchant_id: str, endpoint_id: str, update: Mapping[str, object] | Sequence[Mapping[str, object]]
    ) -> EndpointDocument | None:
        changed = await self._collection.find_one_and_update(
            _one(merchant_id, endpoint_id), update, return_document=ReturnDocument.AFTER
        )
        return cast("EndpointDocument | None", changed)

    def _new_secret(self, endpoint_id: str, now: datetime) -> tuple[str, SecretDocument]:
        secret, secret_id = secret_of(secrets.token_bytes(KEY_BYTES)), new_id()
        sealed = self._ring.seal(secret, _place(endpoint_id, secret_id))
        return secret, {"id": secret_id, "sealed": sealed, "createdAt": now, "expiresAt": None}


def _one(merchant_id: str, endpoint_id: str) -> Document:
    return {"_id": endpoint_id, "merchantId": merchant_id, "status": {"$ne": "deleted"}}


def _holds(secret: str, now: datetime) -> Document:
    return {"$gt": [{"$ifNull": [f"{secret}.expiresAt", datetime.max.replace(tzinfo=now.tzinfo)]}, now]}


def _place(endpoint_id: str, secret_id: str) -> Place:
    return Place(COLLECTION, endpoint_id, f"secrets.{secret_id}")
