from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from pymongo import ReturnDocument

from domain.errors import Unauthenticated
from storage.client import Database, Document


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a family of refresh tokens belongs to."""

    merchant_id: str
    user_id: str
    family: str


class RefreshTokens:
    """Rotating refresh tokens: each is good once, and using one again revokes its whole family.

    Only hashes are stored. The tokens themselves are 256 random bits, so a fast hash is enough.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["refreshTokens"]

    async def add(self, token: str, holder: Holder, expires_at: datetime) -> None:
        """Store a token of a family."""
        await self._collection.insert_one(
            {
                "_id": _hash(token),
                "family": holder.family,
                "userId": holder.user_id,
                "merchantId": holder.merchant_id,
                "expiresAt": expires_at,
                "usedAt": None,
                "revokedAt": None,
            }
        )

    async def use(self, token: str, now: datetime) -> Holder:
        """Use a token up and return whom it belongs to.

        Raises:
            Unauthenticated: when it is unknown, expired, revoked, or was used before; the latter revokes the family.
        """
        found = await self._collection.find_one_and_update(
            {"_id": _hash(token), "usedAt": None, "revokedAt": None, "expiresAt": {"$gt": now}},
            {"$set": {"usedAt": now}},
            return_document=ReturnDocument.AFTER,
        )
        if found is not None:
            return _holder(found)
        known = await self._collection.find_one({"_id": _hash(token)})
        if known is not None and known["usedAt"] is not None:
            await self.revoke_family(known["family"], now)
        raise Unauthenticated("The refresh token does not hold")

    async def replace(self, used: str, successor: str, holder: Holder, expires_at: datetime, now: datetime) -> None:
        """Store the successor of a token that was just used.

        Somebody may have used the old one again in between, and revoked the family before the successor was in it.

        Raises:
            Unauthenticated: when that happened; the successor is revoked too.
        """
        await self.add(successor, holder, expires_at)
        if await self._collection.count_documents({"_id": _hash(used), "revokedAt": None}) == 0:
            await self.revoke_family(holder.family, now)
            raise Unauthenticated("The refresh token does not hold")

    async def revoke(self, token: str, now: datetime) -> None:
        """Revoke a token's family; nothing happens when the token is unknown."""
        known = await self._collection.find_one({"_id": _hash(token)})
        if known is not None:
            await self.revoke_family(known["family"], now)

    async def revoke_family(self, family: str, now: datetime) -> None:
        """Revoke every token of a family that is not revoked yet."""
        await self._collection.update_many({"family": family, "revokedAt": None}, {"$set": {"revokedAt": now}})

    async def revoke_user(self, merchant_id: str, user_id: str, now: datetime) -> None:
        """Revoke every token of a person that is not revoked yet."""
        await self._collection.update_many(
            {"userId": user_id, "merchantId": merchant_id, "revokedAt": None}, {"$set": {"revokedAt": now}}
        )


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _holder(document: Document) -> Holder:
    return Holder(document["merchantId"], document["userId"], document["family"])
