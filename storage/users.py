from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from pymongo.errors import DuplicateKeyError

from domain.errors import Conflict
from storage.client import Database


class UserDocument(TypedDict):
    """A person who may log in."""

    _id: str
    merchantId: str
    email: str
    passwordHash: str
    name: str
    roles: list[str]
    status: str
    createdAt: datetime


class Users:
    """People who may log in. E-mail addresses are unique over all merchants and kept in lower case."""

    def __init__(self, database: Database) -> None:
        self._collection = database["users"]

    async def insert(self, user: UserDocument) -> None:
        """Add a person.

        Raises:
            Conflict: when the e-mail address is taken.
        """
        try:
            await self._collection.insert_one({**user, "email": user["email"].lower()})
        except DuplicateKeyError:
            raise Conflict("A user with this e-mail address exists") from None

    async def by_email(self, email: str) -> UserDocument | None:
        """Return the person who logs in with this address, of whichever merchant; only the login may ask."""
        return cast("UserDocument | None", await self._collection.find_one({"email": email.lower()}))

    async def get(self, merchant_id: str, user_id: str) -> UserDocument | None:
        """Return a person of this merchant."""
        return cast("UserDocument | None", await self._collection.find_one({"_id": user_id, "merchantId": merchant_id}))

    async def is_active(self, merchant_id: str, user_id: str) -> bool:
        """Whether this merchant has such a person, who may work."""
        query = {"_id": user_id, "merchantId": merchant_id, "status": "active"}
        return await self._collection.count_documents(query, limit=1) == 1

    async def set_password_hash(self, merchant_id: str, user_id: str, password_hash: str) -> None:
        """Replace the hash of a person's password."""
        await self._collection.update_one(
            {"_id": user_id, "merchantId": merchant_id}, {"$set": {"passwordHash": password_hash}}
        )
