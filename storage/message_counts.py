"""How many messages an account had in a month, counted in the step that writes them.

The count of a month is spread over several documents, so that steps which run side by side don't wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from pymongo import UpdateOne

from storage.client import Database


def month_of(moment: datetime) -> str:
    """Return the month (UTC) of a moment, as `2026-11`."""
    return f"{moment:%Y-%m}"


def additions(messages: Iterable[Mapping[str, object]], spread: str, each: int = 1) -> list[UpdateOne]:
    """Return the writes that count messages (`merchantId, accountId, at`) under one part of the spread.

    `each` is -1 for messages that turn out not to exist.
    """
    counts: dict[tuple[object, object, str], int] = {}
    for message in messages:
        moment = message["at"]
        if isinstance(moment, datetime):
            key = (message["merchantId"], message["accountId"], month_of(moment))
            counts[key] = counts.get(key, 0) + each
    return [
        UpdateOne(
            {"_id": f"{account_id}|{month}|{spread}"},
            {"$inc": {"count": count}, "$setOnInsert": {"merchantId": merchant_id, "accountId": account_id}},
            upsert=True,
        )
        for (merchant_id, account_id, month), count in counts.items()
    ]


class MessageCounts:
    """Reads the counts."""

    def __init__(self, database: Database) -> None:
        self._collection = database["messageCounts"]

    async def in_month(self, merchant_id: str, account_id: str, moment: datetime) -> int:
        """Return how many messages an account had in the month of a moment, in both directions."""
        start = f"{account_id}|{month_of(moment)}|"
        query = {"_id": {"$gte": start, "$lt": start + "~"}, "merchantId": merchant_id}
        return sum([int(part["count"]) async for part in self._collection.find(query, {"count": 1})])
