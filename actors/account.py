"""The actor of an X account: every message that the account sends goes through it, one budget, one order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from pymongo.errors import DuplicateKeyError, PyMongoError

from actors.attachments import Attachments
from actors.campaign_feed import CampaignFeed, FeedServices
from actors.campaign_pace import campaign_free_at
from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from actors.clients.x_models import SentMessage
from actors.clients.x_transport import XApiError
from actors.doubts import Doubts, Sender
from actors.runtime.actor import Actor
from actors.runtime.errors import Fenced
from actors.send_queue import Queued, SendQueue
from config.settings import Settings
from domain.clock import Alarm, Waker
from domain.consent import AUTOMATIC_SOURCES
from domain.contact_policy import ContactPolicy
from domain.errors import LimitExceeded, NotFound, Unavailable
from domain.message_state import Failure
from domain.outgoing_content import LinkAttachment, content_of, link_to_upload
from domain.send_windows import Claim, Limits, SendWindows
from domain.x_errors import FailureKind, XFailure
from storage.accounts import Accounts, Tokens
from storage.actor_states import ActorStates, StaleActor
from storage.client import Document
from storage.encryption import CannotOpen
from storage.messages import PRIORITY_CAMPAIGN
from storage.outbox import Outbox

log = structlog.get_logger()

SENDS = Counter("mktx_sends_total", "Sends to X, by outcome", ["outcome"])
SEND_WAIT = Histogram("mktx_send_wait_seconds", "Time from a message's creation to X's answer")

_SENDS_UNDER_WAY = 4
_TEMPORARY_ATTEMPTS = 5
_RETRY_S = 1.0
_SHORTEST_SLEEP = timedelta(milliseconds=10)
#: How long an account that X has refused as a whole sends nothing.
_HALT_S = 60.0
_ACCOUNT_FAILURES = frozenset({FailureKind.ACCOUNT, FailureKind.CONFIGURATION, FailureKind.BILLING})


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
        self._version: int | None = None
        self._limits = Limits.of(services.settings)
        self._windows = SendWindows(self._limits)
        self._queue = SendQueue()
        self._feed = CampaignFeed(key, services.feed)
        self._feeding = False
        self._doubts = Doubts(
            key,
            services.outbox,
            services.clock,
            services.settings.x_settle_timeout_s,
            sender=self._known_sender,
            finished=self._finish,
        )
        self._waiters: dict[str, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: dict[str, str] = {}  # conversation by message
        self._stranded: set[str] = set()
        self._sender: Sender | None = None
        self._saving = asyncio.Lock()
        self._changes = 0
        self._saved = 0
        self._fenced = False
        self._stopping = False
        self._wake: Alarm | None = None

    # --- life

    async def on_activate(self) -> None:
        """Take over the account's document and everything that was under way."""
        with _database_needed():
            try:
                self._version, state = await self._services.states.claim(self.key, self._services.epoch)
            except StaleActor:
                raise Fenced("Another host has this account", retry_after_s=1) from None
            if state:
                self._windows = SendWindows.from_document(state, self._limits)
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
        self._sender = None
        self._pump()

    async def campaigns_changed(self) -> None:
        """Take note that the account may take recipients of other campaigns than before."""
        self._check_fence()
        with _database_needed():
            await self._feed.refresh()
        self._pump()

    async def limits(self) -> list[dict[str, Any]]:
        """Return every window: name, limit, used, resets_at."""
        return [asdict(window) for window in self._windows.describe(self._services.clock.now())]

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
        free = self._free_at(now, message["priority"])
        if free > now:
            wait = max(1, int((free - now).total_seconds()) + 1)
            raise LimitExceeded("The account's sending limit is used up", retry_after_s=wait)

    def _free_at(self, now: datetime, priority: int) -> datetime:
        if priority < PRIORITY_CAMPAIGN:
            return self._windows.next_free_at(now, priority)
        return campaign_free_at(self._windows, now, self._services.settings.x_reserve_for_people)

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
            free = self._free_at(now, message.priority)
            if free > now:
                self._wake_at(free, now)
                return
            self._queue.take()
            self._sending[message.message_id] = message.conversation_id
            self._background(self._send(message, self._windows.claimed(now, message.priority)))

    def _look_at_campaigns(self) -> None:
        """Take recipients of campaigns, now or when there is room: nothing more urgent can be sent at the moment."""
        due = self._feed.due_at()
        # An account that X refuses as a whole waits for a person; its recipients are not used up meanwhile.
        if due is None or self._feeding or (self._sender is not None and self._sender.status == "error"):
            return
        now = self._services.clock.now()
        due = max(due, self._free_at(now, PRIORITY_CAMPAIGN))
        if due > now:
            self._wake_at(due, now)
            return
        self._feeding = True
        self._background(self._take_from_campaigns())

    async def _take_from_campaigns(self) -> None:
        try:
            sender = await self._known_sender()
            taken = [] if sender.status == "error" else await self._feed.take(sender.account)
        except PyMongoError as error:
            log.warning("campaigns.database", account=self.key, error=type(error).__name__)
            await asyncio.sleep(_RETRY_S)
            taken = []
        finally:
            self._feeding = False
        await self._take_up(taken)

    def _wake_at(self, moment: datetime, now: datetime) -> None:
        if self._wake:
            self._wake.cancel()
        self._wake = self._services.clock.call_at(max(moment, now + _SHORTEST_SLEEP), self._pump)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
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
                # Everything that may fail without X being called is done before the message is claimed.
                sender = await self._known_sender()
                message = await self._claim(queued, claim)
                if message is not None:
                    await self._call_x(sender, message, claim)
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

    async def _claim(self, queued: Queued, claim: Claim) -> Document | None:
        """Write the budget, then take the message: in this order a crash between them costs a place, not a limit."""
        await self._save()
        if queued.source in AUTOMATIC_SOURCES and await self._is_held_back(queued):
            self._windows.returned(claim.at, claim, reached_x=False)
            return None
        message = await self._services.outbox.claim(queued.message_id, self._services.epoch, claim.at)
        if message is None:
            self._windows.returned(claim.at, claim, reached_x=False)
            stored = await self._services.outbox.get(queued.message_id)
            self._finish(queued.message_id, str(stored["status"]) if stored else "gone")
        return message

    async def _is_held_back(self, queued: Queued) -> bool:
        """Refuse an automatic message whose contact has opted out, or is not to be reached, since it was queued."""
        outbox, now = self._services.outbox, self._services.clock.now()
        policy = ContactPolicy.of((await self._known_sender()).account)
        contact = await outbox.receiver(queued.message_id)
        reason = contact and policy.refusal(contact, queued.source, now)
        if not reason or not await outbox.refuse(queued.message_id, reason, now):
            return False
        log.info("send.held_back", account=self.key, message=queued.message_id, reason=reason)
        SENDS.labels("refused").inc()
        self._finish(queued.message_id, "failed")
        return True

    async def _call_x(self, sender: Sender, message: Document, claim: Claim) -> None:
        if sender.client is None:
            self._windows.returned(self._services.clock.now(), claim, reached_x=False)
            await self._fail(message, Failure("account_inactive"))
            return
        link = link_to_upload(message, self._services.clock.now())
        if link is not None:
            await self._upload(sender.client, message, link, claim)
            return
        try:
            sent = await sender.client.send_message(message["twitterUserId"], content_of(message))
        except XApiError as error:
            await self._refused(message, claim, error)
        except Exception as error:
            # Whatever broke here broke after the claim: whether X has the message is not known.
            log.exception("send.broke", error=type(error).__name__)
            await self._into_doubt(message)
        else:
            await self._confirm(message, sent)
            await self._account_works(sender, self._services.clock.now())

    async def _upload(self, client: XClient, message: Document, link: LinkAttachment, claim: Claim) -> None:
        """Give X a message's attachment; the message is one that waits meanwhile, and then waits for its turn."""
        outbox, message_id = self._services.outbox, message["_id"]
        await _written(lambda: outbox.release(message_id))
        outcome = await self._services.attachments.outcome_of(link, client, message["merchantId"])
        # It may have been another host's for a while: only who has it decides what becomes of it.
        claimed = await self._claim(Queued.of(message), claim)
        if claimed is None:
            return
        if isinstance(outcome, XFailure):
            await self._refused(claimed, claim, XApiError(outcome))
            return
        await _written(lambda: outbox.keep_media(message_id, outcome))
        self._windows.returned(self._services.clock.now(), claim, reached_x=False)
        await self._again(claimed, None)

    async def _confirm(self, message: Document, sent: SentMessage) -> None:
        now = self._services.clock.now()
        self._windows.reported(sent.headers, now)
        self._changes += 1
        outbox = self._services.outbox
        try:
            await _written(lambda: outbox.confirm(message["_id"], sent.event_id, now, settled_by="answer"))
        except DuplicateKeyError:
            log.exception("send.id_given_twice", account=self.key, message=message["_id"])
            await self._into_doubt(message)
            return
        SENDS.labels("sent").inc()
        SEND_WAIT.observe(max(0.0, (now - message["createdAt"]).total_seconds()))
        self._finish(message["_id"], "sent")

    async def _refused(self, message: Document, claim: Claim, error: XApiError) -> None:
        now = self._services.clock.now()
        failure = error.failure
        self._windows.reported(error.limits, now)
        if failure.kind is FailureKind.AMBIGUOUS:
            await self._into_doubt(message)
            return
        self._windows.returned(now, claim, reached_x=failure.kind is not FailureKind.TEMPORARY)
        if failure.kind is FailureKind.RATE_LIMIT:
            until = failure.reset_at or now + timedelta(seconds=failure.retry_after_s or 60)
            self._windows.block(until)
            wait_s = max(1, ceil((until - now).total_seconds()))
            await self._again(message, LimitExceeded("X's limit is used up", retry_after_s=wait_s))
            await self._save()
        elif failure.kind is FailureKind.TEMPORARY and message["attempts"] < _TEMPORARY_ATTEMPTS:
            self._windows.block(now + timedelta(seconds=2 ** message["attempts"]))
            await self._again(message, None)
        else:
            await self._fail(message, Failure.of(failure))
            if failure.kind in _ACCOUNT_FAILURES:
                await self._account_failed(failure, now)

    async def _again(self, message: Document, told: LimitExceeded | None) -> None:
        """X certainly does not have it: let it wait for its turn again."""
        await _written(lambda: self._services.outbox.release(message["_id"]))
        if told is not None and (waiter := self._waiters.pop(message["_id"], None)) and not waiter.done():
            waiter.set_exception(told)
        SENDS.labels("again").inc()
        self._queue.add(Queued.of(message))

    async def _fail(self, message: Document, failure: Failure) -> None:
        await _written(lambda: self._services.outbox.fail(message["_id"], failure, self._services.clock.now()))
        SENDS.labels("failed").inc()
        self._finish(message["_id"], "failed")

    async def _account_failed(self, failure: XFailure, now: datetime) -> None:
        sender = await self._known_sender()
        log.error("account.failed", account=self.key, kind=failure.kind.value, reason=failure.reason)
        accounts = self._services.accounts
        await _written(lambda: accounts.set_status(sender.merchant_id, self.key, "error", failure.reason, now))
        self._sender = None
        # A person has to act first: what waits is not to be refused one by one meanwhile.
        self._windows.block(now + timedelta(seconds=_HALT_S))
        await self._save()
        await _written(self._feed.give_back)

    async def _account_works(self, sender: Sender, now: datetime) -> None:
        """Take back the error of an account that X lets send again."""
        if sender.status == "error":
            log.info("account.works_again", account=self.key)
            await self._services.accounts.set_status(sender.merchant_id, self.key, "active", None, now)
            self._sender = None

    def _put_back(self, queued: Queued) -> None:
        """The database failed before X was called, or while the outcome was written: read it again when it is back.

        Until then the conversation is held, so that nothing overtakes the message.
        """
        self._stranded.add(queued.conversation_id)
        if len(self._stranded) == 1:
            self._background(self._recover())

    async def _recover(self) -> None:
        while not self._fenced:
            await asyncio.sleep(_RETRY_S)
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
        SENDS.labels("unknown").inc()
        self._queue.hold(message["conversationId"])
        self._doubts.add(message)
        await self._services.outbox.doubt([message["_id"]])

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

    async def _known_sender(self) -> Sender:
        if self._sender is None:
            account = await self._services.outbox.sender(self.key)
            client = None
            if account is not None and account["connected"]:
                tokens = await self._tokens(account["merchantId"])
                if tokens is not None:
                    client = self._services.x.client_for(tokens.oauth_token, tokens.oauth_token_secret)
            merchant_id = account["merchantId"] if account else ""
            status = account["status"] if account else "inactive"
            user_id = account["twitterUserId"] if account else ""
            self._sender = Sender(merchant_id, user_id, status, client, account or {})
        return self._sender

    async def _tokens(self, merchant_id: str) -> Tokens | None:
        try:
            return await self._services.accounts.tokens(merchant_id, self.key)
        except CannotOpen:
            log.exception("account.tokens_unreadable", account=self.key)
            return None

    async def _save(self) -> None:
        """Write the budget; callers of the same moment share one write."""
        self._changes += 1
        wanted = self._changes
        async with self._saving:
            if self._saved >= wanted:
                return
            covered = self._changes
            states, epoch = self._services.states, self._services.epoch
            version, self._version = self._version, None
            if version is None:
                # Whether the last save was written is not known.
                version, _ = await states.claim(self.key, epoch)
            self._version = await states.save(self.key, epoch, version, self._windows.to_document())
            self._saved = covered

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


async def _written(write: Callable[[], Awaitable[object]]) -> None:
    """Write what X has answered, however long it takes: it is known nowhere else, and nothing can be done without.

    Raises:
        DuplicateKeyError: at once; it would be the same again.
    """
    while True:
        try:
            await write()
        except DuplicateKeyError:
            raise
        except PyMongoError as error:
            log.warning("send.outcome_waits", error=type(error).__name__)
            await asyncio.sleep(_RETRY_S)
        else:
            return
