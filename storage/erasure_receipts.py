"""What proves that people were erased: kept for good, without a name."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from pymongo import DESCENDING

from config.settings import Settings
from storage.client import Database, Document
from storage.erased_people import ErasedPeople
from storage.paging import Slice, find_page

_NEWEST_FIRST = [("completedAt", DESCENDING), ("_id", DESCENDING)]


class ErasureReceipt(TypedDict):
    """One erasure that is over; `subject` and `mergedSubjects` are keyed hashes of X user ids."""

    _id: str
    merchantId: str
    accountId: str
    subject: str
    mergedSubjects: list[str]
    counts: dict[str, int]
    requestedByUserId: str
    requestedAt: datetime
    completedAt: datetime


class ErasureReceipts:
    """The receipts of a merchant."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._collection = database["erasureReceipts"]
        self._people = ErasedPeople(database, settings)

    async def page(
        self, merchant_id: str, part: Slice, *, twitter_user_id: str | None = None
    ) -> tuple[list[ErasureReceipt], int]:
        """Return a part of the receipts, newest first, and how many there are: all, or those of an X user."""
        query: Document = {"merchantId": merchant_id}
        if twitter_user_id is not None:
            subject = self._people.fingerprint(twitter_user_id)
            query["$or"] = [{"merchantId": merchant_id, name: subject} for name in ("subject", "mergedSubjects")]
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part)
        return cast("list[ErasureReceipt]", documents), total

    async def get(self, merchant_id: str, contact_id: str) -> ErasureReceipt | None:
        """Return the receipt of a contact that was erased."""
        query = {"_id": contact_id, "merchantId": merchant_id}
        return cast("ErasureReceipt | None", await self._collection.find_one(query))
