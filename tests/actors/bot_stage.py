"""A shop whose chatbot answers: customers write, a host ingests and answers, a simulated X and model server listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
from pydantic import SecretStr

from actors.account import AccountActor
from actors.clients.x_transport import open_session
from actors.conversation import ConversationActor
from actors.dialogue import Answers, Dialogue, dialogue_of
from actors.kinds import actor_factories
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from config.settings import Settings
from domain.clock import SystemClock, Waker
from domain.dialogue_exchange import ModelAnswer, Question
from domain.events import EventKind, Profile, XEvent
from domain.ids import new_id
from sandbox.model.model import SANDBOX_MODEL_KEY, Model
from sandbox.model.server import running as model_running
from sandbox.server import running
from sandbox.world import World
from storage.account_directory import AccountDirectory
from storage.accounts import Accounts, Identity, Tokens
from storage.ai_settings import AiSettings
from storage.bot_steps import BotSteps
from storage.client import Client, Database, Document
from storage.encryption import key_ring
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.inbox import Inbox
from storage.ingest import Ingest
from storage.messages import AgentMessage, Messages
from tests.actors.crash import OneHost, telling
from tests.actors.desk import until

MERCHANT = "merchant-1"
ACCOUNT = "account-1"
SHOP = "100"
CUSTOMER = "200"
_NUMBERS = count(1_000_000)


@dataclass
class Gate(Answers):
    """Holds the model's answers back until it is opened; each is asked for at once."""

    behind: Answers
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Question] = field(default_factory=list)

    async def answer(self, question: Question) -> ModelAnswer:
        self.asked.append(question)
        answer = await self.behind.answer(question)
        await self.opened.wait()
        return answer


@dataclass
class BotStage(OneHost):
    client: Client
    database: Database
    settings: Settings
    world: World
    model: Model
    session: aiohttp.ClientSession
    dialogue: Dialogue
    clock: Waker
    epoch: int = 0
    host: ActorHost | None = None

    # --- the shop

    async def connect(self, **fields: Any) -> None:
        self.world.people.add_shop(SHOP, username="shop", name="Shop")
        await Accounts(self.database, key_ring(self.settings)).connect(
            MERCHANT,
            ACCOUNT,
            Identity(SHOP, "shop", "Shop", None),
            Tokens(f"sandbox-token-{SHOP}", f"sandbox-secret-{SHOP}"),
            webhook_id="1",
            defaults={},
            now=self.clock.now(),
        )
        if fields:
            await self.database["accounts"].update_one({"_id": ACCOUNT}, {"$set": fields})

    async def set(self, **fields: object) -> None:
        await AiSettings(self.database).change(MERCHANT, fields, self.clock.now())

    # --- the host

    def start(self, answers: Answers | None = None) -> LocalActors:
        """Start a host with the next epoch."""
        self.epoch += 1
        host = self.host = ActorHost({})

        host._factories = actor_factories(
            self.settings,
            self.client,
            self.database,
            self.session,
            self.clock,
            self.epoch,
            telling(LocalActors(host)),
            answers=answers or self.dialogue,
        )
        return LocalActors(host)

    def actor(self, conversation_id: str) -> ConversationActor:
        assert self.host is not None
        return LocalActors(self.host).ref(ConversationActor, conversation_id, timeout_s=60)

    async def resume_everything(self) -> None:
        """Do what a host does when it looks for work that nobody is at."""
        assert self.host is not None
        for conversation_id in await BotSteps(self.client, self.database).due():
            await self.actor(conversation_id).handle()
        await LocalActors(self.host).ref(AccountActor, ACCOUNT).resume()

    def is_at(self, conversation_id: str) -> bool:
        """Return whether the actor of a conversation has anything to do."""
        host: Any = self.host
        activation = host._activations.get((ConversationActor.kind, conversation_id))
        return activation is not None and bool(activation.actor.busy() or activation.mailbox)

    # --- who writes

    async def writes(self, *texts: str, user: str = CUSTOMER, **data: object) -> str:
        """Let a customer have written, each message for itself; returns the conversation's id."""
        for text in texts:
            await self.happens(self.message(text, user, direction="inbound", **data))
        return await self.conversation_id(user)

    async def echoes(self, text: str, user: str = CUSTOMER) -> None:
        """Let somebody have answered in X's own app."""
        await self.happens(self.message(text, user, direction="outbound", isEcho=True))

    def message(self, text: str, user: str, **data: object) -> XEvent:
        self.world.add_customer(user)
        x_id = str(next(_NUMBERS))
        said: dict[str, object] = {"twitterMessageId": x_id, "text": text, **data}
        profile = Profile(username=f"user{user}")
        return XEvent(f"dm:{SHOP}:{x_id}", EventKind.MESSAGE, SHOP, user, self.clock.now(), said, profile)

    async def happens(self, *events: XEvent, told: bool = True) -> None:
        """Ingest events with one commit; with `told` the conversations' actors are told, as hosts do."""
        inbox = Inbox(self.client, self.database)
        await inbox.add(events, self.clock.now())
        ingest = Ingest(
            self.client,
            self.database,
            AccountDirectory(self.database),
            self.clock,
            erased=ErasedPeople(self.database, self.settings),
            flows=FlowDirectory(self.database),
        )
        ingested = await ingest.apply(await self.database["inbox"].find({}).sort("_id", 1).to_list())
        if told and self.host is not None:
            for conversation_id in ingested.bot_due:
                await self.actor(conversation_id).handle()
            for account_id in ingested.waiting_accounts:
                await LocalActors(self.host).ref(AccountActor, account_id).resume()

    async def agent_says(self, text: str, conversation_id: str) -> str:
        """Queue what a person says over the API; returns the message's id."""
        conversation = await self.conversation(conversation_id)
        message = AgentMessage(
            id=new_id(),
            account_id=ACCOUNT,
            conversation_id=conversation_id,
            contact_id=conversation["contactId"],
            twitter_user_id=conversation["twitterUserId"],
            type="text",
            content=text,
            user_id="agent-1",
        )
        await Messages(self.database).queue(MERCHANT, message, self.clock.now())
        return message.id

    async def deliver(self, message_id: str) -> str:
        assert self.host is not None
        status: Any = await LocalActors(self.host).ref(AccountActor, ACCOUNT).deliver(message_id)
        return str(status)

    # --- what came of it

    async def conversation_id(self, user: str = CUSTOMER) -> str:
        found = await self.database["conversations"].find_one({"twitterUserId": user}, sort=[("startedAt", -1)])
        assert found is not None
        return str(found["_id"])

    async def conversation(self, conversation_id: str) -> Document:
        found = await self.database["conversations"].find_one({"_id": conversation_id})
        assert found is not None
        return found

    async def kept(self, conversation_id: str) -> Document:
        found = await self.database["aiSessions"].find_one({"_id": conversation_id})
        assert found is not None
        return found

    async def of_bot(self, **query: object) -> list[Document]:
        return await self.database["messages"].find({"source": "bot", **query}).sort("createdAt", 1).to_list()

    def in_x(self, user: str = CUSTOMER) -> list[str]:
        """Return the texts that X has of the shop for a customer, in order."""
        return [m.text for m in self.world.messages.all if m.sender_id == SHOP and m.recipient_id == user]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(120):
            while not await condition():
                await asyncio.sleep(0.02)

    async def until_settled(self, conversation_id: str) -> Document:
        """Wait until nothing is due in a conversation and nobody is at it; returns the conversation."""

        async def is_settled() -> bool:
            return not self.is_at(conversation_id) and "botDue" not in await self.conversation(conversation_id)

        await self.until(is_settled)
        return await self.conversation(conversation_id)

    async def until_sent(self, number: int, user: str = CUSTOMER) -> list[str]:
        """Wait until X has so many messages for a customer; returns them."""
        await until(lambda: len(self.in_x(user)) >= number)
        return self.in_x(user)

    async def until_asked(self, number: int) -> None:
        await until(lambda: self.model.total >= number)

    def texts_asked(self) -> list[str]:
        """Return what the user said last in each request to the model."""
        return [
            next(str(said["content"]) for said in reversed(asked.body["messages"]) if said["role"] == "user")  # type: ignore[arg-type,index,call-overload]
            for asked in self.model.asked
        ]


@asynccontextmanager
async def open_bot_stage(
    client: Client, database: Database, settings: Settings, *, clock: Waker | None = None
) -> AsyncIterator[BotStage]:
    clock = clock or SystemClock()
    world = World(
        consumer_key=settings.x_consumer_key,
        consumer_secret=settings.x_consumer_secret.get_secret_value(),
        bearer_token=settings.x_bearer_token.get_secret_value(),
        customers=0,
        time_scale=0.001,
        clock=clock,
    )
    # A signature names the machine's time, whatever the clock of everything else.
    world.authenticator._clock = SystemClock()
    world.limits.raise_all(1_000_000)
    model = Model()
    async with running(world) as url, model_running(model) as model_url, open_session() as session:
        changes: dict[str, object] = {
            "x_api_base_url": url,
            "x_settle_timeout_s": 10.0,
            "x_timeout_s": 10.0,
            "x_messages_per_day": 10_000,
            "openai_base_url": f"{model_url}/v1",
            "openai_api_key": SecretStr(SANDBOX_MODEL_KEY),
            "fetch_private_addresses": True,
        }
        changed = settings.model_copy(update=changes)
        dialogue = dialogue_of(changed, database, clock)
        stage = BotStage(client, database, changed, world, model, session, dialogue, clock)
        yield stage
        await stage.stop()
        await dialogue.close()
