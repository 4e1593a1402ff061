"""What models have cost a merchant, by day (UTC)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypedDict, cast

from storage.client import Database


class AiUsageDocument(TypedDict):
    """The tokens of one merchant and day; `day` is its beginning."""

    _id: str
    merchantId: str
    day: datetime
    promptTokens: int
    completionTokens: int
    calls: int


class AiUsage:
    """Counts tokens."""

    def __init__(self, database: Database) -> None:
        self._collection = database["aiUsage"]

    async def add(self, merchant_id: str, at: datetime, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one call of a model."""
        day = _day(at)
        await self._collection.update_one(
            {"_id": _id(merchant_id, day)},
            {
                "$inc": {"promptTokens": prompt_tokens, "completionTokens": completion_tokens, "calls": 1},
                "$setOnInsert": {"merchantId": merchant_id, "day": day},
            },
            upsert=True,
        )

    async def on_day(self, merchant_id: str, at: datetime) -> AiUsageDocument | None:
        """Return what a merchant has used on the day of a moment, None where it has used nothing."""
        query = {"_id": _id(merchant_id, _day(at)), "merchantId": merchant_id}
        return cast("AiUsageDocument | None", await self._collection.find_one(query))

    async def between(self, merchant_id: str, first: datetime, last: datetime) -> list[AiUsageDocument]:
        """Return what a merchant has used from the day of one moment to the day of another, oldest first.

        Days on which it has used nothing are not among them.
        """
        query = {"_id": {"$gte": _id(merchant_id, _day(first)), "$lte": _id(merchant_id, _day(last))}}
        found = self._collection.find({**query, "merchantId": merchant_id}).sort("_id", 1)
        return cast("list[AiUsageDocument]", await found.to_list(None))

    async def tokens_on_day(self, merchant_id: str, at: datetime) -> int:
        """Return the tokens that a merchant has used on the day of a moment, in both directions."""
        used = await self.on_day(merchant_id, at)
        return used["promptTokens"] + used["completionTokens"] if used else 0


def _day(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _id(merchant_id: str, day: datetime) -> str:
    return f"{merchant_id}|{day:%Y-%m-%d}"
