from __future__ import annotations

from datetime import datetime

from storage.client import Database


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
