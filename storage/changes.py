"""What changes in the database, as it happens: MongoDB's change streams.

A stream shows inserted documents, cut to the fields that are asked for, and of updates which of the named fields they
have set. It does not have the server look up the updated document: that would cost a read for every change of every
merchant. Who needs documents reads many at once (`Changes.read`), for the merchants that somebody listens for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from storage.change_position import Position
from storage.client import ChangeStream, Database, Document, watching

#: The server's codes for changes that it can't show any more.
_HISTORY_LOST = frozenset({280, 286})
_BATCH = 500


class HistoryLost(Exception):
    """The changes after a position can't be had any more: they are too long ago, or the database was dropped."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched of a collection.

    `fields` are those that are needed of a document. `changes` are the fields whose change is told; with
    `any_change` every update counts. `shown` is a condition on the documents that are told of at all.
    """

    collection: str
    fields: tuple[str, ...]
    changes: tuple[str, ...] = ()
    any_change: bool = False
    shown: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a document: `inserted` is the new document, `updated` the named fields that an update has set."""

    position: Position
    collection: str
    id: str
    inserted: Document | None
    updated: Mapping[str, object]


class ChangesFrom:
    """An open stream."""

    def __init__(self, stream: ChangeStream, since: Position | None) -> None:
        self._stream = stream
        self._since = since
        self._held: Change | None = None

    @property
    def position(self) -> Position:
        """Everything up to here has been returned, or is not of interest."""
        token = self._stream.resume_token
        if token is None:
            if self._since is None:
                raise HistoryLost("the server gives no position")
            return self._since
        position = Position.of(token)
        return position if self._since is None else max(position, self._since)

    async def begin(self) -> None:
        """Make sure that there is a position."""
        if self._stream.resume_token is None and self._since is None:
            self._held = await self.next()

    async def next(self) -> Change | None:
        """Return the next change; nothing when there is none at the moment.

        Raises:
            HistoryLost: when the stream can't go on.
            PyMongoError: when the database can't be reached; a new stream may go on from `position`.
        """
        held, self._held = self._held, None
        if held is not None:
            return held
        while True:
            try:
                found = await self._stream.try_next()
            except OperationFailure as error:
                _raise_if_lost(error)
                raise
            if found is None:
                if not self._stream.alive:
                    raise HistoryLost("the stream was ended by the server")
                return None
            change = _change_of(found)
            if self._since is None or change.position > self._since:
                return change

    async def batch(self, until: Position) -> list[Change]:
        """Return what there is at the moment, not much further than some position."""
        changes: list[Change] = []
        while len(changes) < _BATCH:
            change = await self.next()
            if change is None:
                break
            changes.append(change)
            if change.position >= until:
                break
        return changes


class Changes:
    """The changes of some collections, of all merchants."""

    def __init__(self, database: Database, watched: Sequence[Watched]) -> None:
        self._database = database
        self._watched = {each.collection: each for each in watched}
        self._pipeline = _pipeline(watched)

    @asynccontextmanager
    async def open(self, since: Position | None, *, wait_ms: int = 500) -> AsyncIterator[ChangesFrom]:
        """Open a stream of what comes after a position, or after this moment.

        `wait_ms` is how long the server waits for a change before it says that there is none.

        Raises:
            HistoryLost: when the position is too long ago.
            PyMongoError: when the database can't be reached.
        """
        # Without a time the server begins after the last change: at a place that no other stream reaches before the
        # next change, which may be seconds away.
        start = await self._now() if since is None else since.time
        try:
            async with watching(self._database, self._pipeline, start, wait_ms, _BATCH) as stream:
                changes = ChangesFrom(stream, since)
                await changes.begin()
                yield changes
        except OperationFailure as error:
            _raise_if_lost(error)
            raise

    async def _now(self) -> Timestamp:
        """Return the time of the last change of anything."""
        answer: Document = await self._database.command("ping")
        return cast(Timestamp, answer["operationTime"])

    async def read(self, collection: str, ids: Iterable[str], merchants: Collection[str]) -> dict[str, Document]:
        """Return documents of some merchants by id, as they are now, with the fields that are watched."""
        watched = self._watched[collection]
        return await self.read_fields(collection, ids, merchants, watched.fields, watched.shown)

    async def read_fields(
        self,
        collection: str,
        ids: Iterable[str],
        merchants: Collection[str],
        fields: Iterable[str],
        shown: Mapping[str, object] | None = None,
    ) -> dict[str, Document]:
        """Return some fields of any collection's documents of some merchants by id."""
        query: Document = {"_id": {"$in": list(ids)}, "merchantId": {"$in": list(merchants)}, **(shown or {})}
        found = self._database[collection].find(query, dict.fromkeys(fields, 1))
        return {document["_id"]: document async for document in found}


def _raise_if_lost(error: OperationFailure) -> None:
    if error.code in _HISTORY_LOST:
        raise HistoryLost(f"code {error.code}") from error


def _pipeline(watched: Sequence[Watched]) -> list[Document]:
    conditions: list[Document] = []
    fields: set[str] = set()
    changes: set[str] = set()
    for each in watched:
        shown = {f"fullDocument.{name}": condition for name, condition in each.shown.items()}
        conditions.append({"ns.coll": each.collection, "operationType": "insert", **shown})
        named: list[Document] = [_is_set(name) for name in each.changes]
        if each.any_change or named:
            update: Document = {"ns.coll": each.collection, "operationType": {"$in": ["update", "replace"]}}
            conditions.append(update if each.any_change else {**update, "$or": named})
        fields |= set(each.fields)
        changes |= set(each.changes)
    shown_fields = [f"fullDocument.{name}" for name in sorted(fields)]
    shown_changes = [f"updateDescription.updatedFields.{name}" for name in sorted(changes)]
    kept = ["operationType", "ns.coll", "documentKey._id", *shown_fields, *shown_changes]
    return [{"$match": {"$or": conditions}}, {"$project": dict.fromkeys(kept, 1)}]


def _is_set(name: str) -> Document:
    return {f"updateDescription.updatedFields.{name}": {"$exists": True}}


def _change_of(found: Document) -> Change:
    is_new = found["operationType"] == "insert"
    description = cast(Document, found.get("updateDescription") or {})
    return Change(
        position=Position.of(found["_id"]),
        collection=str(found["ns"]["coll"]),
        id=str(found["documentKey"]["_id"]),
        inserted=found["fullDocument"] if is_new else None,
        updated=description.get("updatedFields") or {},
    )
