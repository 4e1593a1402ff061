"""Epochs: every start of an actor host takes a higher number than any start before it."""

from __future__ import annotations

from typing import cast

from pymongo import ReturnDocument

from storage.client import Database, Document


async def next_epoch(database: Database) -> int:
    """Take the next epoch, durably."""
    counter = await database["counters"].find_one_and_update(
        {"_id": "epoch"}, {"$inc": {"value": 1}}, upsert=True, return_document=ReturnDocument.AFTER
    )
    return int(cast(Document, counter)["value"])
