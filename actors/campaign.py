"""The actor of a campaign: what moves it from state to state, and follows its run to the end.

All that must survive is in the documents of the campaign and its run, and each move is conditional on what was read,
so the actor keeps nothing that would have to be fenced: another host that believes in the same campaign makes the
same moves, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.campaign_contents import contents_of, new_run
from actors.campaign_run import CampaignServices, keep_estimate, tell_accounts, write_down
from actors.campaign_turn import Turn
from actors.runtime.actor import Actor
from domain.campaign_state import Action, moved
from domain.errors import Conflict, InvalidContent, InvalidRequest, NotFound
from domain.message_state import AMBIGUOUS
from domain.recurrence import Recurrence
from domain.reminder import Reminder
from storage.campaign_documents import ContentDocument, RunDocument, RunStatus
from storage.campaign_runs import Moved
from storage.campaigns import CampaignDocument
from storage.client import Document

log = structlog.get_logger()

MOVES = Counter("mktx_campaign_moves_total", "Moves of campaigns from state to state", ["action"])
RUNS = Counter("mktx_campaign_runs_total", "Runs of campaigns that are over, by how they ended", ["outcome"])

_RUN, _END = "run", "end"
#: How often a run is looked at whose accounts are at work.
_LOOK_S = 2.0
#: A run that goes on for long is not in a hurry to be found complete, and there may be many.
_YOUNG = timedelta(minutes=2)
_LOOK_LATER_S = 10.0
_RETRY_S = 2.0
_ESTIMATE = timedelta(seconds=10)


class CampaignActor(Actor):
    """Moves one campaign from state to state; its key is the campaign's id.

    Every message raises `NotFound` where the merchant has no such campaign, `Conflict` where it is in a state in which
    that can't be done, and `Unavailable` where the database is not to be reached.
    """

    kind = "campaign"

    def __init__(self, key: str, services: CampaignServices) -> None:
        super().__init__(key)
        self._services = services
        self._work: asyncio.Task[None] | None = None
        self._moving = asyncio.Lock()
        self._estimated_at: datetime | None = None
        self._is_over = False

    # --- life

    def busy(self) -> bool:
        """Stay in memory while a run is followed."""
        return self._work is not None and not self._work.done()

    def on_deactivate(self) -> None:
        """Follow the run no more; another activation goes on from the documents."""
        # The cancellation may be lost in a call of the driver.
        self._is_over = True
        if self._work is not None:
            self._work.cancel()

    async def follow(self) -> None:
        """Follow the campaign's run, if there is one under way."""
        if not self.busy():
            self._work = asyncio.create_task(self._follow())

    async def on_reminder(self, name: str, _payload: Mapping[str, object]) -> None:
        """The time of a run has come, or that of the campaign's end."""
        async with self._alone():
            campaign = await self._services.runs.campaign(self.key)
            if campaign is None:
                return
            if name == _RUN:
                await self._run_is_due(campaign)
            elif name == _END:
                await self._end_is_due(campaign)

    # --- moves

    async def start(self, merchant_id: str) -> None:
        """Start the campaign, or schedule it where its time is yet to come.

        Raises:
            InvalidRequest: when it has no segments, or a template that can't be used.
        """
        async with self._alone():
            campaign = await self._mine(merchant_id)
            now, start_at = self._services.clock.now(), campaign["schedule"]["startAt"]
            waits = campaign["status"] == "draft" and start_at is not None and start_at > now
            moved(campaign["status"], "schedule" if waits else "start")
            contents = await contents_of(self._services, campaign)
            if waits and start_at is not None:
                await self._schedule(campaign, start_at, "schedule")
            else:
                await self._begin(campaign, contents, now)

    async def unschedule(self, merchant_id: str) -> None:
        """Make a scheduled campaign a draft again."""
        async with self._alone():
            campaign = await self._mine(merchant_id)
            await self._move(campaign, "unschedule", {"nextRunAt": None, "statusReason": None})
            await self._forget_reminders()

    async def schedule_changed(self, merchant_id: str) -> None:
        """Take note of another schedule of a scheduled campaign."""
        async with self._alone():
            campaign = await self._mine(merchant_id)
            if campaign["status"] == "scheduled":
                start_at = campaign["schedule"]["startAt"] or self._services.clock.now()
                await self._schedule(campaign, start_at, None)

    async def pause(self, merchant_id: str) -> None:
        """Send nothing more until it is resumed; what is on its way to X gets there."""
        async with self._alone():
            campaign = await self._mine(merchant_id)
            campaign = await self._move(campaign, "pause", {})
            await self._hold(campaign)

    async def resume(self, merchant_id: str) -> None:
        """Go on with a paused campaign."""
        async with self._alone():
            campaign = await self._move(await self._mine(merchant_id), "resume", {"statusReason": None})
            await self._let_go(campaign)
        await self.follow()

    async def cancel(self, merchant_id: str) -> None:
        """End the campaign; who has got nothing gets nothing."""
        async with self._alone():
            now = self._services.clock.now()
            fields: Document = {"completedAt": now, "nextRunAt": None, "statusReason": None}
            campaign = await self._move(await self._mine(merchant_id), "cancel", fields)
            await self._forget_reminders()
            await self._stop_run(campaign, "cancelled")
        await self.follow()

    async def retry_failed(self, merchant_id: str) -> int:
        """Let the recipients of the last run that failed wait again; returns how many they are.

        Not those whose outcome is not known: they may have got their message.
        """
        async with self._alone():
            campaign = await self._mine(merchant_id)
            run = await self._run(campaign)
            if run is None or campaign["status"] not in {"running", "paused", "completed"}:
                raise Conflict(f"A campaign that is {campaign['status']} has nothing to try again")
            services, now = self._services, self._services.clock.now()
            count = await services.recipients.retry_failed(run, [AMBIGUOUS], now)
            # There may be some of an earlier try that was cut off before the run was opened again.
            if count or await services.runs.has_open(run["_id"]):
                if run["status"] in {"completed", "ended"}:
                    await services.runs.reopen(run["_id"])
                if campaign["status"] == "completed":
                    campaign = await self._move(campaign, "retry", {"completedAt": None})
                if campaign["status"] == "running":
                    await self._let_go(campaign)
        await self.follow()
        return count

    # --- what moves are made of

    def _alone(self) -> Turn:
        return Turn(self._moving, self.key)

    async def _mine(self, merchant_id: str) -> CampaignDocument:
        campaign = await self._services.runs.campaign(self.key)
        if campaign is None or campaign["merchantId"] != merchant_id:
            raise NotFound("Campaign not found")
        return campaign

    async def _run(self, campaign: CampaignDocument) -> RunDocument | None:
        run_id = campaign["runId"]
        return await self._services.runs.run(run_id) if run_id else None

    async def _move(self, campaign: CampaignDocument, action: Action, fields: Document) -> CampaignDocument:
        status = moved(campaign["status"], action)
        fields = {**fields, "status": status, "updatedAt": self._services.clock.now()}
        after = await self._services.runs.move(campaign, fields)
        MOVES.labels(action).inc()
        log.info("campaign.moved", campaign=self.key, action=action, status=status)
        return after

    async def _schedule(self, campaign: CampaignDocument, start_at: datetime, action: Action | None) -> None:
        # The reminder comes first: one that finds nothing to do harms nobody, a campaign without one would never run.
        await self._remind(_RUN, start_at)
        fields: Document = {"nextRunAt": start_at, "statusReason": None}
        if action is None:
            await self._services.runs.move(campaign, {**fields, "updatedAt": self._services.clock.now()})
        else:
            await self._move(campaign, action, fields)

    async def _begin(self, campaign: CampaignDocument, contents: list[ContentDocument], due_at: datetime) -> None:
        """Begin a run; a recurring campaign knows from here when the next one is due."""
        now, end_at = self._services.clock.now(), campaign["schedule"]["endAt"]
        if end_at is not None:
            await self._remind(_END, end_at)
        next_at = self._next_occurrence(campaign, max(now, due_at))
        if next_at is not None:
            await self._remind(_RUN, next_at)
        fields: Document = {
            "status": "running" if campaign["status"] == "running" else moved(campaign["status"], "start"),
            "statusReason": None,
            "startedAt": campaign["startedAt"] or now,
            "nextRunAt": next_at,
            "updatedAt": now,
        }
        run = new_run(campaign, contents, due_at, now, "snapshot")
        await self._services.runs.begin(campaign, run, fields)
        MOVES.labels("start").inc()
        log.info("campaign.run_begins", campaign=self.key, run=run["_id"], number=run["number"])
        await self.follow()

    def _next_occurrence(self, campaign: CampaignDocument, after: datetime) -> datetime | None:
        schedule = campaign["schedule"]
        rule = schedule["recurrence"]
        if rule is None:
            return None
        # A rule counts from where it began: without a date of its own, from the first run.
        start_at = schedule["startAt"] or campaign["startedAt"] or after
        following = Recurrence.parse(rule, start_at, schedule["timezone"]).next_after(after)
        end_at = schedule["endAt"]
        return None if following is None or (end_at is not None and following >= end_at) else following

    async def _hold(self, campaign: CampaignDocument) -> None:
        """Let the accounts take nobody more, and take back what they have not begun to send."""
        run_id = campaign["runId"]
        if run_id:
            tell_accounts(self._services, await self._services.runs.move_lanes(run_id, ["active"], "paused"))
            await self._services.recipients.withdraw(run_id)

    async def _let_go(self, campaign: CampaignDocument) -> None:
        run = await self._run(campaign)
        if run is not None and run["status"] == "running":
            lanes = self._services.runs
            tell_accounts(self._services, await lanes.move_lanes(run["_id"], ["waiting", "paused", "done"], "active"))

    async def _stop_run(self, campaign: CampaignDocument, reason: RunStatus) -> None:
        run = await self._run(campaign)
        if run is not None:
            await self._services.runs.stop(run["_id"], reason)
            tell_accounts(self._services, await self._services.runs.accounts(run["_id"]))
            await self._services.recipients.withdraw(run["_id"])

    # --- times

    async def _remind(self, name: str, at: datetime) -> None:
        await self._services.reminders.set(Reminder(self.kind, self.key, name, at))

    async def _forget_reminders(self) -> None:
        for name in (_RUN, _END):
            await self._services.reminders.cancel(self.kind, self.key, name)

    async def _run_is_due(self, campaign: CampaignDocument) -> None:
        now, due_at = self._services.clock.now(), campaign["nextRunAt"]
        if due_at is None or due_at > now or campaign["status"] not in {"scheduled", "running", "paused"}:
            return
        late = now - due_at > timedelta(seconds=self._services.settings.campaign_misfire_grace_s)
        run = await self._run(campaign)
        unfinished = run is not None and run["status"] in {"snapshot", "running", "stopping"}
        if campaign["status"] == "scheduled" and late:
            # Nobody expects it any more at this hour: a person starts it, or sets another time.
            await self._services.runs.move(campaign, {"statusReason": "missed", "updatedAt": now})
        elif late or unfinished or campaign["status"] == "paused":
            await self._miss(campaign, due_at, now)
        else:
            try:
                contents = await contents_of(self._services, campaign)
            except InvalidRequest:
                await self._services.runs.move(campaign, {"statusReason": "invalid", "nextRunAt": None})
                return
            await self._begin(campaign, contents, due_at)

    async def _miss(self, campaign: CampaignDocument, due_at: datetime, now: datetime) -> None:
        """Leave out one run of a recurring campaign, visibly."""
        next_at = self._next_occurrence(campaign, max(now, due_at))
        if next_at is not None:
            await self._remind(_RUN, next_at)
        missed = new_run(campaign, [], due_at, now, "missed")
        await self._services.runs.move(campaign, {"nextRunAt": next_at, "runs": missed["number"], "updatedAt": now})
        await self._services.runs.note(missed)
        RUNS.labels("missed").inc()
        log.warning("campaign.run_missed", campaign=self.key, number=missed["number"])

    async def _end_is_due(self, campaign: CampaignDocument) -> None:
        """Come to the end that the schedule sets: who has got nothing by then gets nothing."""
        now, end_at = self._services.clock.now(), campaign["schedule"]["endAt"]
        if end_at is None or end_at > now or campaign["status"] not in {"running", "paused"}:
            return
        if campaign["nextRunAt"] is not None:
            campaign = await self._services.runs.move(campaign, {"nextRunAt": None, "updatedAt": now})
        await self._stop_run(campaign, "ended")
        await self.follow()

    # --- following a run

    async def _follow(self) -> None:
        while not self._is_over:
            try:
                async with self._moving:
                    goes_on = await self._step()
            except Moved:
                continue
            except PyMongoError as error:
                log.warning("campaign.waits", campaign=self.key, error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)
                continue
            except InvalidContent as error:
                # A segment that can't be asked about any more: a person has to look at it.
                await self._halt(error)
                return
            if goes_on is None:
                return
            await asyncio.sleep(goes_on)

    async def _step(self) -> float | None:
        """Do the next thing for the campaign's run; returns the seconds until the one after it, None at the end."""
        services = self._services
        campaign = await services.runs.campaign(self.key)
        run = await self._run(campaign) if campaign else None
        if campaign is None or run is None or run["status"] not in {"snapshot", "running", "stopping"}:
            return None
        if run["status"] == "stopping":
            return await self._stopping(campaign, run)
        if campaign["status"] == "paused":
            await self._hold(campaign)
            return None
        if run["status"] == "snapshot":
            await write_down(services, run)
            if run["snapshot"]["done"]:
                await self._let_go(campaign)
            return 0.0
        if not await services.runs.has_open(run["_id"]):
            await self._complete(campaign, run, "completed")
            return None
        await self._let_go_of_idle(campaign, run)
        now = services.clock.now()
        if self._estimated_at is None or now - self._estimated_at >= _ESTIMATE:
            self._estimated_at = now
            await keep_estimate(services, run)
            trouble = await services.runs.trouble(run["_id"])
            if trouble != campaign["statusReason"]:
                await services.runs.move(campaign, {"statusReason": trouble, "updatedAt": now})
        return _LOOK_S if now - (run["startedAt"] or now) < _YOUNG else _LOOK_LATER_S

    async def _let_go_of_idle(self, campaign: CampaignDocument, run: RunDocument) -> None:
        """Start the lanes that a crash has left idle: between a move of the campaign and that of its lanes."""
        if await self._services.runs.has_idle_lanes(run["_id"]):
            await self._let_go(campaign)

    async def _stopping(self, campaign: CampaignDocument, run: RunDocument) -> float | None:
        services, reason = self._services, run.get("stopReason", "cancelled")
        await services.recipients.withdraw(run["_id"])
        await services.recipients.give_up_pending(run["_id"], reason, services.clock.now())
        if await services.runs.has_open(run["_id"]):
            return _LOOK_S
        await self._complete(campaign, run, reason)
        return None

    async def _complete(self, campaign: CampaignDocument, run: RunDocument, status: RunStatus) -> None:
        now, runs = self._services.clock.now(), self._services.runs
        last = campaign["status"] in {"running", "paused"} and campaign["nextRunAt"] is None
        if last:
            resumed = moved("paused", "resume") if campaign["status"] == "paused" else campaign["status"]
            fields: Document = {"status": moved(resumed, "complete"), "completedAt": now, "updatedAt": now}
            await runs.end(run["_id"], status, now, known=campaign, fields=fields)
            MOVES.labels("complete").inc()
            log.info("campaign.moved", campaign=self.key, action="complete", status=fields["status"])
        else:
            await runs.end(run["_id"], status, now)
        RUNS.labels(status).inc()
        log.info("campaign.run_ended", campaign=self.key, run=run["_id"], status=status)
        if last:
            await self._forget_reminders()

    async def _halt(self, error: InvalidContent) -> None:
        log.warning("campaign.halted", campaign=self.key, error=error.code)
        campaign = await self._services.runs.campaign(self.key)
        if campaign is not None and campaign["status"] == "running":
            await self._move(campaign, "pause", {"statusReason": "segment_invalid"})
