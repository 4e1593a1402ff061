"""What an account takes from the campaigns that it writes for: a few recipients at a time, campaigns in turn.

Only the account's actor asks, and only when its budget has room for a message of a campaign, so an audience of any
size waits in the database and not in a queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter

from actors.campaign_decisions import Decider
from config.settings import Settings
from domain.clock import Clock
from storage.campaign_documents import RunDocument
from storage.campaign_recipients import CampaignRecipients
from storage.campaign_runs import CampaignRuns, Lane
from storage.client import Document

log = structlog.get_logger()

TAKEN = Counter("mktx_campaign_taken_total", "Recipients that accounts have decided on, by decision", ["decision"])

#: Recipients of one campaign before it is the next one's turn.
_TURN = 8
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
#: Runs whose contents are kept in memory.
_RUNS_KEPT = 16


@dataclass(frozen=True, slots=True)
class FeedServices:
    """What feeds work with; they share what they know of runs."""

    settings: Settings
    runs: CampaignRuns
    recipients: CampaignRecipients
    known_runs: dict[str, RunDocument]
    clock: Clock
    #: Sends of campaigns under way at once in this host: the rest of X's connections is left to people.
    slots: asyncio.Semaphore


class CampaignFeed:
    """The lanes of one account in all running campaigns."""

    def __init__(self, account_id: str, services: FeedServices) -> None:
        self._account_id = account_id
        self._services = services
        self._lanes: deque[Lane] = deque()
        self._due: dict[str, datetime] = {}
        # Lanes of which the last take found fewer than it asked for: nobody else was due.
        self._emptied: set[str] = set()

    def __len__(self) -> int:
        """Return how many campaigns this account writes for."""
        return len(self._lanes)

    async def refresh(self) -> None:
        """Read anew which campaigns the account writes for."""
        self._lanes = deque(await self._services.runs.active_lanes(self._account_id))
        self._due = {}
        self._emptied = set()

    def due_at(self) -> datetime | None:
        """Return when there may be something to take; None when there is nothing."""
        if not self._lanes:
            return None
        return min(self._due.get(lane.id, _LONG_AGO) for lane in self._lanes)

    async def take(self, account: Mapping[str, object]) -> list[Document]:
        """Take the next recipients of the campaign whose turn it is; returns messages to be sent.

        `account` is the account's document. None may come back although there is more: others are in turn then.
        """
        now = self._services.clock.now()
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            if self._due.get(lane.id, now) > now:
                continue
            messages = await self._take_from(lane, account, now)
            if messages:
                return messages
        return []

    async def _take_from(self, lane: Lane, account: Mapping[str, object], now: datetime) -> list[Document]:
        run = await self._run(lane.run_id)
        if run is None:
            self._drop(lane)
            return []
        decider = Decider(self._services.settings, run, account, now)
        while lane.id not in self._emptied:
            taken = await self._services.recipients.take(lane, _TURN, now, decider.decide)
            if taken is None:
                self._drop(lane)
                return []
            for decision, count in decider.counted():
                TAKEN.labels(decision).inc(count)
            if taken.decided < _TURN:
                self._emptied.add(lane.id)
            if taken.messages:
                return list(taken.messages)
        # Nobody is due: later, or never.
        due = await self._services.recipients.next_due(lane)
        self._emptied.discard(lane.id)
        if due is None:
            self._drop(lane)
        else:
            self._due[lane.id] = max(due, now)
        return []

    async def give_back(self) -> None:
        """Let all recipients wait again whose messages nobody has begun to send."""
        for run_id in {lane.run_id for lane in await self._services.runs.active_lanes(self._account_id)}:
            await self._services.recipients.withdraw(run_id, self._account_id)

    def _drop(self, lane: Lane) -> None:
        self._due.pop(lane.id, None)
        self._emptied.discard(lane.id)
        self._lanes = deque(each for each in self._lanes if each.id != lane.id)

    async def _run(self, run_id: str) -> RunDocument | None:
        known = self._services.known_runs
        run = known.get(run_id)
        if run is None:
            run = await self._services.runs.run(run_id)
            if run is not None:
                if len(known) >= _RUNS_KEPT:
                    known.pop(next(iter(known)))
                known[run_id] = run
        return run
