"""The actor of a flow: what no event starts, and the cancelling of what is under way (docs/flows.md).

It keeps the times of a schedule, looks who has entered a segment, and asks executors to cancel executions. All that
must survive is in the document of its work, whose writes are conditional on what was read, so the actor keeps nothing
that would have to be fenced: another host that believes in the same flow makes the same steps, or none. Executors find
what is put there for them by themselves: nobody is in a hurry, and there may be very many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.runtime.actor import Actor
from config.settings import Settings
from domain.clock import Clock
from domain.errors import InvalidContent, Unavailable
from domain.flow_index import ActiveFlow
from domain.flow_schedule import next_time
from domain.flow_triggers import OnSchedule, OnSegmentEntered
from domain.reminder import Reminder
from domain.segment_change import compared
from storage.campaign_audience import CampaignAudience, Member
from storage.client import Document
from storage.flow_directory import FRESH_S, flow_of
from storage.flow_documents import FlowDocument, FlowEventDocument
from storage.flow_starts import start_event
from storage.flow_work import FlowWork, PassDocument, WorkDocument, WorkMoved
from storage.reminders import Reminders

log = structlog.get_logger()

STARTED = Counter("mktx_flow_starts_total", "Starts of flows that no event has caused, by what has", ["trigger"])
MISSED = Counter("mktx_flow_occurrences_missed_total", "Times of scheduled flows that were left out")

_DUE = "due"
#: Contacts that are looked at in one step.
_BATCH = 1_000
#: How much of the time comparisons of a segment may take: a twentieth.
_REST_SHARE = 20
#: Until every host has seen that a flow is not active any more, and a while.
_STRAGGLERS = timedelta(seconds=FRESH_S + 1)
_LOOK_S = 1.0
_RETRY_S = 2.0
#: What is wrong with a segment is for people to put right.
_RETRY_WRONG_S = 60.0


@dataclass(frozen=True, slots=True)
class FlowActorServices:
    """What the actors of flows work with."""

    settings: Settings
    work: FlowWork
    audience: CampaignAudience
    reminders: Reminders
    clock: Clock


class FlowActor(Actor):
    """Does what is to be done for one flow; its key is the flow's id.

    Every message raises `Unavailable` where the database is not to be reached.
    """

    kind = "flow"

    def __init__(self, key: str, services: FlowActorServices) -> None:
        super().__init__(key)
        self._services = services
        self._alone = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._query: tuple[datetime, Document] | None = None
        self._is_over = False

    # --- life

    def busy(self) -> bool:
        """Stay in memory while there is something to do."""
        return self._task is not None and not self._task.done()

    def on_deactivate(self) -> None:
        """Do nothing more; another activation goes on from the documents."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    async def follow(self) -> None:
        """Do what there is to do, if anything is."""
        self._woken.set()
        if not self.busy():
            self._task = asyncio.create_task(self._follow())

    async def changed(self) -> None:
        """Take note that the flow was activated, deactivated or deleted."""
        await self.follow()

    async def cancel_running(self) -> None:
        """Cancel the executions that are under way; once this has answered, that is not forgotten any more."""
        work, now = self._services.work, self._services.clock.now()
        try:
            async with self._alone:
                flow, known = await work.flow(self.key), await work.of(self.key)
                if flow is not None and known is None:
                    await work.begin(self.key, flow["merchantId"], cancelUntil=now + _STRAGGLERS)
                elif known is not None:
                    await work.change(known, {"cancelUntil": now + _STRAGGLERS})
        except (PyMongoError, WorkMoved) as error:
            log.warning("flow.not_cancelled", flow=self.key, error=type(error).__name__)
            raise Unavailable("The executions can't be cancelled at this moment", retry_after_s=2) from error
        await self.follow()

    async def on_reminder(self, name: str, _payload: Mapping[str, object]) -> None:
        """The time of a schedule has come."""
        if name == _DUE:
            await self.follow()

    # --- what there is to do

    async def _follow(self) -> None:
        # The driver may take a cancellation for a broken connection.
        while not self._is_over:
            self._woken.clear()
            try:
                async with self._alone:
                    pause = await self._step()
            except WorkMoved:
                continue
            except PyMongoError as error:
                log.warning("flow.waits", flow=self.key, error=type(error).__name__)
                pause = _RETRY_S
            except InvalidContent as error:
                log.warning("flow.segment_invalid", flow=self.key, error=error.code)
                pause = _RETRY_WRONG_S
            if pause is None:
                if not self._woken.is_set():
                    return
            elif pause:
                await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _step(self) -> float | None:
        """Do the next thing; returns the seconds until the one after it, None where there is none."""
        document, work = await self._services.work.flow(self.key), await self._services.work.of(self.key)
        flow = flow_of(document) if document is not None and document["status"] == "active" else None
        if work is not None and work["cancelUntil"] is not None:
            return await self._cancel(work, work["cancelUntil"])
        if document is None or flow is None or not isinstance(flow.trigger, OnSchedule | OnSegmentEntered):
            await self._clear(work)
            return None
        if work is None or work["activatedAt"] != document["activatedAt"]:
            work = await self._begin(document, flow, work)
        if isinstance(flow.trigger, OnSchedule):
            return await self._keep_schedule(document, flow, flow.trigger, work)
        return await self._compare(document, flow, flow.trigger, work)

    async def _begin(self, document: FlowDocument, flow: ActiveFlow, work: WorkDocument | None) -> WorkDocument:
        """Begin with what an activation asks for; what an earlier one has left is over."""
        services, now = self._services, self._services.clock.now()
        fields: Document = {
            "activatedAt": document["activatedAt"],
            "dueAt": None,
            "occurrence": None,
            "comparison": None,
        }
        await services.work.forget_members(self.key)
        if isinstance(flow.trigger, OnSchedule):
            fields["dueAt"] = next_time(flow.trigger, document["activatedAt"] or now)
            await self._remind(fields["dueAt"])
        if work is None:
            return await services.work.begin(self.key, document["merchantId"], **fields)
        return await services.work.change(work, fields)

    async def _clear(self, work: WorkDocument | None) -> None:
        await self._services.work.forget_members(self.key)
        await self._services.reminders.cancel(self.kind, self.key, _DUE)
        if work is not None:
            await self._services.work.end(work)

    async def _cancel(self, work: WorkDocument, until: datetime) -> float:
        """Cancel what there is; once more after a while, for what hosts began that had not heard of it."""
        services, now = self._services, self._services.clock.now()
        withdrawn = await services.work.withdraw_starts(self.key, until)
        running = await services.work.cancel_running(work["merchantId"], self.key, until, now)
        log.info("flow.cancels", flow=self.key, withdrawn=withdrawn, running=running)
        if now < until:
            return _LOOK_S
        await services.work.change(work, {"cancelUntil": None})
        return 0.0

    # --- schedule

    async def _keep_schedule(
        self, document: FlowDocument, flow: ActiveFlow, schedule: OnSchedule, work: WorkDocument
    ) -> float | None:
        now, due_at = self._services.clock.now(), work["dueAt"]
        if due_at is not None and due_at <= now:
            await self._come(schedule, work, due_at, now)
            return 0.0
        occurrence = work["occurrence"]
        if occurrence is None:
            # The reminder wakes it.
            return None
        query = await self._members_of(document, schedule.segment_id, occurrence["dueAt"])
        members = await self._services.audience.page(query, occurrence["after"], _BATCH)
        events = _starts(flow, members, f"schedule|{occurrence['dueAt'].isoformat()}", now, document)
        going_on = {**occurrence, "after": members[-1].contact_id} if len(members) == _BATCH else None
        await self._services.work.start(work, {"occurrence": going_on}, events)
        STARTED.labels(schedule.kind).inc(len(events))
        return 0.0

    async def _come(self, schedule: OnSchedule, work: WorkDocument, due_at: datetime, now: datetime) -> None:
        """Begin an occurrence, or leave it out where it comes too late or into the one before; and know the next."""
        late = now - due_at > timedelta(seconds=self._services.settings.campaign_misfire_grace_s)
        fields: Document = {"dueAt": next_time(schedule, now)}
        # The reminder comes first: without one nobody would come back, one too many harms nobody.
        await self._remind(fields["dueAt"])
        if late or work["occurrence"] is not None:
            MISSED.inc()
            log.warning("flow.occurrence_missed", flow=self.key, due_at=due_at.isoformat(), late=late)
        else:
            fields["occurrence"] = {"dueAt": due_at, "after": ""}
        await self._services.work.change(work, fields)

    async def _remind(self, due_at: datetime | None) -> None:
        if due_at is None:
            await self._services.reminders.cancel(self.kind, self.key, _DUE)
        else:
            await self._services.reminders.set(Reminder(self.kind, self.key, _DUE, due_at))

    # --- segment

    async def _compare(
        self, document: FlowDocument, flow: ActiveFlow, trigger: OnSegmentEntered, work: WorkDocument
    ) -> float:
        """Compare the next part of a segment with who was in it."""
        services, now, latest = self._services, self._services.clock.now(), work["comparison"]
        if latest is not None and latest["nextAt"] is not None:
            if latest["nextAt"] > now:
                return (latest["nextAt"] - now).total_seconds()
            latest = {"number": latest["number"] + 1, "startedAt": now, "after": "", "nextAt": None}
        at_work: PassDocument = latest or {"number": 0, "startedAt": now, "after": "", "nextAt": None}
        query = await self._members_of(document, trigger.segment_id, at_work["startedAt"])
        present = await services.audience.page(query, at_work["after"], _BATCH)
        known = await services.work.members(self.key, at_work["after"], _BATCH)
        change = compared([each.contact_id for each in present], known, _BATCH)
        entered = set(change.entered) if at_work["number"] else set()
        arrivals = [each for each in present if each.contact_id in entered]
        events = _starts(flow, arrivals, f"segment|{at_work['startedAt'].isoformat()}", now, document)
        at_work = {**at_work, "after": change.upto or "", "nextAt": None}
        if change.upto is None:
            at_work["nextAt"] = now + self._rest(now - at_work["startedAt"])
            self._query = None
        await services.work.note_change(work, {"comparison": at_work}, change, events, now)
        STARTED.labels(trigger.kind).inc(len(events))
        return 0.0

    def _rest(self, took: timedelta) -> timedelta:
        return max(timedelta(seconds=self._services.settings.flow_segment_check_s), _REST_SHARE * took)

    async def _members_of(self, document: FlowDocument, segment_id: str, as_of: datetime) -> Document:
        """Return the query for who is in a segment; one pass goes by one."""
        if self._query is None or self._query[0] != as_of:
            query = await self._services.audience.query(
                document["merchantId"], [segment_id], [], document["accountId"], as_of
            )
            self._query = (as_of, query)
        return self._query[1]


def _starts(
    flow: ActiveFlow, members: Iterable[Member], key: str, now: datetime, document: FlowDocument
) -> Sequence[FlowEventDocument]:
    return [
        start_event(
            {"_id": each.contact_id, "merchantId": document["merchantId"], "accountId": each.account_id}, flow, key, now
        )
        for each in members
    ]
