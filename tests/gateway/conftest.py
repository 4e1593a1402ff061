"""The HTTP side on a real server over a real database; each test has merchants of its own in one shared database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher
from pydantic import SecretStr

from actors.account import AccountActor
from actors.attachments import Attachments
from actors.campaign import CampaignActor
from actors.clients.x_app import XApp
from actors.conversation import ConversationActor
from actors.conversation_requests import Asked
from actors.flow import FlowActor
from actors.flow_executor import FlowExecutor
from actors.merchant_limit import MerchantLimit
from actors.webhook_endpoint import WebhookEndpointActor
from config.settings import Settings
from domain.call_limit import Answer, Ask, CallWindow
from domain.clock import SystemClock
from domain.contact_names import search_terms
from domain.ids import new_id
from domain.rollup import Tally
from gateway.app import create_app
from gateway.background import Background
from gateway.dependencies import Dependencies, PartHealth, Repositories
from gateway.passwords import Passwords
from gateway.tokens import AccessTokens
from storage.client import Database, database_of, open_client
from storage.encryption import key_ring
from storage.indexes import ensure_indexes
from storage.rollups import add_in
from tests.gateway.flows import ExecutorStandIn, FlowStandIn
from tests.gateway.webhook_endpoints import EndpointStandIn
from tests.gateway.x_server import XState, x_application

API = "/api/v1/mkt-x"
SECRET = "a-secret-for-tests-of-at-least-32-bytes"
NOW = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)

Deliver = Callable[[str], Awaitable[str]]


@dataclass
class Actors:
    """An actor system in this process: what is delivered is decided by the test, and every call is noted."""

    database: Database
    calls: list[tuple[str, str]] = field(default_factory=list)
    deliver: Deliver | None = None
    windows: list[dict[str, Any]] = field(default_factory=list)
    reload_fails: Exception | None = None
    limits: dict[str, _Unlimited] = field(default_factory=dict)
    campaign_fails: Exception | None = None
    model_fails: Exception | None = None
    flows_fail: Exception | None = None
    webhooks_fail: Exception | None = None
    refuses_starts: bool = False

    def ref(self, kind: type[Any], key: str, *, timeout_s: float | None = None) -> Any:
        if kind is MerchantLimit:
            return self.limits.setdefault(key, _Unlimited())
        return _STAND_INS[kind](self, key)

    async def mark(self, message_id: str, **fields: object) -> str:
        await self.database["messages"].update_one({"_id": message_id}, {"$set": fields})
        return str(fields["status"])


class _Unlimited:
    """The limit of a merchant whose calls are nobody's matter; its own tests have the real one."""

    def __init__(self) -> None:
        self._window = CallWindow(1_000_000)

    async def ask(self, ask: Ask) -> Answer:
        return self._window.ask(ask, round(time.time() * 1000))


@dataclass
class _Campaign:
    """Moves its campaign wherever it is told to, unless the test has it refuse."""

    actors: Actors
    key: str

    async def start(self, merchant_id: str) -> None:
        await self._move("start", merchant_id, "running")

    async def unschedule(self, merchant_id: str) -> None:
        await self._move("unschedule", merchant_id, "draft")

    async def pause(self, merchant_id: str) -> None:
        await self._move("pause", merchant_id, "paused")

    async def resume(self, merchant_id: str) -> None:
        await self._move("resume", merchant_id, "running")

    async def cancel(self, merchant_id: str) -> None:
        await self._move("cancel", merchant_id, "cancelled")

    async def schedule_changed(self, merchant_id: str) -> None:
        await self._move("schedule_changed", merchant_id, "scheduled")

    async def retry_failed(self, merchant_id: str) -> int:
        await self._move("retry_failed", merchant_id, "running")
        return 3

    async def _move(self, name: str, merchant_id: str, status: str) -> None:
        self.actors.calls.append((name, self.key))
        if self.actors.campaign_fails is not None:
            raise self.actors.campaign_fails
        query = {"_id": self.key, "merchantId": merchant_id}
        await self.actors.database["campaigns"].update_one(query, {"$set": {"status": status}, "$inc": {"version": 1}})


@dataclass
class _Conversation:
    """Has an answer for everything, unless the test has the model fail."""

    actors: Actors
    key: str

    async def ask(self, merchant_id: str, message: str) -> Asked:
        self.actors.calls.append(("ask", self.key))
        if self.actors.model_fails is not None:
            raise self.actors.model_fails
        return Asked(
            intent="order_status_query",
            confidence=0.95,
            response=f"You said: {message}",
            slots={"orderId": "12345"},
            requiresEscalation=False,
        )


@dataclass
class _Account:
    actors: Actors
    key: str

    async def deliver(self, message_id: str) -> str:
        self.actors.calls.append(("deliver", self.key))
        if self.actors.deliver is not None:
            return await self.actors.deliver(message_id)
        return await self.actors.mark(
            message_id, status="sent", twitterMessageId=f"x-{message_id}", sentAt=NOW, pending=False
        )

    async def resume(self) -> None:
        self.actors.calls.append(("resume", self.key))

    async def reload(self) -> None:
        self.actors.calls.append(("reload", self.key))
        if self.actors.reload_fails is not None:
            raise self.actors.reload_fails

    async def limits(self) -> list[dict[str, Any]]:
        return self.actors.windows


_STAND_INS: Mapping[type[Any], Callable[[Actors, str], Any]] = {
    AccountActor: _Account,
    CampaignActor: _Campaign,
    ConversationActor: _Conversation,
    FlowExecutor: ExecutorStandIn,
    FlowActor: FlowStandIn,
    WebhookEndpointActor: EndpointStandIn,
}


@pytest.fixture(scope="session")
def gateway_settings(mongo_uri: str) -> Settings:
    return Settings(
        mongodb_uri=SecretStr(mongo_uri),
        mongodb_database="test-gateway",
        x_consumer_key="test-consumer",
        x_consumer_secret=SecretStr("test-consumer-secret"),
        x_bearer_token=SecretStr("test-bearer"),
        jwt_secret=SecretStr(SECRET),
        encryption_key=SecretStr("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        max_body_bytes=64 * 1024,
        login_attempts_per_minute=3,
        mongodb_timeout_s=3,
        # What is tried on every route must come to an end here too.
        event_stream_lifetime_s=0.3,
    )


@pytest.fixture(scope="session")
async def gateway_database(gateway_settings: Settings) -> AsyncIterator[Database]:
    client = open_client(gateway_settings)
    database = database_of(client, gateway_settings)
    await ensure_indexes(database)
    yield database
    await client.close()


@pytest.fixture(scope="session")
def passwords() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def actors(gateway_database: Database) -> Actors:
    return Actors(gateway_database)


@pytest.fixture
async def x_state() -> XState:
    return XState()


@pytest.fixture
async def deps(
    gateway_settings: Settings, gateway_database: Database, passwords: Passwords, actors: Actors, x_state: XState
) -> AsyncIterator[Dependencies]:
    async with TestServer(x_application(x_state)) as x_server, aiohttp.ClientSession() as session:
        url = str(x_server.make_url("")).rstrip("/")
        settings = gateway_settings.model_copy(update={"x_api_base_url": url, "example_sites_url": f"{url}/web"})
        clock = SystemClock()

        async def parts() -> Mapping[str, PartHealth]:
            return {"database": PartHealth(ready=True), "actors": PartHealth(ready=True)}

        yield Dependencies(
            settings=settings,
            database=gateway_database,
            repositories=Repositories.of(gateway_database, key_ring(settings)),
            actors=actors,
            x=XApp(settings, session, clock),
            attachments=Attachments(settings, clock),
            webhook_id=lambda: "7001",
            clock=clock,
            tokens=AccessTokens(settings, clock),
            passwords=passwords,
            background=Background(),
            parts=parts,
        )


@asynccontextmanager
async def serve(deps: Dependencies) -> AsyncIterator[TestClient[Any, Any]]:
    """Serve the application as the program does: bodies reach it as they were sent."""
    server = TestServer(create_app(deps))
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as http:
        yield http


@dataclass
class Api:
    """A client of the gateway that speaks for a merchant."""

    http: TestClient[Any, Any]
    database: Database
    merchant_id: str
    user_id: str
    roles: list[str]
    deps: Dependencies

    def as_role(self, *roles: str) -> Api:
        return replace(self, roles=list(roles))

    def other_merchant(self) -> Api:
        return replace(self, merchant_id=new_id(), user_id=new_id())

    @property
    def token(self) -> str:
        return self.deps.tokens.issue(self.user_id, self.merchant_id, self.roles)

    async def call(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **kwargs: Any
    ) -> tuple[int, dict[str, Any]]:
        response = await self.answer(method, path, headers=headers, **kwargs)
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else {}

    async def answer(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **kwargs: Any
    ) -> aiohttp.ClientResponse:
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        url = path if path.startswith("/api/") else API + path
        response = await self.http.request(method, url, headers=sent, **kwargs)
        await response.read()
        return response

    async def get(self, path: str, **kwargs: Any) -> tuple[int, dict[str, Any]]:
        return await self.call("GET", path, **kwargs)

    async def post(self, path: str, json: object = None, **kwargs: Any) -> tuple[int, dict[str, Any]]:
        return await self.call("POST", path, json=json, **kwargs)

    async def put(self, path: str, json: object = None, **kwargs: Any) -> tuple[int, dict[str, Any]]:
        return await self.call("PUT", path, json=json, **kwargs)

    async def delete(self, path: str, **kwargs: Any) -> tuple[int, dict[str, Any]]:
        return await self.call("DELETE", path, **kwargs)

    # --- what exists

    async def account(self, **fields: object) -> str:
        account = {
            "_id": new_id(),
            "merchantId": self.merchant_id,
            "twitterUserId": str(uuid4().int)[:15],
            "username": "goodgo_shop",
            "displayName": "GoodGo Official",
            "profileImageUrl": None,
            "status": "active",
            "statusReason": None,
            "connected": True,
            "webhookId": None,
            "tokens": None,
            "autoReplyEnabled": False,
            "businessHours": {
                "enabled": False,
                "timezone": "UTC",
                "schedule": {},
                "holidays": [],
                "awayMessage": None,
            },
            "connectedAt": NOW,
            "disconnectedAt": None,
            "createdAt": NOW,
            "updatedAt": NOW,
        } | fields
        await self.database["accounts"].insert_one(account)
        return str(account["_id"])

    async def contact(self, account_id: str, username: str = "customer_john", **fields: object) -> str:
        display_name = str(fields.get("displayName", "John Doe"))
        contact = {
            "_id": new_id(),
            "merchantId": self.merchant_id,
            "accountId": account_id,
            "twitterUserId": str(uuid4().int)[:15],
            "username": username,
            "displayName": display_name,
            "profileImageUrl": None,
            "searchTerms": search_terms(username, display_name),
            "tags": [],
            "attributes": {},
            "source": "inbound_message",
            "consent": {"state": "inbound", "at": NOW, "source": "message"},
            "conversationCount": 1,
            "messagesSent": 0,
            "messagesReceived": 1,
            "responseSeconds": 0,
            "responseCount": 0,
            "firstInteractionAt": NOW,
            "lastInteractionAt": NOW,
            "createdAt": NOW,
            "updatedAt": NOW,
        } | fields
        await self.database["contacts"].insert_one(contact)
        return str(contact["_id"])

    async def conversation(self, account_id: str, contact_id: str, **fields: object) -> str:
        conversation = {
            "_id": new_id(),
            "merchantId": self.merchant_id,
            "accountId": account_id,
            "contactId": contact_id,
            "twitterUserId": "987654321",
            "status": "open",
            "channel": "direct_message",
            "assignedToUserId": None,
            "messageCount": 1,
            "unreadCount": 1,
            "startedAt": NOW,
            "lastMessageAt": NOW,
            "lastInboundAt": NOW,
            "waitingSince": NOW,
            "closedAt": None,
            "closeReason": None,
        } | fields
        await self.database["conversations"].insert_one(conversation)
        return str(conversation["_id"])

    async def inbound(self, conversation_id: str, content: str, at: datetime = NOW, **fields: object) -> str:
        conversation = await self.database["conversations"].find_one({"_id": conversation_id})
        assert conversation is not None
        message = {
            "_id": new_id(),
            "merchantId": self.merchant_id,
            "accountId": conversation["accountId"],
            "conversationId": conversation_id,
            "contactId": conversation["contactId"],
            "twitterUserId": conversation["twitterUserId"],
            "twitterMessageId": new_id(),
            "direction": "inbound",
            "type": "text",
            "content": content,
            "attachments": [],
            "isFromBot": False,
            "source": "customer",
            "status": "received",
            "sentAt": at,
            "at": at,
            "createdAt": at,
        } | fields
        await self.database["messages"].insert_one(message)
        tally = Tally()
        tally.message(message)
        await add_in(self.database, None, tally, "test")
        return str(message["_id"])

    async def dialogue(self, **fields: object) -> str:
        """Return the id of a conversation with an account and a contact of its own."""
        account_id = await self.account()
        return await self.conversation(account_id, await self.contact(account_id), **fields)


@pytest.fixture
async def api(deps: Dependencies, gateway_database: Database) -> AsyncIterator[Api]:
    async with serve(deps) as http:
        yield Api(http, gateway_database, new_id(), new_id(), ["owner"], deps)


def later(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # what is waited for is in the code under test
            await asyncio.sleep(0.01)
