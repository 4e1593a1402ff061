"""A merchant with contacts and flows, and a host for the actors of these, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from actors.flow import FlowActor, FlowActorServices
from actors.runtime.host import ActorHost
from actors.runtime.reminders import ReminderService
from actors.runtime.system import LocalActors
from config.settings import Settings
from domain.clock import ManualClock
from domain.ids import new_id
from storage.campaign_audience import CampaignAudience
from storage.client import Client, Database, Document
from storage.flow_documents import FlowDocument
from storage.flow_work import FlowWork
from storage.flows import Flows
from storage.reminders import Reminders
from storage.segments import Segments

MORNING = datetime(2026, 11, 2, 8, tzinfo=UTC)
VIP: list[object] = [{"field": "tags", "operator": "contains", "value": "vip"}]


@dataclass
class FlowActorStage:
    client: Client
    database: Database
    settings: Settings
    clock: ManualClock = field(default_factory=lambda: ManualClock(MORNING))
    hosts: list[ActorHost] = field(default_factory=list)
    contacts: int = 0

    # --- the merchant

    async def people(self, count: int, *tags: str, account: str = "account-1") -> list[str]:
        """Store contacts with tags; returns their ids."""
        documents = []
        for _ in range(count):
            self.contacts += 1
            documents.append(
                {
                    "_id": f"contact-{self.contacts:06}",
                    "merchantId": "m1",
                    "accountId": account,
                    "twitterUserId": str(self.contacts),
                    "tags": list(tags),
                    "createdAt": MORNING,
                }
            )
        await self.database["contacts"].insert_many(documents)
        return [str(each["_id"]) for each in documents]

    async def tag(self, contact_ids: Iterable[str], *tags: str) -> None:
        await self.database["contacts"].update_many({"_id": {"$in": list(contact_ids)}}, {"$set": {"tags": list(tags)}})

    async def segment(self, conditions: list[object] | None = None) -> str:
        segment_id = new_id()
        segment = {"merchantId": "m1", "name": segment_id, "conditions": VIP if conditions is None else conditions}
        await self.database["segments"].insert_one({"_id": segment_id, **segment, "version": 1})
        return segment_id

    async def activate(self, flow: FlowDocument) -> FlowDocument:
        return await Flows(self.database).activate(flow, self.clock.now())

    async def deactivate(self, flow_id: str) -> FlowDocument:
        flow = await Flows(self.database).get("m1", flow_id)
        assert flow is not None
        return await Flows(self.database).deactivate(flow, self.clock.now())

    # --- the host

    def start(self) -> None:
        """Start a host beside those that there are."""
        services = FlowActorServices(
            settings=self.settings,
            work=FlowWork(self.database),
            audience=CampaignAudience(self.database, Segments(self.database)),
            reminders=Reminders(self.database),
            clock=self.clock,
        )
        self.hosts.append(ActorHost({FlowActor.kind: lambda key: FlowActor(key, services)}))

    def actor(self, flow_id: str) -> FlowActor:
        return LocalActors(self.hosts[-1]).ref(FlowActor, flow_id, timeout_s=60)

    def held(self, flow_id: str) -> Any:
        """Return the object that is the actor of a flow."""
        return self.hosts[-1]._activations[(FlowActor.kind, flow_id)].actor

    async def kill(self) -> None:
        """End the newest host as a crash does."""
        host = self.hosts.pop()
        for activation in host._activations.values():
            actor: Any = activation.actor
            actor.on_deactivate()
            if actor._task is not None:
                await asyncio.gather(actor._task, return_exceptions=True)

    async def stop(self) -> None:
        for host in self.hosts:
            await host.stop(0.1)

    async def idle(self, flow_id: str) -> None:
        """Return once an actor has nothing to do at this moment."""
        await self.actor(flow_id).follow()

        async def is_idle() -> bool:
            actor = self.held(flow_id)
            if not actor.busy():
                return True
            return not actor._woken.is_set() and not actor._alone.locked() and await self._rests(flow_id)

        await self.until(is_idle)

    async def _rests(self, flow_id: str) -> bool:
        work = await self.work(flow_id)
        comparison = work["comparison"] if work else None
        return comparison is not None and comparison["nextAt"] is not None and comparison["nextAt"] > self.clock.now()

    async def remind(self) -> None:
        """Deliver what is due by the clock, as the host's reminder service does."""
        service = ReminderService(Reminders(self.database), self.hosts[-1], range(256), self.clock)
        await service.read()
        loop = asyncio.get_running_loop()

        async def is_delivered() -> bool:
            return all(handle.when() > loop.time() for handle in service._waiting.values())

        await self.until(is_delivered)
        await service.stop()

    # --- what came of it

    async def work(self, flow_id: str) -> Document | None:
        return await self.database["flowWork"].find_one({"_id": flow_id})

    async def started(self, flow_id: str) -> list[str]:
        """Return the contacts for which a flow was started, in order, and let executors have taken these."""
        starts = {"kind": "start", "flowId": flow_id}
        found = await self.database["flowEvents"].find(starts).sort("contactId", 1).to_list()
        await self.database["flowEvents"].delete_many(starts)
        return [each["contactId"] for each in found]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(30):
            while not await condition():
                await asyncio.sleep(0.01)
