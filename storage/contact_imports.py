"""Contacts that are imported: a job holds the rows that are still to be done, and what became of the others.

A row leaves the job when it is done, so that the job holds no more of a person than the contact's id. One process at a
time works on a job: it has a lease, renews it with each batch, and gives it back when it stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict, cast

from domain.contact_fields import AttributeValue
from storage.client import Database, Document
from storage.contacts import Consent

LEASE = timedelta(seconds=60)
_WITHOUT_ROWS = {"rows": 0}


class ImportRow(TypedDict):
    """One row as it will be: `contactId` is the contact's where the row makes a new one.

    `takesBackOptOut`: the row says how a contact who has opted out agreed again.
    """

    row: int
    contactId: str
    twitterUserId: str
    username: str | None
    displayName: str | None
    tags: list[str]
    attributes: dict[str, AttributeValue]
    consent: Consent | None
    takesBackOptOut: NotRequired[bool]


class RowResult(TypedDict):
    """What became of a row."""

    row: int
    status: Literal["created", "updated", "failed"]
    contactId: str | None
    field: str | None
    reason: str | None


class ImportDocument(TypedDict):
    """An import; `rows` are there while they are to be done."""

    _id: str
    merchantId: str
    accountId: str
    status: Literal["running", "completed"]
    total: int
    counts: dict[str, int]
    rows: NotRequired[list[ImportRow]]
    results: list[RowResult]
    createdByUserId: str
    leaseUntil: datetime
    createdAt: datetime
    completedAt: datetime | None


@dataclass(frozen=True, slots=True)
class NewImport:
    """An import to begin: rows to be done, and those that are wrong already."""

    id: str
    account_id: str
    user_id: str
    rows: Sequence[ImportRow]
    wrong: Sequence[RowResult]


class ContactImports:
    """Jobs that make contacts of rows."""

    def __init__(self, database: Database) -> None:
        self._collection = database["contactImports"]

    async def begin(self, merchant_id: str, new: NewImport, now: datetime) -> None:
        """Store an import, free to be worked on; nothing happens when it is there already."""
        document: Document = {
            "merchantId": merchant_id,
            "accountId": new.account_id,
            "status": "running",
            "total": len(new.rows) + len(new.wrong),
            "counts": {"created": 0, "updated": 0, "failed": len(new.wrong)},
            "rows": list(new.rows),
            "results": list(new.wrong),
            "createdByUserId": new.user_id,
            "leaseUntil": now,
            "createdAt": now,
            "completedAt": None,
        }
        await self._collection.update_one({"_id": new.id}, {"$setOnInsert": document}, upsert=True)

    async def get(self, merchant_id: str, import_id: str) -> ImportDocument | None:
        """Return an import without the rows that are still to be done."""
        query = {"_id": import_id, "merchantId": merchant_id}
        return cast("ImportDocument | None", await self._collection.find_one(query, _WITHOUT_ROWS))

    async def lease(self, merchant_id: str, import_id: str, now: datetime) -> datetime | None:
        """Take an import to work on it; returns until when, or nothing where it is over or somebody else has it."""
        free = {"_id": import_id, "merchantId": merchant_id, "status": "running", "leaseUntil": {"$lte": now}}
        result = await self._collection.update_one(free, {"$set": {"leaseUntil": now + LEASE}})
        return now + LEASE if result.modified_count == 1 else None

    async def release(self, merchant_id: str, import_id: str, until: datetime, now: datetime) -> None:
        """Give an import back that is ours until a moment, and unfinished; another's lease stays."""
        own = {"_id": import_id, "merchantId": merchant_id, "status": "running", "leaseUntil": until}
        await self._collection.update_one(own, {"$set": {"leaseUntil": now}})

    async def next_rows(self, merchant_id: str, import_id: str, most: int) -> list[ImportRow]:
        """Return the first rows that are to be done."""
        query = {"_id": import_id, "merchantId": merchant_id}
        found = await self._collection.find_one(query, {"rows": {"$slice": most}})
        return cast("list[ImportRow]", found.get("rows", [])) if found else []

    async def done(self, merchant_id: str, import_id: str, results: Sequence[RowResult], now: datetime) -> datetime:
        """Note what became of some rows, and keep the lease; returns until when."""
        counts = [result["status"] for result in results]
        await self._collection.update_one(
            # Another process may have done the same rows, where this one stood still for longer than its lease.
            {"_id": import_id, "merchantId": merchant_id, "results.row": {"$ne": results[0]["row"]}},
            {
                "$push": {"results": {"$each": list(results)}},
                "$pull": {"rows": {"row": {"$in": [result["row"] for result in results]}}},
                "$inc": {f"counts.{status}": counts.count(status) for status in sorted(set(counts))},
                "$set": {"leaseUntil": now + LEASE},
            },
        )
        return now + LEASE

    async def complete(self, merchant_id: str, import_id: str, now: datetime) -> None:
        """End an import whose rows are all done."""
        await self._collection.update_one(
            {"_id": import_id, "merchantId": merchant_id, "status": "running", "rows": []},
            {"$set": {"status": "completed", "completedAt": now}, "$unset": {"rows": ""}},
        )

    async def unfinished(self, now: datetime) -> list[tuple[str, str]]:
        """Return (merchant, import) of the imports of all merchants that nobody works on."""
        found = self._collection.find({"status": "running", "leaseUntil": {"$lte": now}}, {"merchantId": 1})
        return [(job["merchantId"], job["_id"]) async for job in found]
