"""What works inside one actor host: its actors, and the ingestion of its partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from itertools import count, pairwise
from typing import TYPE_CHECKING

import aiohttp
import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.account import AccountActor
from actors.campaign import CampaignActor
from actors.clients.x_transport import open_session
from actors.conversation import ConversationActor
from actors.dialogue import Dialogue, dialogue_of
from actors.flow import FlowActor
from actors.flow_feed import FlowFeed
from actors.host_metrics import HostMetrics
from actors.ingestor import Ingestor
from actors.kinds import actor_factories
from actors.limit_sampler import LimitSampler
from actors.loop_lag import LoopLag
from actors.message_indexer import MessageIndexer
from actors.rollup_folder import RollupFolder
from actors.runtime.host import ActorHost
from actors.runtime.reminders import ReminderService
from actors.runtime.system import LocalActors
from actors.runtime.wire import Call, Outcome
from actors.webhook_endpoint import WebhookEndpointActor
from actors.webhook_events import WebhookEvents
from actors.webhook_feed import ALL, WebhookFeed
from config.logs import configure_logs
from config.origin import origin
from config.settings import Settings
from config.tracing import close_tracing, configure_tracing
from domain.clock import SystemClock
from domain.ended import ended
from domain.partition import host_of, lanes_of, partition_of, partitions_of
from storage.account_directory import AccountDirectory
from storage.bot_steps import BotSteps
from storage.campaign_runs import CampaignRuns
from storage.client import Client, close_client, database_of, open_client
from storage.epochs import next_epoch
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.flow_documents import EXECUTOR
from storage.flow_events import FlowEvents
from storage.flow_work import FlowWork
from storage.inbox import Inbox
from storage.ingest import Ingest, Ingested
from storage.message_words import MessageWords
from storage.outbox import Outbox
from storage.reminders import Reminders
from storage.webhook_deliveries import WebhookDeliveries

if TYPE_CHECKING:
    from actors.runtime.ray_system import RayActors

log = structlog.get_logger()

FLOW_DIRECTORY = Counter("mktx_flow_directory_total", "What the directory of active flows has met with", ["what"])

#: Transactions under way at once in one host, each on its own share of the lanes.
_INGESTORS = 2
#: How often, in a host's first minute, what waits although nobody is at it is looked for: others may just have died.
_RESUME_S = 10.0
_RESUMES_AT_FIRST = 6
#: How many times as long that takes from then on.
_RESUME_LATER = 2
#: Every so many times those are told too that are awake: a message that they missed is not lost for long.
_EVERYTHING = 3
_CALL_S = 60.0
#: For what is asked of the chatbot, which asks a model.
_ASK_S = 180.0


class Services:
    """Composes one host; see `HostServices`."""

    def __init__(self, settings: Settings, index: int, hosts: int, webhooks: WebhookEvents | None = None) -> None:
        self._settings = settings
        self._webhooks = webhooks
        self._deliveries: WebhookDeliveries | None = None
        self._index = index
        self._hosts = hosts
        self._clock = SystemClock()
        self.epoch = 0
        self.host = ActorHost({})
        self._client: Client | None = None
        self._session: aiohttp.ClientSession | None = None
        self._ingestors: list[Ingestor] = []
        self._indexer: MessageIndexer | None = None
        self._outbox: Outbox | None = None
        self._runs: CampaignRuns | None = None
        self._flows: FlowDirectory | None = None
        self._flow_work: FlowWork | None = None
        self._bot: BotSteps | None = None
        self._dialogue: Dialogue | None = None
        self._reminders: ReminderService | None = None
        self._flow_feed: FlowFeed | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._watches: list[HostMetrics | LimitSampler | LoopLag | RollupFolder] = []
        self._elsewhere: RayActors | None = None

    async def start(self) -> None:
        """Connect, take an epoch, and begin to work."""
        configure_logs(self._settings, process=f"host-{self._index}")
        configure_tracing(self._settings, process=f"host-{self._index}")
        settings = self._settings
        self._client = client = open_client(settings)
        self._session = session = open_session()
        database = database_of(client, settings)
        self.epoch = await next_epoch(database)
        self._outbox = Outbox(client, database)
        self._runs = CampaignRuns(client, database)
        self._flows = flows = FlowDirectory(database, noted=lambda what: FLOW_DIRECTORY.labels(what).inc())
        flows.start()
        self._flow_work = FlowWork(database)
        self._bot = BotSteps(client, database)
        self._deliveries = WebhookDeliveries(database)
        self._dialogue = dialogue_of(settings, database, self._clock)
        self.host = ActorHost(
            actor_factories(
                settings,
                client,
                database,
                session,
                self._clock,
                self.epoch,
                self._tell,
                ask=self._ask,
                answers=self._dialogue,
                webhooks=self._webhooks,
                name=f"host{self._index}",
            ),
            idle_s=settings.actor_idle_s,
            limit=settings.actor_limit,
            mailbox_limit=settings.actor_mailbox,
        )
        await self.host.start()
        accounts = AccountDirectory(database)
        inbox, erased = Inbox(client, database), ErasedPeople(database, settings)
        self._ingestors = [
            Ingestor(
                inbox,
                Ingest(client, database, accounts, self._clock, erased=erased, flows=flows, name=f"lane{part.start}"),
                part,
                self._clock,
                batch=settings.ingest_batch,
                reacted=self._react,
            )
            for part in _split(lanes_of(self._index, self._hosts), _INGESTORS)
        ]
        if self._hosts > 1:
            from actors.runtime.ray_system import RayActors  # noqa: PLC0415  # costs seconds where Ray is not loaded

            self._elsewhere = RayActors(self._hosts, local=(self._index, self.host))
            self._elsewhere.start()
        for ingestor in self._ingestors:
            ingestor.start()
        self._indexer = MessageIndexer(
            MessageWords(database),
            lanes_of(self._index, self._hosts),
            lambda: any(ingestor.is_behind for ingestor in self._ingestors),
        )
        self._indexer.start()
        self._reminders = ReminderService(
            Reminders(database), self.host, partitions_of(self._index, self._hosts), self._clock
        )
        self._reminders.start()
        self._flow_feed = FlowFeed(
            FlowEvents(database),
            partitions_of(self._index, self._hosts),
            lambda contact_id: self._ask(EXECUTOR, contact_id, "take"),
        )
        self._flow_feed.start()
        self._resuming = asyncio.create_task(self._resume_for_ever())
        self._watches = [HostMetrics(self.host, self._index), LimitSampler(self.host), LoopLag("host")]
        if self._index == 0:
            self._watches.append(RollupFolder(client, database, self._clock))
        for watch in self._watches:
            watch.start()
        log.info("host.ready", index=self._index, epoch=self.epoch)

    async def ring(self) -> None:
        """Return when what is in the inbox now has been dealt with."""
        await asyncio.gather(*(ingestor.ring() for ingestor in self._ingestors))

    def ease(self, seconds: float) -> None:
        """Process events at a fraction of the pace for so many seconds."""
        for ingestor in self._ingestors:
            ingestor.ease(seconds)

    async def stop(self, grace_s: float) -> None:
        """Finish batches and sends under way; everything else stays in the database."""
        await ended(self._resuming)
        if self._reminders:
            await self._reminders.stop()
        if self._flow_feed:
            await self._flow_feed.stop()
        await asyncio.gather(*(ingestor.stop() for ingestor in self._ingestors))
        if self._indexer:
            await self._indexer.stop()
        await self.host.stop(grace_s)
        await asyncio.gather(*(watch.stop() for watch in self._watches))
        if self._flows:
            await self._flows.stop()
        if self._elsewhere:
            await self._elsewhere.close()
        if self._dialogue:
            await self._dialogue.close()
        if self._session:
            await self._session.close()
        if self._client:
            await close_client(self._client)
        await asyncio.to_thread(close_tracing)

    async def _react(self, ingested: Ingested) -> None:
        """Tell the actors of accounts and conversations what events have changed for them."""
        message_ids = [message_id for message_id, _ in ingested.settled]
        for account_id in ingested.touched_accounts:
            self._tell(AccountActor.kind, account_id, "settled", message_ids)
        for account_id in ingested.waiting_accounts:
            self._tell(AccountActor.kind, account_id, "resume")
        for contact_id in ingested.flow_contacts:
            self._tell(EXECUTOR, contact_id, "take")
        for conversation_id in ingested.bot_due:
            self._tell(ConversationActor.kind, conversation_id, "handle")

    async def _resume_for_ever(self) -> None:
        """Wake actors of this host that have work nobody is at: at the start, and what a lost call left behind."""
        for turn in count():
            try:
                for kind, key, method in await self._left_behind(everything=turn % _EVERYTHING == 0):
                    if self._owns(kind, key):
                        self._tell(kind, key, method)
            except PyMongoError as error:
                log.warning("host.resume_failed", error=type(error).__name__)
            await asyncio.sleep(_RESUME_S if turn < _RESUMES_AT_FIRST else _RESUME_S * _RESUME_LATER)

    async def _left_behind(self, *, everything: bool) -> list[tuple[str, str, str]]:
        """Return (kind, key, method) of what has work; what is awake already only where `everything` is asked for."""
        if self._outbox is None or self._runs is None or self._bot is None:
            return []
        account, campaign = AccountActor.kind, CampaignActor.kind
        found = [(account, key, "resume") for key in await self._outbox.accounts_with_pending()]
        found += [(account, key, "campaigns_changed") for key in await self._runs.accounts_with_lanes()]
        found += [(campaign, key, "follow") for key in await self._runs.under_way()]
        found += [(ConversationActor.kind, key, "handle") for key in await self._bot.due()]
        found += [(FlowActor.kind, key, "follow") for key in sorted(await self._flows_with_work())]
        found += await self._webhooks_with_work()
        return [each for each in found if everything or not self.host.holds(each[0], each[1])]

    async def _flows_with_work(self) -> set[str]:
        """Return the flows whose actors are at something, and those that were activated and may not know it yet."""
        if self._flows is None or self._flow_work is None:
            return set()
        return {*self._flows.by_themselves(), *await self._flow_work.flows()}

    async def _webhooks_with_work(self) -> list[tuple[str, str, str]]:
        """Return who follows the changes for webhook endpoints, and the endpoints that something is due for."""
        if self._webhooks is None or self._deliveries is None:
            return []
        waiting = await self._deliveries.waiting(self._clock.now())
        return [(WebhookFeed.kind, ALL, "follow"), *((WebhookEndpointActor.kind, key, "handle") for key in waiting)]

    def _owns(self, kind: str, key: str) -> bool:
        return host_of(partition_of(kind, key), self._hosts) == self._index

    def _tell(self, kind: str, key: str, method: str, *args: object) -> None:
        """Send a message to an actor without waiting for its answer, to the host that calls of it are sent to.

        An actor that came to life here, although another host owns it, would take its document away from that one.
        """
        if self._owns(kind, key):
            call = Call(0, kind, key, method, args, None, time.time() + _CALL_S, origin())
            self.host.dispatch(call, _note_failure)
        elif self._elsewhere:
            told = self._elsewhere.call(kind, key, method, args, {}, _CALL_S)
            asyncio.ensure_future(told).add_done_callback(_note_untold)

    def _ask(self, kind: str, key: str, method: str, *args: object) -> Awaitable[object]:
        """Send a message to an actor as `_tell` does, and return what to await for its answer."""
        if self._owns(kind, key) or self._elsewhere is None:
            return LocalActors(self.host).call(kind, key, method, args, {}, _ASK_S)
        return self._elsewhere.call(kind, key, method, args, {}, _ASK_S)


def _note_failure(outcome: Outcome) -> None:
    if outcome.failed:
        log.warning("host.call_failed", error=type(outcome.value).__name__)


def _note_untold(told: asyncio.Future[object]) -> None:
    if not told.cancelled() and (error := told.exception()) is not None:
        log.warning("host.call_failed", error=type(error).__name__)


def _split(lanes: range, parts: int) -> list[range]:
    """Cut a range into contiguous parts of about the same size."""
    edges = [lanes.start + len(lanes) * part // parts for part in range(parts + 1)]
    return [range(low, high) for low, high in pairwise(edges) if high > low]
