from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from storage.client import Database


@dataclass(frozen=True, slots=True)
class Resetting:
    """Who may set a new password."""

    merchant_id: str
    user_id: str


class PasswordResets:
    """Tokens by which people set a new password: each is good once, and a person has one at most.

    Only hashes are stored. The tokens themselves are 256 random bits, so a fast hash is enough.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["passwordResets"]

    async def add(self, token: str, who: Resetting, issued_by: str, expires_at: datetime) -> None:
        """Store a token of a person, whose others end; `issued_by` is the user who gives it out."""
        await self.end(who)
        await self._collection.insert_one(
            {
                "_id": _hash(token),
                "merchantId": who.merchant_id,
                "userId": who.user_id,
                "issuedByUserId": issued_by,
                "expiresAt": expires_at,
            }
        )

    async def holder(self, token: str, now: datetime) -> Resetting | None:
        """Return whose token it is; nothing where it is unknown, used or expired."""
        found = await self._collection.find_one({"_id": _hash(token), "expiresAt": {"$gt": now}})
        return None if found is None else Resetting(found["merchantId"], found["userId"])

    async def use(self, token: str, now: datetime) -> bool:
        """Use a token up; answers whether it was still good."""
        result = await self._collection.delete_one({"_id": _hash(token), "expiresAt": {"$gt": now}})
        return result.deleted_count == 1

    async def end(self, who: Resetting) -> None:
        """End a person's tokens."""
        await self._collection.delete_many({"userId": who.user_id, "merchantId": who.merchant_id})


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
