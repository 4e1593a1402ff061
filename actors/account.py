"""The actor of an X account: every message that the account sends goes through it, one budget, one order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import Context
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from actors.account_budget import AccountBudget
from actors.account_identity import AccountIdentity
from actors.account_send import RETRY_S, SENDS, AccountSends, Outcomes
from actors.attachments import Attachments
from actors.campaign_feed import CampaignFeed, FeedServices
from actors.clients.x_app import XApp
from actors.doubts import Doubts
from actors.runtime.actor import Actor
from actors.runtime.errors import Fenced
from actors.send_queue import Queued, SendQueue
from config.settings import Settings
from domain.clock import Alarm, Waker
from domain.errors import LimitExceeded, NotFound, Unavailable
from domain.queued_message import PRIORITY_CAMPAIGN
from domain.send_windows import Claim, WindowState
from storage.accounts import Accounts
from storage.actor_states import ActorStates, StaleActor
from storage.client import Document
from storage.outbox import Outbox

log = structlog.get_logger()

_SENDS_UNDER_WAY = 4
_SHORTEST_SLEEP = timedelta(milliseconds=10)


@dataclass(frozen=True, slots=True)
class AccountServices:
    """What the actors of accounts work with."""

    settings: Settings
    states: ActorStates
    outbox: Outbox
    accounts: Accounts
    x: XApp
    attachments: Attachments
    feed: FeedServices
    clock: Waker
    epoch: int


class AccountActor(Actor):
    """Owns the account's budget and the state of each of its sends.

    The budget is written before a call is made, conditional on version and epoch; a message is claimed before its call
    and confirmed after it. Whatever happens in between leaves a message `sending` or `unknown`, and those are settled
    by evidence, never sent again.
    """

    kind = "account"

    def __init__(self, key: str, services: AccountServices) -> None:
        super().__init__(key)
        self._services = services
        self._budget = AccountBudget(key, services.settings, services.states, services.epoch, services.clock)
        self._identity = AccountIdentity(key, services.outbox, services.accounts, services.x)
        self._queue = SendQueue()
        self._feed = CampaignFeed(key, services.feed)
        self._feeding = False
        self._doubts = Doubts(
            key,
            services.outbox,
            services.clock,
            services.settings.x_settle_timeout_s,
            sender=self._identity.sender,
            finished=self._finish,
        )
        self._waiters: dict[str, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: dict[str, str] = {}  # conversation by message
        self._stranded: set[str] = set()
        self._sends = AccountSends(
            key,
            services.outbox,
            services.attachments,
            services.clock,
            services.epoch,
            budget=self._budget,
            identity=self._identity,
            feed=self._feed,
            outcomes=Outcomes(self._finish, self._into_doubt, self._waits_again),
        )
        self._fenced = False
        self._stopping = False
        self._wake: Alarm | None = None

    # --- life

    async def on_activate(self) -> None:
        """Take over the account's document and everything that was under way."""
        with _database_needed():
            try:
                await self._budget.take_over()
            except StaleActor:
                raise Fenced("Another host has this account", retry_after_s=1) from None
            await self._feed.refresh()
            await self._take_up(await self._pending())

    def on_deactivate(self) -> None:
        """Let go of timers and of whoever still waits."""
        if self._wake:
            self._wake.cancel()
        self._doubts.close()
        for future in self._waiters.values():
            if not future.done():
                future.set_exception(Fenced("The account's actor has moved", retry_after_s=1))

    def busy(self) -> bool:
        """Stay in memory while anything is under way."""
        return bool(self._tasks or len(self._queue) or len(self._doubts) or len(self._feed))

    async def drain(self) -> None:
        """Start no more sends, and wait for X's answers to those under way."""
        self._stopping = True
        while self._sending:
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    # --- messages

    async def deliver(self, message_id: str) -> asyncio.Future[str] | str:
        """Send a queued message; answers its status once X has taken or refused it.

        Raises:
            NotFound: when there is no such message of this account.
            LimitExceeded: when the account may not send now; the message stays queued.
            Unavailable: when the database is not to be reached.
        """
        self._check_fence()
        if self._is_under_way(message_id):
            return self._waiter(message_id)
        with _database_needed():
            message = await self._services.outbox.get(message_id)
            if message is None or message["accountId"] != self.key:
                raise NotFound("There is no such message")
            if not message.get("pending"):
                return str(message["status"])
            if message["status"] == "queued" and not self._is_under_way(message_id):
                self._refuse_over_limit(message)
            waiter = self._waiter(message_id)
            await self._take_up([message])
            return waiter

    async def resume(self) -> None:
        """Take up whatever of this account is pending in the database and not known here."""
        self._check_fence()
        with _database_needed():
            await self._take_up(await self._pending())

    async def settled(self, message_ids: Sequence[str]) -> None:
        """Take note that an echo has confirmed these messages."""
        self._doubts.settled_by_echo(message_ids)

    async def reload(self) -> None:
        """Forget the account's tokens and state: they have changed."""
        self._identity.forget()
        self._pump()

    async def campaigns_changed(self) -> None:
        """Take note that the account may take recipients of other campaigns than before."""
        self._check_fence()
        with _database_needed():
            await self._feed.refresh()
        self._pump()

    async def limits(self) -> list[dict[str, Any]]:
        """Return every window: name, limit, used, resets_at."""
        return [asdict(window) for window in self.windows()]

    def windows(self) -> list[WindowState]:
        """Return every window as it stands, to who is in the same process."""
        return self._budget.describe()

    # --- the queue

    def _is_under_way(self, message_id: str) -> bool:
        return message_id in self._sending or message_id in self._doubts

    def _waiter(self, message_id: str) -> asyncio.Future[str]:
        waiter = self._waiters.get(message_id)
        if waiter is None:
            waiter = self._waiters[message_id] = asyncio.get_running_loop().create_future()
        return waiter

    async def _pending(self) -> list[Document]:
        """Return what is pending, without what was known when it was read: that has moved on since."""
        known = {*self._queue.message_ids(), *self._sending, *self._doubts.message_ids()}
        return [m for m in await self._services.outbox.pending(self.key) if m["_id"] not in known]

    def _refuse_over_limit(self, message: Document) -> None:
        now = self._services.clock.now()
        free = self._budget.free_at(now, message["priority"])
        if free > now:
            wait = max(1, int((free - now).total_seconds()) + 1)
            raise LimitExceeded("The account's sending limit is used up", retry_after_s=wait)

    async def _take_up(self, messages: list[Document]) -> None:
        lost = [
            message for message in messages if message["status"] == "sending" and not self._is_under_way(message["_id"])
        ]
        if lost:
            await self._services.outbox.doubt([message["_id"] for message in lost])
        for message in messages:
            message_id = message["_id"]
            if self._is_under_way(message_id):
                continue
            if message["status"] == "queued":
                self._queue.add(Queued.of(message))
            else:
                self._queue.hold(message["conversationId"])
                self._doubts.add(message)
        self._pump()

    def _pump(self) -> None:
        """Start as many sends as the budget and their order allow."""
        while not self._fenced and not self._stopping and len(self._sending) < _SENDS_UNDER_WAY:
            message = self._queue.peek()
            if message is None:
                self._look_at_campaigns()
                return
            now = self._services.clock.now()
            free = self._budget.free_at(now, message.priority)
            if free > now:
                self._wake_at(free, now)
                return
            self._queue.take()
            self._sending[message.message_id] = message.conversation_id
            self._background(self._send(message, self._budget.claimed(now, message.priority)))

    def _look_at_campaigns(self) -> None:
        """Take recipients of campaigns, now or when there is room: nothing more urgent can be sent at the moment."""
        due = self._feed.due_at()
        # An account that X refuses as a whole waits for a person; its recipients are not used up meanwhile.
        if due is None or self._feeding or self._identity.is_refused:
            return
        now = self._services.clock.now()
        due = max(due, self._budget.free_at(now, PRIORITY_CAMPAIGN))
        if due > now:
            self._wake_at(due, now)
            return
        self._feeding = True
        self._background(self._take_from_campaigns())

    async def _take_from_campaigns(self) -> None:
        try:
            sender = await self._identity.sender()
            taken = [] if self._identity.is_refused else await self._feed.take(sender.account)
        except PyMongoError as error:
            log.warning("campaigns.database", account=self.key, error=type(error).__name__)
            await asyncio.sleep(RETRY_S)
            taken = []
        finally:
            self._feeding = False
        await self._take_up(taken)

    def _wake_at(self, moment: datetime, now: datetime) -> None:
        if self._wake:
            self._wake.cancel()
        self._wake = self._services.clock.call_at(max(moment, now + _SHORTEST_SLEEP), self._pump)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        # In a context of its own: what an account does is seldom for whoever has woken it.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("account.task_failed", account=self.key, exc_info=error)

    # --- one send

    async def _send(self, queued: Queued, claim: Claim) -> None:
        try:
            # A message of a campaign waits for its turn in this host before it is claimed: until then it can be taken
            # back, and people's messages find X's connections free.
            async with self._services.feed.slots if queued.priority >= PRIORITY_CAMPAIGN else nullcontext():
                await self._sends.send(queued, claim)
        except StaleActor:
            self._lose()
        except PyMongoError as error:
            log.warning("send.database", error=type(error).__name__)
            self._put_back(queued)
        finally:
            del self._sending[queued.message_id]
            self._let_go_on(queued.conversation_id)
            self._pump()

    def _let_go_on(self, conversation_id: str) -> None:
        """Release a conversation, unless another of its messages is still on its way."""
        in_doubt = self._doubts.concern(conversation_id)
        if not in_doubt and conversation_id not in self._stranded and conversation_id not in self._sending.values():
            self._queue.release(conversation_id)

    def _put_back(self, queued: Queued) -> None:
        """The database failed before X was called, or while the outcome was written: read it again when it is back.

        Until then the conversation is held, so that nothing overtakes the message.
        """
        self._stranded.add(queued.conversation_id)
        if len(self._stranded) == 1:
            self._background(self._recover())

    async def _recover(self) -> None:
        while not self._fenced:
            await asyncio.sleep(RETRY_S)
            stranded = set(self._stranded)
            try:
                await self._take_up(await self._pending())
            except PyMongoError as error:
                log.warning("account.recovery_waits", error=type(error).__name__)
                continue
            self._stranded -= stranded
            for conversation_id in stranded:
                self._let_go_on(conversation_id)
            self._pump()
            if not self._stranded:
                return

    async def _into_doubt(self, message: Document) -> None:
        SENDS.labels(message["source"], "unknown").inc()
        self._queue.hold(message["conversationId"])
        self._doubts.add(message)
        await self._services.outbox.doubt([message["_id"]])

    def _waits_again(self, message: Document, told: LimitExceeded | None) -> None:
        """Let a message wait for its turn again; who waits for it is told why, where it may take long."""
        if told is not None and (waiter := self._waiters.pop(message["_id"], None)) and not waiter.done():
            waiter.set_exception(told)
        self._queue.add(Queued.of(message))

    # --- bookkeeping

    def _finish(self, message_id: str, status: str) -> None:
        """A message has got where it goes: tell who waits, and let its conversation go on."""
        unsettled = self._doubts.remove(message_id)
        waiter = self._waiters.pop(message_id, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(status)
        if unsettled is not None:
            self._let_go_on(unsettled.conversation_id)
            self._pump()

    def _check_fence(self) -> None:
        if self._fenced:
            raise Fenced("Another host has this account", retry_after_s=1)

    def _lose(self) -> None:
        log.warning("account.fenced", account=self.key, epoch=self._services.epoch)
        self._fenced = True
        self.on_deactivate()


@contextmanager
def _database_needed() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise Unavailable("The database is not to be reached", retry_after_s=2) from error
