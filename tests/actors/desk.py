"""A shop's desk: the actor of an account, in this process, between a real MongoDB and a real simulated X."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import aiohttp

from actors.account import AccountActor, AccountServices
from actors.attachments import Attachments
from actors.campaign_feed import FeedServices
from actors.clients.x_app import XApp
from actors.clients.x_transport import open_session
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from config.settings import Settings
from domain.account_key import AccountKey
from domain.clock import SystemClock
from domain.events import EventKind, XEvent
from domain.ids import new_id
from domain.ingestion import Ingestion
from sandbox.server import running
from sandbox.world import World
from storage.accounts import Accounts, Identity, Tokens
from storage.actor_states import ActorStates
from storage.campaign_recipients import CampaignRecipients
from storage.campaign_runs import CampaignRuns
from storage.client import Client, Database, Document
from storage.encryption import key_ring
from storage.messages import AgentMessage, Messages
from storage.outbox import Outbox
from tests.storage.arrivals import messages_counted

SHOP = "100"
ACCOUNT = AccountKey("account-1", "merchant-1", SHOP)
SEND_PATH = "/2/dm_conversations/with/[0-9]+/messages$"
CLOCK = SystemClock()


@asynccontextmanager
async def failing(client: Client, commands: list[str], mode: Any, **data: Any) -> AsyncIterator[None]:
    """Have commands of the database fail: `mode` is `alwaysOn` or `{"times": n}` or `{"skip": n}`."""
    failure = {"failCommands": commands, **data}
    await client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": failure})
    try:
        yield
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def account_services(
    settings: Settings,
    client: Client,
    database: Database,
    session: aiohttp.ClientSession,
    *,
    epoch: int,
    attachments: Attachments | None = None,
) -> AccountServices:
    """Return what the actors of accounts work with."""
    return AccountServices(
        settings=settings,
        states=ActorStates(database, "accountActors"),
        outbox=Outbox(client, database),
        accounts=Accounts(database, key_ring(settings)),
        x=XApp(settings, session, CLOCK),
        attachments=attachments or Attachments(settings, CLOCK),
        feed=FeedServices(
            settings,
            CampaignRuns(client, database),
            CampaignRecipients(client, database),
            {},
            CLOCK,
            asyncio.Semaphore(8),
        ),
        clock=CLOCK,
        epoch=epoch,
    )


@dataclass
class Desk:
    client: Client
    database: Database
    settings: Settings
    world: World
    session: aiohttp.ClientSession
    epoch: int = 0
    hosts: list[ActorHost] = field(default_factory=list)

    # --- the actor

    def start(self, **changes: Any) -> AccountActor:
        """Start a host with the next epoch and return its stand-in of the account's actor."""
        self.epoch += 1
        settings = self.settings.model_copy(update=changes)
        services = account_services(settings, self.client, self.database, self.session, epoch=self.epoch)
        host = ActorHost({AccountActor.kind: lambda key: AccountActor(key, services)})
        self.hosts.append(host)
        return LocalActors(host).ref(AccountActor, ACCOUNT.id, timeout_s=20)

    def kill(self) -> None:
        """End the newest host as a crash does: nothing more is written or sent by it."""
        host = self.hosts.pop()
        for activation in host._activations.values():
            actor: Any = activation.actor
            for task in actor._tasks:
                task.cancel()
            actor._doubts.close()
            for handle in (actor._wake,):
                if handle:
                    handle.cancel()
            actor._fenced = True

    async def stop(self) -> None:
        for host in self.hosts:
            await host.stop(0.1)

    # --- documents

    async def connect(self) -> None:
        identity = Identity(SHOP, "shop", "Shop", None)
        tokens = Tokens(f"sandbox-token-{SHOP}", f"sandbox-secret-{SHOP}")
        accounts = Accounts(self.database, key_ring(self.settings))
        await accounts.connect(
            ACCOUNT.merchant_id, ACCOUNT.id, identity, tokens, webhook_id="1", defaults={}, now=CLOCK.now()
        )

    async def customer(self, user_id: str = "200") -> str:
        """Let a customer have written; returns the conversation's id."""
        self.world.add_customer(user_id)
        ingestion = Ingestion(CLOCK.now(), new_id)
        data: dict[str, object] = {"twitterMessageId": uuid4().hex, "direction": "inbound", "text": "Hello?"}
        ingestion.take(ACCOUNT, XEvent(uuid4().hex, EventKind.MESSAGE, SHOP, user_id, CLOCK.now(), data))
        (contact,), (conversation,) = ingestion.contacts.values(), ingestion.conversations.values()
        await self.database["contacts"].insert_one(contact.document)
        await self.database["conversations"].insert_one(conversation.document)
        await self.database["messages"].insert_many(ingestion.messages)
        return str(conversation.document["_id"])

    async def queue(self, text: str, conversation_id: str, created_at: datetime | None = None, **fields: Any) -> str:
        """Store a message to be sent; returns its id."""
        conversation = await self.database["conversations"].find_one({"_id": conversation_id})
        assert conversation is not None
        message = AgentMessage(
            id=new_id(),
            account_id=ACCOUNT.id,
            conversation_id=conversation_id,
            contact_id=conversation["contactId"],
            twitter_user_id=conversation["twitterUserId"],
            type="text",
            content=text,
            user_id="agent-1",
        )
        await Messages(self.database).queue(ACCOUNT.merchant_id, message, created_at or CLOCK.now())
        if fields:
            await self.database["messages"].update_one({"_id": message.id}, {"$set": fields})
        return message.id

    async def message(self, message_id: str) -> Document:
        found = await self.database["messages"].find_one({"_id": message_id})
        assert found is not None
        return found

    async def status(self, message_id: str) -> str:
        return str((await self.message(message_id))["status"])

    async def until(self, message_id: str, *statuses: str) -> Document:
        async with asyncio.timeout(60):
            while (found := await self.message(message_id))["status"] not in statuses:
                await asyncio.sleep(0.01)
        return found

    async def counted(self, conversation_id: str) -> tuple[int, int, int]:
        """Return how many sent messages the contact, the conversation and the rollups count."""
        conversation = await self.database["conversations"].find_one({"_id": conversation_id})
        assert conversation is not None
        contact = await self.database["contacts"].find_one({"_id": conversation["contactId"]})
        assert contact is not None
        return contact["messagesSent"], conversation["messageCount"] - 1, await messages_counted(self.database)

    # --- X

    def fault(self, kind: str, **more: Any) -> Any:
        return self.world.faults.order({"kind": kind, "match": SEND_PATH, **more})

    def in_x(self) -> list[str]:
        """Return the texts that X has of the shop, in order."""
        return [message.text for message in self.world.messages.all if message.sender_id == SHOP]

    def write_in_x(self, text: str, to: str = "200") -> str:
        """Let X have a message of the shop; returns X's id of it."""
        message = self.world.compose(SHOP, to, text, via="test")
        self.world.keep(message)
        return message.id


@asynccontextmanager
async def open_desk(client: Client, database: Database, settings: Settings) -> AsyncIterator[Desk]:
    world = World(
        consumer_key=settings.x_consumer_key,
        consumer_secret=settings.x_consumer_secret.get_secret_value(),
        bearer_token=settings.x_bearer_token.get_secret_value(),
        account_id=SHOP,
        customers=0,
        time_scale=0.001,
    )
    world.limits.raise_all(1_000_000)
    async with running(world) as url, open_session() as session:
        changes = {"x_api_base_url": url, "x_settle_timeout_s": 10.0, "x_timeout_s": 10.0}
        desk = Desk(client, database, settings.model_copy(update=changes), world, session)
        await desk.connect()
        yield desk
        await desk.stop()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def each_once(texts: list[str]) -> bool:
    return max(Counter(texts).values(), default=0) <= 1
