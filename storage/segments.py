from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.errors import Conflict, InvalidContent, Problem
from domain.segment_conditions import All, conditions_of
from domain.segment_fields import Kind
from domain.segment_query import CampaignContacts, query_of
from storage.client import Database, Document
from storage.contacts import ContactDocument
from storage.paging import Slice, find_page
from storage.segment_indexes import index_of
from storage.templates import CAMPAIGN_IN_USE

#: A question that takes longer is given up.
_MOST_TIME_MS = 10_000
#: Contacts of one campaign that a condition can ask about; their ids are part of the query.
_MOST_RECIPIENTS = 200_000
_NEWEST_FIRST = [("_id", DESCENDING)]
#: When something happened to a campaign's recipient.
_EVENT_FIELDS: Mapping[str, str] = {
    "received": "sentAt",
    "opened": "openedAt",
    "clicked": "clickedAt",
    "replied": "repliedAt",
}


class SegmentDocument(TypedDict):
    """Contacts that meet some conditions; `contactCount` was true at `countedAt`, `version` grows with each change."""

    _id: str
    merchantId: str
    name: str
    conditions: list[object]
    contactCount: int
    countedAt: datetime
    version: int
    createdAt: datetime
    updatedAt: datetime


class Segments:
    """The segments of a merchant, and who is in them; a name is given once."""

    def __init__(self, database: Database) -> None:
        self._collection = database["segments"]
        self._contacts = database["contacts"]
        self._campaigns = database["campaigns"]
        self._flows = database["flows"]
        self._recipients = database["campaignRecipients"]

    async def page(self, merchant_id: str, part: Slice) -> tuple[list[SegmentDocument], int]:
        """Return a part of the segments, newest first, and how many there are."""
        documents, total = await find_page(self._collection, {"merchantId": merchant_id}, _NEWEST_FIRST, part)
        return cast("list[SegmentDocument]", documents), total

    async def get(self, merchant_id: str, segment_id: str) -> SegmentDocument | None:
        """Return one segment of the merchant."""
        query = {"_id": segment_id, "merchantId": merchant_id}
        return cast("SegmentDocument | None", await self._collection.find_one(query))

    async def missing(self, merchant_id: str, segment_ids: Collection[str]) -> set[str]:
        """Return those of several ids that are no segments of the merchant."""
        query = {"_id": {"$in": list(segment_ids)}, "merchantId": merchant_id}
        return set(segment_ids) - {each["_id"] async for each in self._collection.find(query, {"_id": 1})}

    async def add(self, segment: SegmentDocument) -> SegmentDocument:
        """Store a segment and return it; one with this very id is there already where a request is repeated.

        Raises:
            Conflict: when the merchant has another one of that name.
        """
        try:
            await self._collection.insert_one(dict(segment))
        except DuplicateKeyError:
            same = await self.get(segment["merchantId"], segment["_id"])
            if same is None:
                raise _name_taken() from None
            return same
        return segment

    async def change(
        self, known: SegmentDocument, name: str, conditions: Sequence[object], count: int, now: datetime
    ) -> SegmentDocument:
        """Change a segment as it was read, and return it.

        Raises:
            Conflict: when the merchant has another one of that name, or somebody else was faster.
        """
        query = {"_id": known["_id"], "merchantId": known["merchantId"], "version": known["version"]}
        fields = {"name": name, "conditions": list(conditions), "contactCount": count}
        update = {"$set": {**fields, "countedAt": now, "updatedAt": now}, "$inc": {"version": 1}}
        try:
            changed = await self._collection.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        except DuplicateKeyError:
            raise _name_taken() from None
        if changed is None:
            raise Conflict("The segment was changed by somebody else")
        return cast("SegmentDocument", changed)

    async def counted(self, known: SegmentDocument, count: int, now: datetime) -> SegmentDocument:
        """Note how many contacts are in a segment, unless its conditions were changed meanwhile; return it so."""
        query = {"_id": known["_id"], "merchantId": known["merchantId"], "version": known["version"]}
        await self._collection.update_one(query, {"$set": {"contactCount": count, "countedAt": now}})
        return {**known, "contactCount": count, "countedAt": now}

    async def remove(self, merchant_id: str, segment_id: str) -> bool:
        """Delete a segment; answers whether the merchant had it.

        Raises:
            Conflict: while a campaign uses it that may still send, for those it takes or for those it leaves out, or
                a flow.
        """
        used: Document = {
            "merchantId": merchant_id,
            "status": {"$in": list(CAMPAIGN_IN_USE)},
            "$or": [{"segmentIds": segment_id}, {"excludeSegmentIds": segment_id}],
        }
        if await self._campaigns.find_one(used, {"_id": 1}) is not None:
            raise Conflict("The segment is being used by active campaigns")
        used = {"merchantId": merchant_id, "trigger.config.segmentId": segment_id}
        if await self._flows.find_one(used, {"_id": 1}) is not None:
            raise Conflict("The segment is being used by flows")
        result = await self._collection.delete_one({"_id": segment_id, "merchantId": merchant_id})
        return result.deleted_count == 1

    async def check_campaigns(self, merchant_id: str, conditions: All) -> None:
        """Check that the merchant has the campaigns that conditions ask about.

        Raises:
            InvalidContent: when one does not exist.
        """
        asked = {each.field.path for each in conditions_of(conditions) if each.field.kind is Kind.CAMPAIGN}
        if not asked:
            return
        query = {"_id": {"$in": sorted(asked)}, "merchantId": merchant_id}
        unknown = asked - {campaign["_id"] async for campaign in self._campaigns.find(query, {"_id": 1})}
        if unknown:
            problems = tuple(Problem("conditions", f"campaign {each} does not exist") for each in sorted(unknown))
            raise InvalidContent("There is no such campaign", problems=problems)

    async def reached(self, merchant_id: str, contact_id: str, conditions: All) -> CampaignContacts:
        """Return what conditions ask about campaigns, as it is for one contact."""
        asked = _asked_of_campaigns(conditions)
        if not asked:
            return {}
        query: Document = {
            "contactId": contact_id,
            "merchantId": merchant_id,
            "campaignId": {"$in": sorted({campaign_id for campaign_id, _ in asked})},
        }
        shown = dict.fromkeys(("campaignId", *_EVENT_FIELDS.values()), 1)
        recipients = await self._recipients.find(query, shown).to_list(None)
        return {
            (campaign_id, event): [contact_id]
            for campaign_id, event in asked
            if any(each["campaignId"] == campaign_id and each.get(_EVENT_FIELDS[event]) for each in recipients)
        }

    async def query(self, merchant_id: str, conditions: All, now: datetime) -> Document:
        """Return the query for the merchant's contacts that meet conditions as of a moment."""
        pairs = _asked_of_campaigns(conditions)
        found = {pair: await self._reached(merchant_id, *pair) for pair in sorted(pairs)}
        return query_of(merchant_id, conditions, now, found)

    async def count(self, merchant_id: str, conditions: All, now: datetime) -> int:
        """Return how many contacts meet conditions as of a moment."""
        query = await self.query(merchant_id, conditions, now)
        return await self._count(query, await index_of(self._contacts, merchant_id, conditions, now))

    async def preview(
        self, merchant_id: str, conditions: All, limit: int, now: datetime
    ) -> tuple[list[ContactDocument], int]:
        """Return some of the contacts that meet conditions, newest first, and how many there are."""
        query = await self.query(merchant_id, conditions, now)
        index = await index_of(self._contacts, merchant_id, conditions, now)
        cursor = self._contacts.find(query).sort(_NEWEST_FIRST).limit(limit).hint(index).max_time_ms(_MOST_TIME_MS)
        documents = await cursor.to_list(None)
        # Where all that there are were found, every contact was looked at: counting would look a second time.
        total = len(documents) if len(documents) < limit else await self._count(query, index)
        return cast("list[ContactDocument]", documents), total

    async def _count(self, query: Document, index: str) -> int:
        return await self._contacts.count_documents(query, hint=index, maxTimeMS=_MOST_TIME_MS)

    async def _reached(self, merchant_id: str, campaign_id: str, event: str) -> list[str]:
        query: Document = {
            "merchantId": merchant_id,
            "campaignId": campaign_id,
            _EVENT_FIELDS[event]: {"$type": "date"},
        }
        cursor = self._recipients.find(query, {"contactId": 1}).limit(_MOST_RECIPIENTS + 1)
        found = [recipient["contactId"] async for recipient in cursor.max_time_ms(_MOST_TIME_MS)]
        if len(found) > _MOST_RECIPIENTS:
            problem = Problem("conditions", f"campaign {campaign_id} reached more than {_MOST_RECIPIENTS} contacts")
            raise InvalidContent("The campaign is too large to be asked about", problems=(problem,))
        return found


def _asked_of_campaigns(conditions: All) -> set[tuple[str, str]]:
    """Return the campaigns that conditions ask about, each with what is to have happened there."""
    return {
        (each.field.path, str(event))
        for each in conditions_of(conditions)
        if each.field.kind is Kind.CAMPAIGN and isinstance(each.value, tuple)
        for event in each.value
    }


def _name_taken() -> Conflict:
    return Conflict("There is a segment of this name already", details={"field": "name", "reason": "is taken"})
