"""A merchant with some accounts and contacts, a host that works for them, and a simulated X."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from actors import campaign
from actors.account import AccountActor
from actors.campaign import CampaignActor
from actors.clients.x_transport import open_session
from actors.kinds import actor_factories
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from config.settings import Settings
from domain.account_key import AccountKey
from domain.clock import SystemClock, Waker
from domain.events import EventKind, Profile, XEvent
from domain.ids import new_id
from domain.ingestion import Ingestion
from sandbox.server import running
from sandbox.world import World
from storage.accounts import Accounts, Identity, Tokens
from storage.campaigns import CampaignDocument, CampaignFields, Campaigns
from storage.client import Client, Database, Document
from storage.encryption import key_ring
from storage.segments import SegmentDocument, Segments
from storage.templates import Templates
from tests.actors.crash import OneHost, telling

MERCHANT = "merchant-1"


@dataclass
class Stage(OneHost):
    client: Client
    database: Database
    settings: Settings
    world: World
    session: aiohttp.ClientSession
    clock: Waker = field(default_factory=SystemClock)
    epoch: int = 0
    host: ActorHost | None = None
    accounts: list[AccountKey] = field(default_factory=list)
    people: int = 0

    # --- the merchant

    async def account(self) -> AccountKey:
        number = len(self.accounts) + 1
        user_id = str(1000 + number)
        self.world.people.add_shop(user_id, username=f"shop{number}", name=f"Shop {number}")
        key = AccountKey(f"account-{number}", MERCHANT, user_id)
        await Accounts(self.database, key_ring(self.settings)).connect(
            MERCHANT,
            key.id,
            Identity(user_id, f"shop{number}", f"Shop {number}", None),
            Tokens(f"sandbox-token-{user_id}", f"sandbox-secret-{user_id}"),
            webhook_id="1",
            defaults={},
            now=self.clock.now(),
        )
        self.accounts.append(key)
        return key

    async def contacts(self, account: AccountKey, count: int, **fields: Any) -> list[str]:
        """Let people follow an account; returns the ids of their contacts."""
        ingestion = Ingestion(self.clock.now(), new_id)
        for _ in range(count):
            self.people += 1
            user_id = str(2_000_000 + self.people)
            self.world.add_customer(user_id)
            profile: Profile = {"username": f"user{self.people}"}
            at = self.clock.now()
            ingestion.take(
                account, XEvent(new_id(), EventKind.FOLLOW, account.twitter_user_id, user_id, at, {}, profile)
            )
        documents = [{**draft.document, **fields} for draft in ingestion.contacts.values()]
        await self.database["contacts"].insert_many(documents)
        return [document["_id"] for document in documents]

    async def segment(self, conditions: list[object]) -> str:
        now = self.clock.now()
        segment: SegmentDocument = {
            "_id": new_id(),
            "merchantId": MERCHANT,
            "name": new_id(),
            "conditions": conditions,
            "contactCount": 0,
            "countedAt": now,
            "version": 1,
            "createdAt": now,
            "updatedAt": now,
        }
        await Segments(self.database).add(segment)
        return segment["_id"]

    async def everybody(self) -> str:
        return await self.segment([{"field": "username", "operator": "exists", "value": True}])

    async def template(self, content: str = "Hello {{ username }}") -> str:
        fields: Any = {
            "name": new_id(),
            "type": "text",
            "content": content,
            "variables": [],
            "options": [],
            "buttons": [],
        }
        return (await Templates(self.database).add(MERCHANT, new_id(), fields, self.clock.now()))["_id"]

    async def campaign(self, content: str = "Hello {{ username }}", **changes: Any) -> str:
        fields: CampaignFields = {
            "name": "Sale",
            "type": "promotional",
            "accountId": None,
            "templateId": await self.template(content),
            "segmentIds": [await self.everybody()],
            "excludeSegmentIds": [],
            "schedule": {"startAt": None, "endAt": None, "recurrence": None, "timezone": "UTC"},
            "variables": {},
            "variants": [],
            "controlShare": 0.0,
        }
        fields.update(changes)  # type: ignore[typeddict-item]
        return (await Campaigns(self.database).add(MERCHANT, new_id(), fields, self.clock.now()))["_id"]

    async def schedule_as_of(self, campaign_id: str, due: datetime) -> None:
        """Let a campaign have been scheduled for a time."""
        scheduled = {"status": "scheduled", "nextRunAt": due}
        await self.database["campaigns"].update_one({"_id": campaign_id}, {"$set": scheduled})

    # --- the host

    def start(self, **changes: Any) -> LocalActors:
        """Start a host with the next epoch."""
        self.epoch += 1
        settings = self.settings.model_copy(update=changes)
        host = self.host = ActorHost({})

        host._factories = actor_factories(
            settings, self.client, self.database, self.session, self.clock, self.epoch, telling(LocalActors(host))
        )
        return LocalActors(host)

    def actor(self, campaign_id: str) -> CampaignActor:
        assert self.host is not None
        return LocalActors(self.host).ref(CampaignActor, campaign_id, timeout_s=60)

    async def resume_everything(self) -> None:
        """Do what a host does when it starts, and again and again: wake what has work."""
        assert self.host is not None
        actors = LocalActors(self.host)
        for campaign_id in await self.database["campaignRuns"].distinct("campaignId"):
            await actors.ref(CampaignActor, campaign_id).follow()
        for account in self.accounts:
            await actors.ref(AccountActor, account.id).resume()
            await actors.ref(AccountActor, account.id).campaigns_changed()

    async def start_slowly(self, contacts: int) -> tuple[str, CampaignActor]:
        """Start a campaign to so many contacts, and return when some of them have got it, but by far not all."""
        await self.contacts(await self.account(), contacts)
        self.fault("slow", seconds=0.05)
        campaign_id = await self.campaign()
        self.start()
        actor = self.actor(campaign_id)
        await actor.start(MERCHANT)

        async def some_sent() -> bool:
            return len(self.in_x()) > 3

        await self.until(some_sent)
        return campaign_id, actor

    # --- what came of it

    async def state(self, campaign_id: str) -> CampaignDocument:
        found: Any = await self.database["campaigns"].find_one({"_id": campaign_id})
        assert found is not None
        return found  # type: ignore[no-any-return]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(120):
            while not await condition():
                await asyncio.sleep(0.02)

    async def until_status(self, campaign_id: str, status: str) -> CampaignDocument:
        async def reached() -> bool:
            return (await self.state(campaign_id))["status"] == status

        await self.until(reached)
        return await self.state(campaign_id)

    async def until_each_account_has_sent(self) -> None:
        """Wait until X has taken a message of each account and said so."""
        accounts = {account.id for account in self.accounts}

        async def have_sent() -> bool:
            return set(await self.database["messages"].distinct("accountId", {"status": "sent"})) == accounts

        await self.until(have_sent)

    async def until_completed(self, campaign_id: str) -> None:
        """Wait for the end of a campaign while the host looks for what is left, as hosts do.

        Looking once is not enough: a step that a dying host had begun may be written after that.
        """

        async def is_completed() -> bool:
            await self.resume_everything()
            return (await self.state(campaign_id))["status"] == "completed"

        await self.until(is_completed)

    async def recipients(self, campaign_id: str) -> list[Document]:
        return await self.database["campaignRecipients"].find({"campaignId": campaign_id}).to_list()

    async def statuses(self, campaign_id: str) -> Mapping[str, int]:
        return Counter(each["status"] for each in await self.recipients(campaign_id))

    async def counts(self, campaign_id: str) -> Mapping[str, int]:
        """Return what was counted, without zeros."""
        total: Counter[str] = Counter()
        async for part in self.database["campaignCounts"].find({"campaignId": campaign_id}):
            total.update({name: value for name, value in part.items() if isinstance(value, int)})
        return {name: value for name, value in total.items() if value}

    async def lanes(self, campaign_id: str) -> list[Document]:
        return await self.database["campaignLanes"].find({"campaignId": campaign_id}).to_list()

    def in_x(self) -> Counter[tuple[str, str]]:
        """Return how often each text was sent to each person."""
        shops = {account.twitter_user_id for account in self.accounts}
        return Counter((m.recipient_id, m.text) for m in self.world.messages.all if m.sender_id in shops)

    def fault(self, kind: str, **more: Any) -> Any:
        return self.world.faults.order({"kind": kind, "match": "/2/dm_conversations/with/[0-9]+/messages$", **more})


@asynccontextmanager
async def open_stage(
    client: Client, database: Database, settings: Settings, *, clock: Waker | None = None, limited: bool = False
) -> AsyncIterator[Stage]:
    """Open a stage with one clock for all; `limited` keeps the limits of X and ours as they are by default."""
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
    changes: dict[str, object] = {"x_settle_timeout_s": 10.0, "x_timeout_s": 10.0}
    if not limited:
        world.limits.raise_all(1_000_000)
        changes["x_messages_per_day"] = 60_000
    async with running(world) as url, open_session() as session:
        changes["x_api_base_url"] = url
        with pytest.MonkeyPatch.context() as patch:
            # A run is found complete when it is looked at: here nobody has two seconds.
            patch.setattr(campaign, "_LOOK_S", 0.05)
            stage = Stage(client, database, settings.model_copy(update=changes), world, session, clock)
            yield stage
            await stage.stop()
