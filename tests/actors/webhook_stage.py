"""Merchants with webhook endpoints, real receivers, and a host for the actors that tell them, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from actors.clients.safe_fetch import SafeFetch, safe_fetch_of
from actors.runtime.host import ActorHost
from actors.runtime.reminders import ReminderService
from actors.runtime.system import LocalActors
from actors.webhook_call import WebhookCalls
from actors.webhook_endpoint import WebhookEndpointActor, WebhookEndpointServices
from actors.webhook_feed import ALL, WebhookFeed, WebhookFeedServices
from config.settings import Settings
from domain.clock import ManualClock
from domain.ids import new_id
from gateway.events.outgoing import OutgoingEvents
from storage.actor_states import ActorStates
from storage.client import Database
from storage.encryption import key_ring
from storage.epochs import next_epoch
from storage.reminders import Reminders
from storage.webhook_deliveries import WebhookDeliveries
from storage.webhook_endpoints import WebhookEndpoints
from tests.standard_webhooks import verified

MORNING = datetime(2026, 11, 2, 8, tzinfo=UTC)
PATIENCE_S = 60


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """A merchant's server; `answers` are given in turn, the last of them for ever."""

    answers: list[web.Response | int] = field(default_factory=lambda: [200])
    received: list[Received] = field(default_factory=list)
    hold: asyncio.Event | None = None
    under_way: int = 0
    most_under_way: int = 0
    url: str = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")
        body = await request.read()
        self.received.append(Received({name: request.headers[name] for name in names}, body))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.under_way -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=answer) if isinstance(answer, int) else answer

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.received]

    @property
    def types(self) -> list[str]:
        return [each.payload["type"] for each in self.received]


@dataclass
class WebhookStage:
    database: Database
    settings: Settings
    clock: ManualClock = field(default_factory=lambda: ManualClock(MORNING))
    hosts: list[ActorHost] = field(default_factory=list)
    servers: list[TestServer] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    telling: set[asyncio.Future[object]] = field(default_factory=set)
    deaf: bool = False
    fetch: SafeFetch | None = None

    def __post_init__(self) -> None:
        changes = {"fetch_private_addresses": True, "outgoing_webhook_timeout_s": 20}
        self.settings = self.settings.model_copy(update=changes)
        self.endpoints = WebhookEndpoints(self.database, key_ring(self.settings))
        self.deliveries = WebhookDeliveries(self.database)

    # --- merchants

    async def receiver(self, *answers: web.Response | int) -> Receiver:
        receiver = Receiver(list(answers) or [200])
        app = web.Application()
        app.router.add_post("/hooks", receiver.take)
        server = TestServer(app)
        await server.start_server()
        self.servers.append(server)
        receiver.url = str(server.make_url("/hooks"))
        return receiver

    async def endpoint(
        self, url: str, *events: str, merchant: str = "m1", account: str | None = None
    ) -> tuple[str, str]:
        """Make an endpoint; returns its id and its secret."""
        document, secret = await self.endpoints.add(
            merchant,
            new_id(),
            {"url": url, "events": [*events] or ["message.created"], "accountId": account, "description": ""},
            self.clock.now(),
        )
        return document["_id"], secret

    async def known(self) -> None:
        """Make the contact and the conversation known that messages belong to."""
        common = {"merchantId": "m1", "accountId": "a1", "twitterUserId": "1", "createdAt": MORNING}
        await self.database["contacts"].insert_one({"_id": "contact", **common, "username": "john"})
        moments = dict.fromkeys(("startedAt", "lastMessageAt", "lastInboundAt"), MORNING) | {"closedAt": None}
        await self.database["conversations"].insert_one(
            {"_id": "conversation", "contactId": "contact", "status": "open", "messageCount": 1, **common, **moments}
        )

    async def message(self, text: str = "hello", merchant: str = "m1", account: str = "a1", **fields: object) -> str:
        message = {
            "_id": new_id(),
            "merchantId": merchant,
            "accountId": account,
            "conversationId": "conversation",
            "contactId": "contact",
            "twitterUserId": "1",
            "twitterMessageId": new_id(),
            "direction": "inbound",
            "type": "text",
            "content": text,
            "attachments": [],
            "isFromBot": False,
            "source": "customer",
            "status": "received",
            "sentAt": MORNING,
            "at": MORNING,
            "createdAt": MORNING,
        } | fields
        await self.database["messages"].insert_one(message)
        return str(message["_id"])

    async def delivery(self, endpoint_id: str) -> dict[str, Any]:
        """Return the only delivery of an endpoint."""
        found = await self.database["webhookDeliveries"].find({"endpointId": endpoint_id}).to_list(None)
        assert len(found) == 1
        return found[0]

    async def state(self, endpoint_id: str) -> dict[str, Any]:
        found = await self.database["webhookEndpoints"].find_one({"_id": endpoint_id})
        assert found is not None
        return found

    # --- the host

    async def start(self, **changes: object) -> None:
        """Start a host beside those that there are, which follows the changes."""
        settings = self.settings.model_copy(update=changes)
        events, reminders = OutgoingEvents(), Reminders(self.database)
        feed = WebhookFeedServices(
            database=self.database,
            states=ActorStates(self.database, "webhookFeeds"),
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            events=events,
            clock=self.clock,
            epoch=await next_epoch(self.database),
            tell=self._tell,
        )
        sending = WebhookEndpointServices(
            database=self.database,
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            reminders=reminders,
            events=events,
            calls=WebhookCalls(settings, self.fetch or safe_fetch_of(settings), most_at_once=100),
            clock=self.clock,
            at_once=settings.outgoing_webhooks_at_once,
        )
        self.hosts.append(
            ActorHost(
                {
                    WebhookFeed.kind: lambda key: WebhookFeed(key, feed),
                    WebhookEndpointActor.kind: lambda key: WebhookEndpointActor(key, sending),
                }
            )
        )

    async def follow(self) -> None:
        """Start a host, and have it follow the changes from now on."""
        await self.start()
        await self.feed().follow()

        async def has_begun() -> bool:
            return self.held()._watched != []

        await self.until(has_begun)

    def feed(self) -> WebhookFeed:
        return LocalActors(self.hosts[-1]).ref(WebhookFeed, ALL)

    def held(self) -> Any:
        """Return the object that follows the changes."""
        return self.hosts[-1]._activations[(WebhookFeed.kind, ALL)].actor

    def actor(self, endpoint_id: str) -> WebhookEndpointActor:
        return LocalActors(self.hosts[-1]).ref(WebhookEndpointActor, endpoint_id)

    def _tell(self, kind: str, key: str, method: str, *args: object) -> None:
        self.told.append((kind, key))
        if not self.deaf:
            telling = asyncio.ensure_future(LocalActors(self.hosts[-1]).call(kind, key, method, args, {}, 30))
            self.telling.add(telling)
            telling.add_done_callback(self.telling.discard)

    async def kill(self) -> None:
        """End the newest host as a crash does."""
        host = self.hosts.pop()
        for activation in host._activations.values():
            actor: Any = activation.actor
            actor.on_deactivate()
            tasks = [actor._task, *getattr(actor, "_sending", {}).values()]
            await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)

    async def stop(self) -> None:
        for host in self.hosts:
            await host.stop(5)
        for server in self.servers:
            await server.close()

    async def forward(self, **delta: float) -> None:
        """Go on in time, and wake whom the reminders say."""
        self.clock.set(self.clock.now() + timedelta(**delta))
        service = ReminderService(Reminders(self.database), self.hosts[-1], range(256), self.clock)
        await service.read()

        async def are_delivered() -> bool:
            query = {"dueAt": {"$lte": self.clock.now()}}
            return await self.database["reminders"].count_documents(query) == 0

        await self.until(are_delivered)
        await service.stop()

    # --- what came of it

    def check(self, secret: str, received: Received) -> str:
        """Return the id of a message that was signed now."""
        return verified(secret, received.headers, received.body, self.clock.now())

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.01)

    async def has(self, receiver: Receiver, count: int) -> None:
        async def received() -> bool:
            return len(receiver.received) >= count

        await self.until(received)

    async def ends(self, endpoint_id: str, status: str, count: int = 1) -> None:
        """Return once so many deliveries of an endpoint have a status, and its actor is at nothing."""

        async def have_ended() -> bool:
            query = {"endpointId": endpoint_id, "status": status}
            return await self.database["webhookDeliveries"].count_documents(query) >= count

        await self.until(have_ended)

    async def tried(self, endpoint_id: str, attempts: int) -> dict[str, Any]:
        """Return the only delivery once it was tried so many times, and is noted."""

        async def was_tried() -> bool:
            found = await self.database["webhookDeliveries"].find_one({"endpointId": endpoint_id})
            return found is not None and found["attempts"] >= attempts

        await self.until(was_tried)
        await self.rests(endpoint_id)
        return await self.delivery(endpoint_id)

    async def rests(self, endpoint_id: str) -> None:
        """Return once the actor of an endpoint has nothing to do at this moment."""
        host = self.hosts[-1]

        async def is_idle() -> bool:
            activation = host._activations.get((WebhookEndpointActor.kind, endpoint_id))
            if activation is None:
                return True
            actor: Any = activation.actor
            return not actor._sending and (actor._task is None or actor._task.done())

        await self.until(is_idle)
