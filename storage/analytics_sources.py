"""What analytics are answered from: rollups, and the counters and states of campaigns and flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import cast

from domain.campaign_state import CampaignStatus
from domain.period import Hours, cut_days
from domain.rollup import flow_scope
from storage.campaign_reports import COUNTERS
from storage.campaigns import DELETED
from storage.client import Database, Document, aggregated
from storage.flow_documents import FlowDocument
from storage.rollups import Day, Rollups, Wanted

#: What adds up to how many there are at a moment.
STANDING = ("contactsNew", "contactsRemoved", "conversationsStarted", "conversationsClosed")
#: Campaigns whose counters are read in one step.
_MOST_CAMPAIGNS = 10_000
_EPOCH = date(1970, 1, 1)
_FIELDS = dict.fromkeys(("name", "status", "accountId", "startedAt", "completedAt"), 1)


@dataclass(frozen=True, slots=True)
class CampaignState:
    """A campaign, and from when to when it was or is under way; one that was deleted is as it was then."""

    id: str
    name: str
    status: CampaignStatus
    started_at: datetime | None
    completed_at: datetime | None
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of a scope from an hour on, and of what stands those before it as well."""

    start: int
    base: Mapping[str, int]
    days: Mapping[str, Day]
    _known: dict[Hours, Counter[str]] = field(default_factory=dict)

    def of(self, hours: Hours) -> Counter[str]:
        """Return the sums of some hours."""
        known = self._known.get(hours)
        if known is None:
            known = self._known[hours] = Counter()
            for counts in self._counts(hours):
                known.update(counts)
        return known

    def standing(self, end: int) -> dict[str, int]:
        """Return the sums, from the first there are until before an hour, of what adds up to how many there are."""
        found = {name: self.base.get(name, 0) for name in STANDING}
        for counts in self._counts(Hours(self.start, end)):
            for name in STANDING:
                found[name] += counts.get(name, 0)
        return found

    def _counts(self, hours: Hours) -> Iterator[Mapping[str, int]]:
        for number in range(hours.start // 24, -(-hours.end // 24)):
            day = self.days.get((_EPOCH + timedelta(days=number)).isoformat())
            if day is None:
                continue
            first, end = max(hours.start - number * 24, 0), min(hours.end - number * 24, 24)
            if end - first == 24:  # noqa: PLR2004  # hours of a day
                yield day.measures
            else:
                yield from (day.hours[hour] for hour in range(first, end) if hour in day.hours)

    def active(self, first: str, last: str) -> int:
        """Return how many contacts were active on any of the days from one to another."""
        return sum(
            count
            for day in self.days.values()
            if first <= day.day <= last
            for before, count in day.active.items()
            if before < first
        )


class AnalyticsSources:
    """Reads what analytics are made of."""

    def __init__(self, database: Database) -> None:
        self._rollups = Rollups(database)
        self._campaigns = database["campaigns"]
        self._deleted_campaigns = database[DELETED]
        self._campaign_counts = database["campaignCounts"]
        self._flows = database["flows"]

    async def sums(
        self,
        merchant_id: str,
        scope: str,
        hours: Hours,
        *,
        cuts: Collection[Hours] | None = (),
        days: tuple[str, str] | None = None,
        standing: bool = False,
    ) -> Sums:
        """Return the sums of a scope.

        Args:
            merchant_id: whose.
            scope: of what.
            hours: which are asked for.
            cuts: stretches whose beginnings and ends are asked for, too; None where each hour may be.
            days: where active contacts are asked for, the first and last day that they may be counted in.
            standing: whether it is asked for what there is at a moment.
        """
        first, last = _day(hours.start), _day(max(hours.start, hours.end - 1))
        cut = None if cuts is None else frozenset(day for each in (hours, *cuts) for day in cut_days(each))
        base = await self._rollups.before(merchant_id, scope, first, STANDING) if standing else Counter[str]()
        if days is not None:
            first, last = min(first, days[0]), max(last, days[1])
        wanted = Wanted(first, last, cut, active=days is not None)
        found = await self._rollups.days(merchant_id, scope, wanted)
        return Sums(hours.start // 24 * 24, base, found)

    async def flow_sums(self, merchant_id: str, flow_id: str | None, hours: Hours) -> dict[str, Counter[str]]:
        """Return the sums of each flow that anything was counted of, or of one, by flow."""
        wanted = Wanted(_day(hours.start), _day(max(hours.start, hours.end - 1)))
        prefix = flow_scope(flow_id or "")
        by_flow = await self._rollups.by_scope(merchant_id, prefix, wanted)
        sums = {flow_id or key: Sums(hours.start, {}, days).of(hours) for key, days in by_flow.items()}
        return {key: counts for key, counts in sums.items() if any(counts.values())}

    async def campaigns(
        self, merchant_id: str, *, account_id: str | None, campaign_id: str | None, until: datetime
    ) -> list[CampaignState]:
        """Return the campaigns that were started before a moment, newest first: all, or an account's own, or one.

        Those that were deleted since are among them: what was sent was sent.
        """
        query: Document = {"merchantId": merchant_id, "startedAt": {"$lt": until}}
        if account_id is not None:
            query["accountId"] = account_id
        if campaign_id is not None:
            query["_id"] = campaign_id
        # In this order: what is deleted in between is found twice, and as deleted.
        states: dict[str, CampaignState] = {}
        for collection, is_deleted in ((self._campaigns, False), (self._deleted_campaigns, True)):
            found = collection.find(query, _FIELDS).sort("_id", -1).limit(_MOST_CAMPAIGNS)
            async for each in found:
                span = each["startedAt"], each["completedAt"]
                states[each["_id"]] = CampaignState(each["_id"], each["name"], each["status"], *span, is_deleted)
        return [states[key] for key in sorted(states, reverse=True)[:_MOST_CAMPAIGNS]]

    async def campaign_hours(
        self, merchant_id: str, campaign_ids: Collection[str], hours: Hours, *, by: str
    ) -> dict[str, Counter[str]]:
        """Return what was counted of campaigns in some hours, by `campaignId` or by `hour` (`2026-01-18T10`)."""
        if not campaign_ids:
            return {}
        within = {"$gte": _hour_name(hours.start), "$lt": _hour_name(hours.end)}
        query: Document = {"campaignId": {"$in": list(campaign_ids)}, "merchantId": merchant_id, "hour": within}
        sums = {name: {"$sum": f"${name}"} for name in COUNTERS}
        pipeline: list[Document] = [{"$match": query}, {"$group": {"_id": f"${by}", **sums}}]
        found = await aggregated(self._campaign_counts, pipeline)
        return {each["_id"]: Counter({name: each[name] for name in COUNTERS}) for each in found}

    async def active_flows(self, merchant_id: str, account_id: str | None, flow_id: str | None) -> int:
        """Return how many flows are active now: all, those that concern an account, or whether one is."""
        query: Document = {"merchantId": merchant_id, "status": "active"}
        if account_id is not None:
            query["accountId"] = {"$in": [account_id, None]}
        if flow_id is not None:
            query["_id"] = flow_id
        return await self._flows.count_documents(query)

    async def flows(self, merchant_id: str, flow_ids: Collection[str]) -> dict[str, FlowDocument]:
        """Return the names and states of flows by id."""
        query = {"_id": {"$in": list(flow_ids)}, "merchantId": merchant_id}
        found = await self._flows.find(query, {"name": 1, "status": 1}).to_list(None)
        return {each["_id"]: cast("FlowDocument", each) for each in found}


def hour_of_name(name: str) -> int:
    """Return the hour, counted from 1970 (UTC), of a name such as `2026-01-18T10`."""
    return (date.fromisoformat(name[:10]) - _EPOCH).days * 24 + int(name[11:13])


def _hour_name(hour: int) -> str:
    return f"{_day(hour)}T{hour % 24:02}"


def _day(hour: int) -> str:
    return (_EPOCH + timedelta(days=hour // 24)).isoformat()
