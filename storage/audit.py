from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import NotRequired, TypedDict, cast

import structlog
from pymongo import DESCENDING
from pymongo.errors import BulkWriteError, PyMongoError

from storage.client import Database, Document
from storage.paging import Slice, find_page

log = structlog.get_logger()

_BATCH = 500
#: Entries that may wait for a database that is away; nothing can be changed meanwhile, so that they hardly grow.
_MOST_WAITING = 20_000
_RETRY_S = 0.5
#: How long a list waits for what this process has not written yet.
_READ_PATIENCE_S = 1.0
#: How long a stop waits for it.
_CLOSE_PATIENCE_S = 5.0
_DUPLICATE = 11000
_NEWEST_FIRST = [("at", DESCENDING), ("_id", DESCENDING)]


class Actor(TypedDict):
    """Who did it: a person (`user`) or a machine (`key`)."""

    kind: str
    id: str


class AuditEntry(TypedDict):
    """One change: who, what, when, from where. It holds no content and no secret: of fields their names alone."""

    _id: str
    merchantId: str
    at: datetime
    actor: Actor
    action: str
    targets: dict[str, str]
    createdId: NotRequired[str | None]
    fields: NotRequired[list[str]]
    requestId: str
    address: str
    status: int


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for: all conditions hold; `until` itself is not in the range."""

    actor_id: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditTrail:
    """What was changed, by whom.

    Noting waits for nothing: one task writes what has come together, and tries again while the database is away. A
    normal stop waits for it; a process that is killed loses what it has noted in the last moments.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database["audit"]
        self._waiting: list[AuditEntry] = []
        self._writer: asyncio.Task[None] | None = None

    def note(self, entry: AuditEntry) -> None:
        """Have an entry written."""
        if len(self._waiting) >= _MOST_WAITING:
            log.error("audit.lost", entries=1, action=entry["action"])
            return
        self._waiting.append(entry)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="audit trail")

    async def page(self, merchant_id: str, wanted: AuditFilter, part: Slice) -> tuple[list[AuditEntry], int]:
        """Return a part of the entries, newest first, and how many there are."""
        await self._written(_READ_PATIENCE_S)
        documents, total = await find_page(self._collection, _query(merchant_id, wanted), _NEWEST_FIRST, part)
        return cast("list[AuditEntry]", documents), total

    async def close(self) -> None:
        """Wait until everything is written; gives up when the database stays away."""
        await self._written(_CLOSE_PATIENCE_S)
        if self._writer is not None and not self._writer.done():
            self._writer.cancel()
            await asyncio.wait({self._writer})
            log.error("audit.lost", entries=len(self._waiting))

    async def _written(self, patience_s: float) -> None:
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=patience_s)

    async def _write(self) -> None:
        while self._waiting:
            batch = self._waiting[:_BATCH]
            if await self._try_to_write(batch):
                del self._waiting[: len(batch)]
            else:
                await asyncio.sleep(_RETRY_S)

    async def _try_to_write(self, batch: list[AuditEntry]) -> bool:
        try:
            await self._collection.insert_many(cast("list[Document]", batch), ordered=False)
        except BulkWriteError as error:
            # Entries that are there already were written by a try whose answer was lost.
            if any(each["code"] != _DUPLICATE for each in error.details["writeErrors"]):
                log.warning("audit.unwritten", entries=len(batch), error=type(error).__name__)
                return False
        except PyMongoError as error:
            log.warning("audit.unwritten", entries=len(batch), error=type(error).__name__)
            return False
        return True


def _query(merchant_id: str, wanted: AuditFilter) -> Document:
    query: Document = {"merchantId": merchant_id}
    if wanted.actor_id is not None:
        query["actor.id"] = wanted.actor_id
    if wanted.action is not None:
        query["action"] = wanted.action
    if wanted.since is not None or wanted.until is not None:
        bounds = {"$gte": wanted.since, "$lt": wanted.until}
        query["at"] = {operator: moment for operator, moment in bounds.items() if moment is not None}
    return query
