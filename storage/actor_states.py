"""The documents of actors: every write is conditional on version and epoch.

Claiming a document at activation raises its epoch and version, so that a host which was only believed dead can't write
any more: its version is old. Fencing is checked by the database, in the write itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from domain.ids import new_id
from storage.client import Database, Document
from storage.together import Together

#: States that are written in one step.
_MOST_AT_ONCE = 128


class StaleActor(Exception):
    """Another host has claimed the document since."""


@dataclass(frozen=True, slots=True)
class _Save:
    """A state to be written over the version that it was made from."""

    key: str
    epoch: int
    version: int
    state: Document


class ActorStates:
    """The states of one kind of actor."""

    def __init__(self, database: Database, collection: str) -> None:
        self._collection = database[collection]
        self._saves = Together(self._save_all, most=_MOST_AT_ONCE)

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
        return await self._saves(_Save(key, epoch, version, state))

    async def _save_all(self, saves: Sequence[_Save]) -> list[int | Exception]:
        """Write states of the same moment, and see which of them this very step has written."""
        step = new_id()
        writes = [_write_of(each, step) for each in saves]
        if len(writes) == 1:
            (query, update) = writes[0]
            matched = (await self._collection.update_one(query, update)).matched_count
        else:
            updates = [UpdateOne(*write) for write in writes]
            matched = (await self._collection.bulk_write(updates, ordered=False)).matched_count
        if matched == len(saves):
            return [each.version + 1 for each in saves]
        written = {"_id": {"$in": [each.key for each in saves]}, "step": step}
        keys = {found["_id"] async for found in self._collection.find(written, {"_id": 1})}
        return [each.version + 1 if each.key in keys else StaleActor() for each in saves]


def _write_of(save: _Save, step: str) -> tuple[Document, Document]:
    """Return the update that writes a state, with its condition."""
    query: Document = {"_id": save.key, "epoch": save.epoch, "version": save.version}
    return query, {"$set": {"state": save.state, "version": save.version + 1, "step": step}}
