"""The runs of campaigns, and how a campaign moves from state to state with them.

Every move is conditional on the state it starts from, so that two callers of the same moment make one move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo import InsertOne, ReturnDocument, UpdateOne

from storage.campaign_documents import (
    EstimateDocument,
    LaneDocument,
    LaneStatus,
    RecipientDocument,
    RunDocument,
    RunStatus,
    SnapshotDocument,
    lane_id,
)
from storage.campaigns import CampaignDocument
from storage.client import Client, Database, Document, Session, aggregated, session_of


class Moved(Exception):
    """Somebody else has moved the campaign or its run meanwhile."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What an account needs to know of a run that it writes for."""

    id: str
    merchant_id: str
    campaign_id: str
    run_id: str
    account_id: str
    remaining: int

    @classmethod
    def of(cls, document: LaneDocument) -> Lane:
        """Return the lane of a document."""
        return cls(
            id=document["_id"],
            merchant_id=document["merchantId"],
            campaign_id=document["campaignId"],
            run_id=document["runId"],
            account_id=document["accountId"],
            remaining=document["remaining"],
        )


class CampaignRuns:
    """Campaigns as their actor sees them, their runs and lanes."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._campaigns = database["campaigns"]
        self._runs = database["campaignRuns"]
        self._lanes = database["campaignLanes"]
        self._recipients = database["campaignRecipients"]
        self._accounts = database["accounts"]

    # --- campaigns

    async def campaign(self, campaign_id: str) -> CampaignDocument | None:
        """Return a campaign, for its actor."""
        return cast("CampaignDocument | None", await self._campaigns.find_one({"_id": campaign_id}))

    async def under_way(self) -> list[str]:
        """Return the ids of all campaigns whose run is worked on."""
        cursor = self._runs.find({"status": {"$in": ["snapshot", "running", "stopping"]}}, {"campaignId": 1})
        return list({str(run["campaignId"]) async for run in cursor})

    async def move(self, known: CampaignDocument, fields: Document, *, unset: Sequence[str] = ()) -> CampaignDocument:
        """Change a campaign as it was read, and return it.

        Raises:
            Moved: when somebody else was faster.
        """
        update: Document = {"$set": fields, "$inc": {"version": 1}}
        if unset:
            update["$unset"] = dict.fromkeys(unset, "")
        changed = await self._campaigns.find_one_and_update(
            {"_id": known["_id"], "version": known["version"]}, update, return_document=ReturnDocument.AFTER
        )
        if changed is None:
            raise Moved
        return cast("CampaignDocument", changed)

    async def begin(self, known: CampaignDocument, run: RunDocument, fields: Document) -> CampaignDocument:
        """Begin a run: the campaign as it was read is changed, and the run is there, both or neither.

        Raises:
            Moved: when somebody else was faster.
        """

        async def work(session: Session) -> Document | None:
            changed = await self._campaigns.find_one_and_update(
                {"_id": known["_id"], "version": known["version"]},
                {"$set": {**fields, "runId": run["_id"], "runs": run["number"]}, "$inc": {"version": 1}},
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            if changed is not None:
                await self._runs.insert_one(dict(run), session=session)
            return changed

        async with session_of(self._client) as session:
            changed = await session.with_transaction(work)
        if changed is None:
            raise Moved
        return cast("CampaignDocument", changed)

    # --- runs

    async def run(self, run_id: str) -> RunDocument | None:
        """Return a run."""
        return cast("RunDocument | None", await self._runs.find_one({"_id": run_id}))

    async def note(self, run: RunDocument) -> None:
        """Keep a run that never was: one whose time was missed."""
        await self._runs.insert_one(dict(run))

    async def snapshot_batch(self, run: RunDocument, recipients: Sequence[RecipientDocument], *, done: bool) -> None:
        """Write down a part of the audience: recipients, the totals of their lanes, and how far the run is with it.

        `run` is changed with the database.

        Raises:
            Moved: when the part has been written down already, or the run is over.
        """
        known = run["snapshot"]
        after = recipients[-1]["contactId"] if recipients else known["after"]
        snapshot = SnapshotDocument(after=after, done=done, total=known["total"] + len(recipients))
        lanes: dict[str, int] = {}
        for recipient in recipients:
            lanes[recipient["accountId"]] = lanes.get(recipient["accountId"], 0) + 1

        async def work(session: Session) -> bool:
            moved = await self._runs.update_one(
                {"_id": run["_id"], "status": "snapshot", "snapshot": known},
                {"$set": {"snapshot": snapshot, **({"status": "running"} if done else {})}},
                session=session,
            )
            if moved.matched_count != 1:
                return False
            if recipients:
                inserts = [InsertOne(cast(Document, recipient)) for recipient in recipients]
                await self._recipients.bulk_write(inserts, ordered=False, session=session)
                await self._lanes.bulk_write(_lane_totals(run, lanes), ordered=False, session=session)
            return True

        async with session_of(self._client) as session:
            if not await session.with_transaction(work):
                raise Moved
        run["snapshot"] = snapshot
        if done:
            run["status"] = "running"

    async def stop(self, run_id: str, reason: str) -> None:
        """Let a run take nobody more: who waits is to be skipped for this reason."""
        await self._runs.update_one(
            {"_id": run_id, "status": {"$in": ["snapshot", "running"]}},
            {"$set": {"status": "stopping", "stopReason": reason}},
        )
        await self.move_lanes(run_id, ["waiting", "active", "paused"], "cancelled")

    async def end(
        self,
        run_id: str,
        status: RunStatus,
        now: datetime,
        *,
        known: CampaignDocument | None = None,
        fields: Document | None = None,
    ) -> None:
        """End a run that has no open recipients left, and change its campaign as it was read, both or neither.

        Raises:
            Moved: when somebody else has changed the campaign.
        """

        async def work(session: Session) -> None:
            if known is not None:
                changed = await self._campaigns.update_one(
                    {"_id": known["_id"], "version": known["version"]},
                    {"$set": fields or {}, "$inc": {"version": 1}},
                    session=session,
                )
                if not changed.matched_count:
                    raise Moved
            await self._runs.update_one({"_id": run_id}, {"$set": {"status": status, "endedAt": now}}, session=session)
            lane = "done" if status == "completed" else "cancelled"
            await self._lanes.update_many(
                {"runId": run_id}, {"$set": {"status": lane, "remaining": 0}}, session=session
            )

        async with session_of(self._client) as session:
            await session.with_transaction(work)

    async def reopen(self, run_id: str) -> None:
        """Let a run that was completed go on."""
        await self._runs.update_one({"_id": run_id}, {"$set": {"status": "running", "endedAt": None}})

    async def has_open(self, run_id: str) -> bool:
        """Return whether a run has recipients without an outcome."""
        return await self._recipients.find_one({"runId": run_id, "open": True}, {"_id": 1}) is not None

    async def estimated(self, run_id: str, estimate: EstimateDocument) -> None:
        """Keep when a run will be over."""
        await self._runs.update_one({"_id": run_id}, {"$set": {"estimate": estimate}})

    # --- lanes

    async def move_lanes(self, run_id: str, before: Sequence[LaneStatus], after: LaneStatus) -> list[str]:
        """Move the lanes of a run from one state to another; returns the ids of all accounts that have lanes of it."""
        moved = {"runId": run_id, "status": {"$in": list(before)}}
        await self._lanes.update_many(moved, {"$set": {"status": after}})
        return await self.accounts(run_id)

    async def accounts(self, run_id: str) -> list[str]:
        """Return the ids of the accounts that write for a run."""
        return [lane["accountId"] async for lane in self._lanes.find({"runId": run_id}, {"accountId": 1})]

    async def has_idle_lanes(self, run_id: str) -> bool:
        """Return whether a run has lanes from which nobody may take."""
        return await self._lanes.find_one({"runId": run_id, "status": {"$ne": "active"}}, {"_id": 1}) is not None

    async def active_lanes(self, account_id: str) -> list[Lane]:
        """Return the lanes in which an account may take recipients, oldest run first."""
        cursor = self._lanes.find({"accountId": account_id, "status": "active"}).sort("_id", 1)
        return [Lane.of(cast("LaneDocument", document)) async for document in cursor]

    async def accounts_with_lanes(self) -> list[str]:
        """Return the ids of all accounts that may take recipients."""
        return [str(each) for each in await self._lanes.distinct("accountId", {"status": "active"})]

    async def longest_lanes(self, run_id: str, most: int) -> list[Lane]:
        """Return the lanes of a run that have most to do."""
        cursor = self._lanes.find({"runId": run_id, "remaining": {"$gt": 0}}).sort("remaining", -1).limit(most)
        return [Lane.of(cast("LaneDocument", document)) async for document in cursor]

    async def trouble(self, run_id: str) -> str | None:
        """Return why one of the accounts that still have recipients of a run sends nothing; None where all may."""
        busy = self._lanes.find({"runId": run_id, "remaining": {"$gt": 0}}, {"accountId": 1})
        query = {"_id": {"$in": [lane["accountId"] async for lane in busy]}, "status": "error"}
        account = await self._accounts.find_one(query, {"statusReason": 1})
        return None if account is None else str(account.get("statusReason") or "account_error")

    async def other_work(self, run_id: str, account_ids: Sequence[str]) -> dict[str, list[int]]:
        """Return how many recipients each other active lane of these accounts has."""
        query: Document = {"accountId": {"$in": list(account_ids)}, "status": "active", "runId": {"$ne": run_id}}
        found: dict[str, list[int]] = {}
        async for lane in self._lanes.find(query, {"accountId": 1, "remaining": 1}):
            found.setdefault(lane["accountId"], []).append(lane["remaining"])
        return found

    async def remaining(self, run_id: str) -> int:
        """Return how many recipients of a run have no outcome."""
        counted = {"$group": {"_id": None, "remaining": {"$sum": "$remaining"}}}
        for found in await aggregated(self._lanes, [{"$match": {"runId": run_id}}, counted]):
            return int(found["remaining"])
        return 0


def _lane_totals(run: RunDocument, added: dict[str, int]) -> list[UpdateOne]:
    return [
        UpdateOne(
            {"_id": lane_id(run["_id"], account_id)},
            {
                "$inc": {"total": count, "remaining": count},
                "$setOnInsert": {
                    "merchantId": run["merchantId"],
                    "campaignId": run["campaignId"],
                    "runId": run["_id"],
                    "accountId": account_id,
                    "status": "waiting",
                },
            },
            upsert=True,
        )
        for account_id, count in sorted(added.items())
    ]
