"""One run of a campaign, from the snapshot of its audience to the outcome of its last recipient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from prometheus_client import Counter

from config.settings import Settings
from domain.campaign_estimate import LaneWork, estimate
from domain.clock import Clock
from domain.send_windows import SendWindows
from domain.variants import CONTROL, assigned
from storage.account_budgets import AccountBudgets
from storage.campaign_audience import CampaignAudience, Member
from storage.campaign_documents import EstimateDocument, RecipientDocument, RunDocument, recipient_id
from storage.campaign_recipients import CampaignRecipients
from storage.campaign_runs import CampaignRuns
from storage.reminders import Reminders
from storage.templates import Templates

log = structlog.get_logger()

SNAPSHOT = Counter("mktx_campaign_recipients_total", "Recipients that were written down for campaigns")

#: Recipients written down in one transaction.
_BATCH = 1_000
#: Accounts that an estimate looks at: those that have most to do decide when a run is over.
_ACCOUNTS_ESTIMATED = 50


class Tell(Protocol):
    """Sends a message to an actor, wherever it is, without waiting for an answer."""

    def __call__(self, kind: str, key: str, method: str, *args: object) -> None:
        """Send it."""


@dataclass(frozen=True, slots=True)
class CampaignServices:
    """What the actors of campaigns work with."""

    settings: Settings
    runs: CampaignRuns
    recipients: CampaignRecipients
    audience: CampaignAudience
    templates: Templates
    budgets: AccountBudgets
    reminders: Reminders
    clock: Clock
    tell: Tell


async def write_down(services: CampaignServices, run: RunDocument) -> None:
    """Write down the next part of a run's audience; `run` is changed with the database.

    Raises:
        Moved: when the run is over, or somebody else was faster.
    """
    now, snapshot = services.clock.now(), run["snapshot"]
    query = await services.audience.query(
        run["merchantId"], run["segmentIds"], run["excludeSegmentIds"], run["accountId"], run["startedAt"] or now
    )
    members = await services.audience.page(query, snapshot["after"], _BATCH)
    recipients = [_recipient(run, member, now) for member in members]
    await services.runs.snapshot_batch(run, recipients, done=len(members) < _BATCH)
    SNAPSHOT.inc(len(recipients))
    if run["snapshot"]["done"]:
        log.info("campaign.snapshot", campaign=run["campaignId"], run=run["_id"], recipients=run["snapshot"]["total"])


def _recipient(run: RunDocument, member: Member, now: datetime) -> RecipientDocument:
    weights = [(content["name"], content["weight"]) for content in run["contents"]]
    variant = assigned(run["_id"], member.contact_id, weights, run["controlShare"])
    return RecipientDocument(
        _id=recipient_id(run["_id"], member.contact_id),
        merchantId=run["merchantId"],
        campaignId=run["campaignId"],
        runId=run["_id"],
        accountId=member.account_id,
        contactId=member.contact_id,
        variant=CONTROL if variant is None else variant,
        status="pending",
        open=True,
        reason=None,
        dueAt=now,
        messageId=None,
        attempt=1,
        createdAt=now,
        sentAt=None,
        openedAt=None,
        clickedAt=None,
        repliedAt=None,
        optedOutAt=None,
        blockedAt=None,
    )


async def keep_estimate(services: CampaignServices, run: RunDocument) -> None:
    """Work out when a run will be over, from the budgets of the accounts that have most to do, and keep it."""
    now = services.clock.now()
    lanes = await services.runs.longest_lanes(run["_id"], _ACCOUNTS_ESTIMATED)
    accounts = [lane.account_id for lane in lanes]
    windows = await services.budgets.windows(accounts)
    others = await services.runs.other_work(run["_id"], accounts)
    work = [
        LaneWork(
            windows=windows.get(lane.account_id) or SendWindows(services.budgets.limits),
            remaining=lane.remaining,
            others=others.get(lane.account_id, ()),
        )
        for lane in lanes
    ]
    found = estimate(work, now)
    remaining = await services.runs.remaining(run["_id"])
    in_lanes = sum(lane.remaining for lane in lanes)
    # What the accounts looked at do in a minute, and in proportion what the rest does.
    rate = found.rate_per_minute * (remaining / in_lanes if in_lanes else 0)
    kept = EstimateDocument(ratePerMinute=round(rate, 2), estimatedCompletionAt=found.completion_at, at=now)
    await services.runs.estimated(run["_id"], kept)


def tell_accounts(services: CampaignServices, account_ids: Sequence[str]) -> None:
    """Tell the actors of accounts that what they may take has changed."""
    for account_id in account_ids:
        services.tell("account", account_id, "campaigns_changed")
