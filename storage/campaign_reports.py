"""What is read to answer how a campaign goes: counters, progress, runs, recipients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias, cast

from pymongo import ASCENDING, DESCENDING

from domain.campaign_state import RecipientStatus
from storage.campaign_counts import Counter
from storage.campaign_documents import EstimateDocument, RecipientDocument, RunDocument, recipient_id
from storage.client import Database, Document, aggregated
from storage.paging import Slice, find_page

Counts: TypeAlias = Mapping[Counter, int]
Interval: TypeAlias = Literal["hour", "day"]

COUNTERS: tuple[Counter, ...] = (
    "sent",
    "delivered",
    "failed",
    "skipped",
    "opened",
    "clicked",
    "replied",
    "optedOut",
    "blocked",
)
#: The counters of what was not counted yet.
NO_COUNTS: Counts = dict.fromkeys(COUNTERS, 0)
#: Characters of an hour as counters have it (`2026-01-20T10`) that name its interval, and what makes a time of them.
_INTERVALS: Mapping[Interval, tuple[int, str]] = {"hour": (13, ":00"), "day": (10, "T00:00")}
_NEWEST_RUN_FIRST = [("number", DESCENDING)]
_BY_ID = [("_id", ASCENDING)]
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: recipients altogether, those that have an outcome, and what was last estimated."""

    total: int
    done: int
    estimate: EstimateDocument | None


@dataclass(frozen=True, slots=True)
class Numbers:
    """The counters and the progress of some campaigns, by campaign and by run."""

    counts: Mapping[str, Counts]
    progress: Mapping[str, Progress]

    def counts_of(self, campaign_id: str) -> Counts:
        """Return a campaign's counters; zeros where nothing was counted yet."""
        return self.counts.get(campaign_id, NO_COUNTS)

    def progress_of(self, run_id: str | None) -> Progress:
        """Return a run's progress; zeros where there is no run, or nobody in it yet."""
        return self.progress.get(run_id or "", Progress(0, 0, None))


@dataclass(frozen=True, slots=True)
class Moment:
    """What was sent within an interval that begins `at`."""

    at: datetime
    sent: int
    delivered: int


@dataclass(frozen=True, slots=True)
class RecipientFilter:
    """Which recipients are asked for: all conditions hold."""

    run_id: str | None = None
    status: RecipientStatus | None = None
    reason: str | None = None
    variant: str | None = None
    opened: bool = False
    clicked: bool = False
    replied: bool = False


class CampaignReports:
    """Reads what the actors of campaigns and accounts have written."""

    def __init__(self, database: Database) -> None:
        self._counts = database["campaignCounts"]
        self._runs = database["campaignRuns"]
        self._lanes = database["campaignLanes"]
        self._recipients = database["campaignRecipients"]

    async def numbers(self, merchant_id: str, campaign_ids: Collection[str], run_ids: Collection[str]) -> Numbers:
        """Return the numbers of several campaigns and their runs, in one round trip a collection."""
        counts, lanes, estimates = await asyncio.gather(
            self._grouped({"merchantId": merchant_id, "campaignId": {"$in": list(campaign_ids)}}, "$campaignId"),
            self._lane_sums(merchant_id, run_ids),
            self._estimates(merchant_id, run_ids),
        )
        progress = {
            run_id: Progress(total, total - remaining, estimates.get(run_id))
            for run_id, (total, remaining) in lanes.items()
        }
        return Numbers(counts, progress)

    async def counts(self, merchant_id: str, campaign_id: str, run_id: str | None) -> Counts:
        """Return the counters of a campaign, or of one of its runs."""
        found = await self._grouped(_of(merchant_id, campaign_id, run_id), "$campaignId")
        return found.get(campaign_id, NO_COUNTS)

    async def counts_by_variant(self, merchant_id: str, campaign_id: str, run_id: str | None) -> Mapping[str, Counts]:
        """Return the counters of each variant of a campaign, or of one of its runs."""
        return await self._grouped(_of(merchant_id, campaign_id, run_id), "$variant")

    async def timeline(
        self, merchant_id: str, campaign_id: str, run_id: str | None, interval: Interval
    ) -> list[Moment]:
        """Return what was sent when (UTC), oldest first, leaving out times at which nothing was."""
        length, rest = _INTERVALS[interval]
        pipeline: list[Document] = [
            {"$match": _of(merchant_id, campaign_id, run_id)},
            {
                "$group": {
                    "_id": {"$substrBytes": ["$hour", 0, length]},
                    "sent": {"$sum": "$sent"},
                    "delivered": {"$sum": "$delivered"},
                }
            },
            {"$match": {"$or": [{"sent": {"$ne": 0}}, {"delivered": {"$ne": 0}}]}},
            {"$sort": {"_id": ASCENDING}},
        ]
        return [
            Moment(datetime.fromisoformat(each["_id"] + rest).replace(tzinfo=UTC), each["sent"], each["delivered"])
            for each in await aggregated(self._counts, pipeline)
        ]

    async def runs(self, merchant_id: str, campaign_id: str, part: Slice) -> tuple[list[RunDocument], int]:
        """Return a part of a campaign's runs, newest first, and how many there are."""
        query = {"campaignId": campaign_id, "merchantId": merchant_id}
        documents, total = await find_page(self._runs, query, _NEWEST_RUN_FIRST, part)
        return cast("list[RunDocument]", documents), total

    async def counts_by_run(self, merchant_id: str, campaign_id: str, run_ids: Sequence[str]) -> Mapping[str, Counts]:
        """Return the counters of several runs of a campaign; zeros where nothing was counted."""
        query = {**_of(merchant_id, campaign_id, None), "runId": {"$in": list(run_ids)}}
        return {**dict.fromkeys(run_ids, NO_COUNTS), **await self._grouped(query, "$runId")}

    async def recipients(
        self, merchant_id: str, campaign_id: str, wanted: RecipientFilter, part: Slice
    ) -> tuple[list[RecipientDocument], int]:
        """Return a part of a campaign's recipients, by run and contact, and how many there are."""
        query = _recipient_query(merchant_id, campaign_id, wanted)
        documents, total = await find_page(self._recipients, query, _BY_ID, part)
        return cast("list[RecipientDocument]", documents), total

    async def every_recipient(
        self, merchant_id: str, campaign_id: str, wanted: RecipientFilter
    ) -> AsyncIterator[list[RecipientDocument]]:
        """Yield all of a campaign's recipients that are asked for, some at a time, in the order of `recipients`."""
        query = _recipient_query(merchant_id, campaign_id, wanted)
        after = ""
        while found := await self._some(query, after):
            yield found
            after = found[-1]["_id"]

    async def _some(self, query: Document, after: str) -> list[RecipientDocument]:
        place = {"$and": [query, {"_id": {"$gt": after}}]}
        found = await self._recipients.find(place).sort(_BY_ID).limit(_BATCH).to_list(None)
        return cast("list[RecipientDocument]", found)

    async def _grouped(self, query: Document, by: str) -> dict[str, Counts]:
        sums = {name: {"$sum": f"${name}"} for name in COUNTERS}
        found = await aggregated(self._counts, [{"$match": query}, {"$group": {"_id": by, **sums}}])
        return {each["_id"]: {name: each[name] for name in COUNTERS} for each in found}

    async def _lane_sums(self, merchant_id: str, run_ids: Collection[str]) -> dict[str, tuple[int, int]]:
        pipeline: list[Document] = [
            {"$match": {"runId": {"$in": list(run_ids)}, "merchantId": merchant_id}},
            {"$group": {"_id": "$runId", "total": {"$sum": "$total"}, "remaining": {"$sum": "$remaining"}}},
        ]
        return {each["_id"]: (each["total"], each["remaining"]) for each in await aggregated(self._lanes, pipeline)}

    async def _estimates(self, merchant_id: str, run_ids: Collection[str]) -> dict[str, EstimateDocument | None]:
        query = {"_id": {"$in": list(run_ids)}, "merchantId": merchant_id}
        return {run["_id"]: run["estimate"] async for run in self._runs.find(query, {"estimate": 1})}


def _of(merchant_id: str, campaign_id: str, run_id: str | None) -> Document:
    query: Document = {"merchantId": merchant_id, "campaignId": campaign_id}
    if run_id is not None:
        query["runId"] = run_id
    return query


def _recipient_query(merchant_id: str, campaign_id: str, wanted: RecipientFilter) -> Document:
    query = _of(merchant_id, campaign_id, None)
    if wanted.run_id is not None:
        # Ids begin with the run's: those of one run stand together in the index.
        query["_id"] = {"$gte": recipient_id(wanted.run_id, ""), "$lt": recipient_id(wanted.run_id, "~")}
    for name, value in (("status", wanted.status), ("reason", wanted.reason), ("variant", wanted.variant)):
        if value is not None:
            query[name] = value
    happened = (("openedAt", wanted.opened), ("clickedAt", wanted.clicked), ("repliedAt", wanted.replied))
    return query | {name: {"$type": "date"} for name, is_wanted in happened if is_wanted}
