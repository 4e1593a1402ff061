"""Keys by which machines call the API: `mktx_<prefix>_<secret>`.

A key is found by its prefix, which is shown in lists, and proven by its secret. Only the SHA-256 of the secret is
stored: it is 256 random bits, so a fast hash is enough.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NotRequired, TypedDict, cast

from pymongo import DESCENDING

from storage.client import Database
from storage.paging import Slice, find_page

#: What tells a key from an access token.
SCHEME = "mktx_"
#: How often the last use of a key is written at most.
_USE_WRITTEN_EVERY = timedelta(minutes=1)
_PREFIX_BYTES = 6
_SECRET_BYTES = 32
_FORM = re.compile(r"mktx_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class ApiKeyDocument(TypedDict):
    """A key of a machine; without `scopes` it may whatever its roles allow."""

    _id: str
    merchantId: str
    prefix: str
    secretHash: str
    name: str
    roles: list[str]
    scopes: NotRequired[list[str] | None]
    createdBy: str
    createdAt: datetime
    expiresAt: datetime | None
    lastUsedAt: datetime | None
    revokedAt: datetime | None


@dataclass(frozen=True, slots=True)
class FreshKey:
    """A key that was just made; its text is known here and nowhere else."""

    text: str
    prefix: str
    secret_hash: str

    @classmethod
    def make(cls) -> FreshKey:
        """Return a key that nobody has."""
        prefix, secret = secrets.token_hex(_PREFIX_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        return cls(f"{SCHEME}{prefix}_{secret}", prefix, _hash(secret))


class ApiKeys:
    """The keys of a merchant's machines."""

    def __init__(self, database: Database) -> None:
        self._collection = database["apiKeys"]

    async def put(self, key: ApiKeyDocument) -> None:
        """Add a key; one with the same id, whose text nobody has seen, gives way to it."""
        query = {"_id": key["_id"], "merchantId": key["merchantId"]}
        await self._collection.replace_one(query, key, upsert=True)

    async def page(self, merchant_id: str, part: Slice) -> tuple[list[ApiKeyDocument], int]:
        """Return a part of the keys that are not revoked, newest first, and how many there are."""
        query = {"merchantId": merchant_id, "revokedAt": None}
        documents, total = await find_page(self._collection, query, [("_id", DESCENDING)], part)
        return cast("list[ApiKeyDocument]", documents), total

    async def get(self, merchant_id: str, key_id: str) -> ApiKeyDocument | None:
        """Return a key of the merchant that is not revoked."""
        query = {"_id": key_id, "merchantId": merchant_id, "revokedAt": None}
        return cast("ApiKeyDocument | None", await self._collection.find_one(query))

    async def revoke(self, merchant_id: str, key_id: str, now: datetime) -> None:
        """Revoke a key; it stays, so that the audit trail can say whose it was."""
        query = {"_id": key_id, "merchantId": merchant_id, "revokedAt": None}
        await self._collection.update_one(query, {"$set": {"revokedAt": now}})

    async def proven(self, text: str, now: datetime) -> ApiKeyDocument | None:
        """Return the key of whichever merchant that a text proves to have, if it still holds; for the gate only."""
        parts = _FORM.fullmatch(text)
        if parts is None:
            return None
        prefix, secret = parts.groups()
        found = cast("ApiKeyDocument | None", await self._collection.find_one({"prefix": prefix}))
        if found is None or not hmac.compare_digest(found["secretHash"], _hash(secret)):
            return None
        expired = found["expiresAt"] is not None and found["expiresAt"] <= now
        return None if expired or found["revokedAt"] is not None else found

    @staticmethod
    def is_use_due(key: ApiKeyDocument, now: datetime) -> bool:
        """Whether the key's use is to be written: at most once a minute."""
        return key["lastUsedAt"] is None or now - key["lastUsedAt"] >= _USE_WRITTEN_EVERY

    async def used(self, key: ApiKeyDocument, now: datetime) -> None:
        """Write that a key was used, unless another request has written it."""
        query = {"_id": key["_id"], "merchantId": key["merchantId"], "lastUsedAt": key["lastUsedAt"]}
        await self._collection.update_one(query, {"$set": {"lastUsedAt": now}})


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
