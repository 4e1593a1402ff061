"""Who a campaign writes to: contacts of its segments, without those of the segments that it leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.segment_conditions import read_conditions
from storage.client import Database, Document
from storage.indexes import CONTACTS_BY_ID
from storage.segments import Segments

#: A page of the audience that takes longer is given up.
_MOST_TIME_MS = 60_000


@dataclass(frozen=True, slots=True)
class Member:
    """A contact of the audience, and the account that knows it."""

    contact_id: str
    account_id: str


class CampaignAudience:
    """Reads audiences in the order of the contacts' ids, page by page."""

    def __init__(self, database: Database, segments: Segments) -> None:
        self._contacts = database["contacts"]
        self._segments = segments

    async def query(
        self,
        merchant_id: str,
        segment_ids: Sequence[str],
        excluded_ids: Sequence[str],
        account_id: str | None,
        now: datetime,
    ) -> Document:
        """Return the query for the contacts that are in any of the segments and in none of the excluded ones.

        A segment that is gone has nobody in it.
        """
        wanted = await asyncio.gather(*(self._segment(merchant_id, each, now) for each in segment_ids))
        excluded = await asyncio.gather(*(self._segment(merchant_id, each, now) for each in excluded_ids))
        found = [each for each in wanted if each is not None]
        query: Document = {"merchantId": merchant_id, "$and": [{"$or": found}] if found else [{"_id": {"$in": []}}]}
        if account_id is not None:
            query["accountId"] = account_id
        left_out = [each for each in excluded if each is not None]
        if left_out:
            query["$and"].append({"$nor": left_out})
        return query

    async def page(self, query: Document, after: str, most: int) -> list[Member]:
        """Return the next members of an audience, whose ids are beyond `after`."""
        beyond = {**query, "_id": {"$gt": after}}
        found = self._contacts.find(beyond, {"accountId": 1}).sort("_id", 1).limit(most)
        cursor = found.hint(CONTACTS_BY_ID).max_time_ms(_MOST_TIME_MS)
        return [Member(contact["_id"], contact["accountId"]) async for contact in cursor]

    async def _segment(self, merchant_id: str, segment_id: str, now: datetime) -> Document | None:
        segment = await self._segments.get(merchant_id, segment_id)
        if segment is None:
            return None
        return await self._segments.query(merchant_id, read_conditions(segment["conditions"]), now)
