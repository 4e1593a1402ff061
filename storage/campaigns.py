from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias, TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.campaign_state import CampaignStatus
from domain.contact_names import fold
from domain.errors import Conflict
from domain.templates import Value
from storage.client import Database, Document, Session, session_of
from storage.paging import Slice, find_page

CampaignType: TypeAlias = Literal["promotional", "transactional", "engagement"]

#: States in which a campaign may be deleted: nothing of it is under way or waits for its time.
REMOVABLE: tuple[CampaignStatus, ...] = ("draft", "completed", "cancelled")
_NEWEST_FIRST = [("_id", DESCENDING)]
#: Recipients that are removed in one step.
_BATCH = 1_000
#: The status of a run whose campaign was deleted, while its recipients are.
REMOVED: Final = "removed"
#: What analytics still show of campaigns that were deleted.
DELETED: Final = "deletedCampaigns"
_KEPT = ("_id", "merchantId", "name", "status", "accountId", "startedAt", "completedAt")


class ScheduleDocument(TypedDict):
    """When a campaign runs; without `startAt` it runs as soon as it is started, without `recurrence` once."""

    startAt: datetime | None
    endAt: datetime | None
    recurrence: str | None
    timezone: str


class VariantDocument(TypedDict):
    """One of several things that a campaign says, to a share of its contacts by weight."""

    name: str
    templateId: str
    weight: int


class CampaignFields(TypedDict):
    """What people say about a campaign; it has a template, or variants with a template each."""

    name: str
    type: CampaignType
    accountId: str | None
    templateId: str | None
    segmentIds: list[str]
    excludeSegmentIds: list[str]
    schedule: ScheduleDocument
    variables: dict[str, Value]
    variants: list[VariantDocument]
    controlShare: float


class CampaignDocument(CampaignFields):
    """A campaign; `runId` is the present or last of its `runs`, `version` grows with each change."""

    _id: str
    merchantId: str
    foldedName: str
    status: CampaignStatus
    statusReason: str | None
    runId: str | None
    runs: int
    nextRunAt: datetime | None
    version: int
    createdAt: datetime
    updatedAt: datetime
    startedAt: datetime | None
    completedAt: datetime | None


@dataclass(frozen=True, slots=True)
class CampaignFilter:
    """Which campaigns are asked for: all conditions hold; `search` is a part of the name as it stands."""

    status: CampaignStatus | None = None
    type: CampaignType | None = None
    search: str = ""


class Campaigns:
    """The campaigns of a merchant, as people make and change them; their actors move them from state to state."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collection = database["campaigns"]

    async def page(self, merchant_id: str, wanted: CampaignFilter, part: Slice) -> tuple[list[CampaignDocument], int]:
        """Return a part of the campaigns, newest first, and how many there are."""
        query: Document = {"merchantId": merchant_id}
        if wanted.status is not None:
            query["status"] = wanted.status
        if wanted.type is not None:
            query["type"] = wanted.type
        if wanted.search:
            # A pattern can't hold a null character as it is.
            query["foldedName"] = {"$regex": re.escape(fold(wanted.search)).replace("\0", r"\x00")}
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part)
        return cast("list[CampaignDocument]", documents), total

    async def get(self, merchant_id: str, campaign_id: str) -> CampaignDocument | None:
        """Return one campaign of the merchant."""
        query = {"_id": campaign_id, "merchantId": merchant_id}
        return cast("CampaignDocument | None", await self._collection.find_one(query))

    async def was_there(self, merchant_id: str, campaign_id: str) -> bool:
        """Return whether the merchant has a campaign, or had one that was started and deleted since."""
        query = {"_id": campaign_id, "merchantId": merchant_id}
        # In this order: what is deleted in between is found among the deleted.
        for name in ("campaigns", DELETED):
            if await self._database[name].find_one(query, {"_id": 1}) is not None:
                return True
        return False

    async def missing(self, merchant_id: str, campaign_ids: Collection[str]) -> set[str]:
        """Return those of several ids that are no campaigns of the merchant."""
        query = {"_id": {"$in": list(campaign_ids)}, "merchantId": merchant_id}
        return set(campaign_ids) - {each["_id"] async for each in self._collection.find(query, {"_id": 1})}

    async def add(self, merchant_id: str, campaign_id: str, fields: CampaignFields, now: datetime) -> CampaignDocument:
        """Store a draft and return it; one with this very id is there already where a request is repeated."""
        document: Document = {
            "_id": campaign_id,
            "merchantId": merchant_id,
            **fields,
            "foldedName": fold(fields["name"]),
            "status": "draft",
            "statusReason": None,
            "runId": None,
            "runs": 0,
            "nextRunAt": None,
            "version": 1,
            "createdAt": now,
            "updatedAt": now,
            "startedAt": None,
            "completedAt": None,
        }
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            same = await self.get(merchant_id, campaign_id)
            if same is None:
                raise
            return same
        return cast("CampaignDocument", document)

    async def change(self, known: CampaignDocument, fields: CampaignFields, now: datetime) -> CampaignDocument:
        """Change a campaign as it was read, and return it.

        Raises:
            Conflict: when somebody else, or the campaign's time, was faster.
        """
        changed = await self._collection.find_one_and_update(
            _as_known(known),
            {"$set": {**fields, "foldedName": fold(fields["name"]), "updatedAt": now}, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
        )
        if changed is None:
            raise _was_faster()
        return cast("CampaignDocument", changed)

    async def remove(self, known: CampaignDocument, now: datetime) -> None:
        """Delete a campaign as it was read, with its lanes.

        Its counters stay, which name nobody, and its tracked links, which are in messages that people have. Of one that
        was started so does what analytics show of it, its name with it. Its recipients may be very many: they are left
        to `remove_recipients`, and the runs stay as `removed` until then.

        Raises:
            Conflict: while it may still send, or when somebody else was faster.
        """
        if known["status"] not in REMOVABLE:
            raise Conflict(f"A campaign that is {known['status']} can't be deleted")
        campaign_id = known["_id"]

        async def work(session: Session) -> bool:
            removed = await self._collection.delete_one(_as_known(known), session=session)
            if removed.deleted_count != 1:
                return False
            if known["startedAt"] is not None:
                kept: Document = {name: value for name, value in known.items() if name in _KEPT}
                await self._database[DELETED].insert_one({**kept, "deletedAt": now}, session=session)
            runs, of_it = self._database["campaignRuns"], {"campaignId": campaign_id}
            run_ids = [run["_id"] async for run in runs.find(of_it, {"_id": 1}, session=session)]
            await runs.update_many(of_it, {"$set": {"status": REMOVED}}, session=session)
            await self._database["campaignLanes"].delete_many({"runId": {"$in": run_ids}}, session=session)
            return True

        async with session_of(self._database.client) as session:
            if not await session.with_transaction(work):
                raise _was_faster()

    async def remove_recipients(self, merchant_id: str, campaign_id: str) -> None:
        """Delete the recipients of a campaign that is gone; may be cut off and called again."""
        recipients = self._database["campaignRecipients"]
        query = {"merchantId": merchant_id, "campaignId": campaign_id}
        while found := await recipients.find(query, {"_id": 1}).limit(_BATCH).to_list(None):
            await recipients.delete_many({"_id": {"$in": [each["_id"] for each in found]}})
        await self._database["campaignRuns"].delete_many({**query, "status": REMOVED})

    async def complete_removals(self) -> None:
        """Delete what is left of campaigns that were deleted by a process that died meanwhile."""
        async for run in self._database["campaignRuns"].find({"status": REMOVED}):
            await self.remove_recipients(run["merchantId"], run["campaignId"])


def templates_of(campaign: CampaignFields) -> list[str]:
    """Return the ids of the templates that a campaign uses."""
    own = [] if campaign["templateId"] is None else [campaign["templateId"]]
    return [*own, *(variant["templateId"] for variant in campaign["variants"])]


def _as_known(known: CampaignDocument) -> Document:
    return {"_id": known["_id"], "merchantId": known["merchantId"], "version": known["version"]}


def _was_faster() -> Conflict:
    return Conflict("The campaign was changed by somebody else")
