from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from pymongo import ASCENDING

from storage.client import Database


class MerchantDocument(TypedDict):
    """A merchant that this installation serves."""

    _id: str
    name: str
    createdAt: datetime


class Merchants:
    """The merchants that this installation serves."""

    def __init__(self, database: Database) -> None:
        self._collection = database["merchants"]

    async def ensure(self, merchant_id: str, name: str, now: datetime) -> None:
        """Create a merchant unless it exists."""
        fields = {"name": name, "createdAt": now}
        await self._collection.update_one({"_id": merchant_id}, {"$setOnInsert": fields}, upsert=True)

    async def exists(self, merchant_id: str) -> bool:
        """Whether there is a merchant with this id."""
        return await self._collection.count_documents({"_id": merchant_id}, limit=1) == 1

    async def all(self) -> list[MerchantDocument]:
        """Return every merchant, oldest first; for who operates the installation."""
        return cast("list[MerchantDocument]", await self._collection.find().sort("_id", ASCENDING).to_list(None))
