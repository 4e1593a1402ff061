"""The documents of actors: every write is conditional on version and epoch.

Claiming a document at activation raises its epoch and version, so that a host which was only believed dead can't write
any more: its version is old. Fencing is checked by the database, in the write itself.
"""

from __future__ import annotations

from typing import cast

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from storage.client import Database, Document


class StaleActor(Exception):
    """Another host has claimed the document since."""


class ActorStates:
    """The states of one kind of actor."""

    def __init__(self, database: Database, collection: str) -> None:
        self._collection = database[collection]

    async def claim(self, key: str, epoch: int) -> tuple[int, Document]:
        """Take the document for this epoch; returns its version and state (empty when it is new).

        Raises:
            StaleActor: when a later epoch has it.
        """
        try:
            found = await self._collection.find_one_and_update(
                {"_id": key, "epoch": {"$lte": epoch}},
                {"$set": {"epoch": epoch}, "$inc": {"version": 1}, "$setOnInsert": {"state": {}}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            raise StaleActor from None
        document = cast(Document, found)
        return int(document["version"]), document["state"]

    async def save(self, key: str, epoch: int, version: int, state: Document) -> int:
        """Write the state; returns the new version.

        Raises:
            StaleActor: when the document is not as this actor left it.
        """
        result = await self._collection.update_one(
            {"_id": key, "epoch": epoch, "version": version},
            {"$set": {"state": state, "version": version + 1}},
        )
        if result.matched_count != 1:
            raise StaleActor
        return version + 1
