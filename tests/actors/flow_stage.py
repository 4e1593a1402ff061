"""A merchant with flows, a host that runs them, a simulated X, and a server that flows call."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from aiohttp import web

from actors.account import AccountActor
from actors.flow_executor import FlowExecutor
from actors.flow_feed import FlowFeed
from actors.kinds import actor_factories
from actors.runtime.host import ActorHost
from actors.runtime.reminders import ReminderService
from actors.runtime.system import LocalActors
from config.settings import Settings
from domain.account_key import AccountKey
from domain.clock import ManualClock, Waker
from domain.ended import ended
from domain.ids import new_id
from domain.partition import PARTITIONS
from storage.client import Client, Database, Document
from storage.flow_documents import ExecutionDocument, FlowDocument, FlowEventDocument, flow_event_id
from storage.flow_events import FlowEvents
from storage.flow_orders import FlowOrders, started_by_hand
from storage.flow_starts import note_events
from storage.flows import FlowFields, Flows
from storage.reminders import Reminders
from tests.actors.campaign_stage import MERCHANT, Stage, open_stage
from tests.actors.crash import crash, telling
from tests.domain.flow_bodies import MANUAL, link
from tests.serving import everything, serving

EVERYTHING = range(PARTITIONS)
PATIENCE_S = 60


@dataclass
class Shop:
    """The server that flows call; what it answers is taken from `answers`, then it is all well."""

    url: str = ""
    calls: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append((request.method, str(request.rel_url), headers, await request.text()))
        return self.answers.pop(0) if self.answers else web.json_response("A-17")

    @property
    def keys(self) -> Counter[str]:
        """Return how often each effect has called."""
        return Counter(headers["idempotency-key"] for _, _, headers, _ in self.calls)


class _Sweep:
    """Has accounts look for messages that nobody told them of, as a host does."""

    def __init__(self, actors: LocalActors, accounts: list[AccountKey]) -> None:
        self._actors = actors
        self._accounts = accounts
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            told = (self._actors.ref(AccountActor, account.id).resume() for account in self._accounts)
            await asyncio.gather(*told, return_exceptions=True)


@dataclass
class FlowStage(Stage):
    shop: Shop = field(default_factory=Shop)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    ai: list[object] = field(default_factory=list)
    services: list[Any] = field(default_factory=list)

    # --- the host

    def start(self, **changes: Any) -> LocalActors:
        """Start a host with the next epoch; reminders and the feed go by themselves, unless a test owns the clock."""
        self.epoch += 1
        settings = self.settings.model_copy(update=changes)
        host = self.host = ActorHost({})
        actors = LocalActors(host)

        def call(kind: str, key: str, method: str, *args: object) -> Awaitable[object]:
            return actors.call(kind, key, method, args, {}, 60)

        async def ask(kind: str, key: str, method: str, *args: object) -> object:
            self.asked.append((kind, key, method, *args))
            answer = self.ai.pop(0) if self.ai else "answered"
            if isinstance(answer, Exception):
                raise answer
            return answer

        host._factories = actor_factories(
            settings, self.client, self.database, self.session, self.clock, self.epoch, telling(actors), ask=ask
        )
        if not isinstance(self.clock, ManualClock):
            reminders = ReminderService(Reminders(self.database), host, EVERYTHING, self.clock, read_every_s=0.1)
            feed = FlowFeed(
                FlowEvents(self.database),
                EVERYTHING,
                lambda contact_id: call(FlowExecutor.kind, contact_id, "take"),
                read_every_s=0.1,
            )
            self.services = [reminders, feed, _Sweep(actors, self.accounts)]
            for service in self.services:
                service.start()
        return actors

    async def end_services(self) -> None:
        for service in self.services:
            await service.stop()
        self.services = []

    async def crash(self) -> None:
        """End the host as a crash does: nothing more is written or sent by it."""
        assert self.host is not None
        for service in self.services:
            await ended(service._task)
        crash(self.host)
        self.services = []
        self.host = None

    async def stop(self) -> None:
        await self.end_services()
        await super().stop()

    def executor(self, contact_id: str) -> FlowExecutor:
        assert self.host is not None
        return LocalActors(self.host).ref(FlowExecutor, contact_id, timeout_s=60)

    # --- flows

    async def flow(
        self, *nodes: dict[str, Any], links: list[dict[str, Any]] | None = None, **changes: Any
    ) -> FlowDocument:
        """Activate a flow of nodes; without links they come one after the other."""
        given = [link(a["id"], b["id"]) for a, b in pairwise(nodes)] if links is None else links
        fields: FlowFields = {
            "name": "Flow",
            "accountId": None,
            "trigger": MANUAL,
            "nodes": list(nodes),
            "connections": given,
            "reEntry": "after_completed",
        }
        fields.update(changes)  # type: ignore[typeddict-item]
        flows, now = Flows(self.database), self.clock.now()
        return await flows.activate(await flows.add(MERCHANT, new_id(), fields, now), now)

    async def order(self, flow: FlowDocument, contact_id: str, **variables: Any) -> str:
        """Ask for an execution without telling anybody; returns its id."""
        contact: Any = await self.database["contacts"].find_one({"_id": contact_id})
        start = started_by_hand(flow, contact, new_id(), variables, self.clock.now())
        await FlowOrders(self.database).start(start)
        return start["executionId"]

    async def begin(self, flow: FlowDocument, contact_id: str, **variables: Any) -> str:
        """Start an execution; returns its id."""
        execution_id = await self.order(flow, contact_id, **variables)
        await self.executor(contact_id).take()
        return execution_id

    async def say(self, contact_id: str, text: str, *, tell: bool = True) -> str:
        """Let the contact have written, as ingestion writes it down; returns the message's id."""
        contact: Any = await self.database["contacts"].find_one({"_id": contact_id})
        message_id, now = new_id(), self.clock.now()
        common = {"merchantId": MERCHANT, "accountId": contact["accountId"], "contactId": contact_id}
        await self.database["messages"].insert_one(
            {"_id": message_id, **common, "direction": "inbound", "content": text, "at": now, "twitterMessageId": None}
        )
        await self.hear(contact_id, message_id)
        if tell:
            await self.executor(contact_id).take()
        return message_id

    async def hear(self, contact_id: str, message_id: str) -> None:
        """Note that a message may be a reply."""
        contact: Any = await self.database["contacts"].find_one({"_id": contact_id})
        event = FlowEventDocument(
            _id=flow_event_id(contact_id, f"reply|{message_id}"),
            merchantId=MERCHANT,
            accountId=contact["accountId"],
            contactId=contact_id,
            kind="reply",
            at=self.clock.now(),
            messageId=message_id,
        )
        await note_events(self.database, [event])

    async def cancel(self, execution_id: str) -> None:
        await FlowOrders(self.database).cancel(await self.execution(execution_id), self.clock.now())
        await self.executor((await self.execution(execution_id))["contactId"]).take()

    async def retry(self, execution_id: str) -> None:
        await FlowOrders(self.database).retry(await self.execution(execution_id), self.clock.now())
        await self.executor((await self.execution(execution_id))["contactId"]).take()

    # --- what came of it

    async def execution(self, execution_id: str) -> ExecutionDocument:
        found: Any = await self.database["flowExecutions"].find_one({"_id": execution_id})
        assert found is not None
        return found  # type: ignore[no-any-return]

    async def until_execution(self, execution_id: str, *statuses: str, node: str | None = None) -> ExecutionDocument:
        """Wait for an execution to be in one of some states, or at a node."""

        async def reached() -> bool:
            found: Any = await self.database["flowExecutions"].find_one({"_id": execution_id})
            if found is None:
                return False
            return found["status"] in statuses or (node is not None and found["currentNodeId"] == node)

        await self.until(reached)
        return await self.execution(execution_id)

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.02)

    async def path(self, execution_id: str) -> list[tuple[str, str, str | None]]:
        history = (await self.execution(execution_id))["history"]
        return [(each["nodeId"], each["outcome"], each["branch"] or each["error"]) for each in history]

    async def contact(self, contact_id: str) -> Document:
        found: Any = await self.database["contacts"].find_one({"_id": contact_id})
        assert found is not None
        return found  # type: ignore[no-any-return]

    async def node_counts(self, flow_id: str) -> dict[str, dict[str, int]]:
        """Return what was counted by node, without zeros."""
        counted: dict[str, Counter[str]] = {}
        async for part in self.database["flowCounts"].find({"flowId": flow_id}):
            tally = counted.setdefault(part["nodeId"], Counter())
            tally.update({name: part[name] for name in ("entered", "done", "failed", "cancelled") if name in part})
        return {node_id: dict(+tally) for node_id, tally in counted.items()}

    async def left_over(self) -> list[Document]:
        return await self.database["flowEvents"].find({}).to_list()

    async def pass_time(self, seconds: float) -> None:
        """Set a test's clock forward, and wake what is due as the reminders would."""
        assert isinstance(self.clock, ManualClock)
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))
        for reminder in await Reminders(self.database).due(EVERYTHING, self.clock.now(), 10_000):
            await self.executor(reminder.key).on_reminder(reminder.name, {})
            await Reminders(self.database).done(reminder)


@asynccontextmanager
async def open_flow_stage(
    client: Client, database: Database, settings: Settings, *, clock: Waker | None = None
) -> AsyncIterator[FlowStage]:
    """Open a stage with a shop's server that flows may call."""
    shop = Shop()
    own = settings.model_copy(update={"fetch_private_addresses": True})
    async with serving(everything(shop.handle)) as shop.url, open_stage(client, database, own, clock=clock) as bare:
        stage = FlowStage(client, database, bare.settings, bare.world, bare.session, bare.clock, shop=shop)
        yield stage
        await stage.stop()
