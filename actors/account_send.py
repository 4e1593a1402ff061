"""One send: claimed, made, and brought to where X's answer leads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import structlog
from prometheus_client import Counter, Histogram
from pymongo.errors import DuplicateKeyError, PyMongoError

from actors.account_budget import AccountBudget
from actors.account_identity import AccountIdentity, Sender
from actors.attachments import Attachments
from actors.campaign_feed import CampaignFeed
from actors.clients.x_client import XClient
from actors.clients.x_models import SentMessage
from actors.clients.x_transport import XApiError
from actors.send_queue import Queued
from config.origin import Origin, working_for
from config.tracing import span
from domain.clock import Clock
from domain.consent import AUTOMATIC_SOURCES
from domain.contact_policy import ContactPolicy
from domain.errors import LimitExceeded
from domain.message_state import Failure
from domain.outgoing_content import LinkAttachment, content_of, link_to_upload
from domain.send_windows import Claim
from domain.x_errors import FailureKind, XFailure
from storage.client import Document
from storage.outbox import Outbox

log = structlog.get_logger()

SENDS = Counter("mktx_sends_total", "Sends to X, by what the message comes from and outcome", ["kind", "outcome"])
SEND_WAIT = Histogram(
    "mktx_send_wait_seconds",
    "Time from a message's creation to X's answer",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400),
)

#: How long what the database could not take waits until it is tried again.
RETRY_S = 1.0
_TEMPORARY_ATTEMPTS = 5
#: How long an account that X has refused as a whole sends nothing.
_HALT_S = 60.0
_ACCOUNT_FAILURES = frozenset({FailureKind.ACCOUNT, FailureKind.CONFIGURATION, FailureKind.BILLING})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What is told of messages: got where it goes, in doubt, waits for its turn again."""

    finished: Callable[[str, str], None]
    doubted: Callable[[Document], Awaitable[None]]
    waits_again: Callable[[Document, LimitExceeded | None], None]


class AccountSends:
    """Makes the sends of one account."""

    def __init__(
        self,
        account_id: str,
        outbox: Outbox,
        attachments: Attachments,
        clock: Clock,
        epoch: int,
        *,
        budget: AccountBudget,
        identity: AccountIdentity,
        feed: CampaignFeed,
        outcomes: Outcomes,
    ) -> None:
        self._account_id = account_id
        self._outbox = outbox
        self._attachments = attachments
        self._clock = clock
        self._epoch = epoch
        self._budget = budget
        self._identity = identity
        self._feed = feed
        self._finished = outcomes.finished
        self._doubted = outcomes.doubted
        self._waits_again = outcomes.waits_again

    async def send(self, queued: Queued, claim: Claim) -> None:
        """Send a message whose place in the budget is taken.

        Raises:
            StaleActor: when another host has the account; nothing was sent.
            PyMongoError: when the database failed, before X was called or while the outcome was written.
        """
        # Everything that may fail without X being called is done before the message is claimed.
        sender = await self._identity.sender()
        message = await self._claim(queued, claim)
        if message is not None:
            with working_for(Origin.of(message)), span("send", account=self._account_id, source=message["source"]):
                await self._call_x(sender, message, claim)

    async def _claim(self, queued: Queued, claim: Claim) -> Document | None:
        """Write the budget, then take the message: in this order a crash between them costs a place, not a limit."""
        await self._budget.save()
        if queued.source in AUTOMATIC_SOURCES and await self._is_held_back(queued):
            self._budget.returned(claim.at, claim, reached_x=False)
            return None
        message = await self._claimed(queued.message_id, claim.at)
        if message is None:
            self._budget.returned(claim.at, claim, reached_x=False)
            stored = await self._outbox.get(queued.message_id)
            self._finished(queued.message_id, str(stored["status"]) if stored else "gone")
        return message

    async def _claimed(self, message_id: str, now: datetime) -> Document | None:
        try:
            return await self._outbox.claim(message_id, self._epoch, now)
        except PyMongoError:
            # It may have been written all the same. Nobody but this send knows that X was not called under it.
            await written(lambda: self._outbox.take_back(message_id, self._epoch))
            raise

    async def _is_held_back(self, queued: Queued) -> bool:
        """Refuse an automatic message whose contact has opted out, or is not to be reached, since it was queued."""
        outbox, now = self._outbox, self._clock.now()
        policy = ContactPolicy.of((await self._identity.sender()).account)
        contact = await outbox.receiver(queued.message_id)
        reason = contact and policy.refusal(contact, queued.source, now)
        if not reason or not await outbox.refuse(queued.message_id, reason, now):
            return False
        log.info("send.held_back", account=self._account_id, message=queued.message_id, reason=reason)
        SENDS.labels(queued.source, "refused").inc()
        self._finished(queued.message_id, "failed")
        return True

    async def _call_x(self, sender: Sender, message: Document, claim: Claim) -> None:
        if sender.client is None:
            self._budget.returned(self._clock.now(), claim, reached_x=False)
            await self._fail(message, Failure("account_inactive"))
            return
        link = link_to_upload(message, self._clock.now())
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
            await self._doubted(message)
        else:
            await self._confirm(message, sent)
            await self._identity.works(sender, self._clock.now())

    async def _upload(self, client: XClient, message: Document, link: LinkAttachment, claim: Claim) -> None:
        """Give X a message's attachment; the message is one that waits meanwhile, and then waits for its turn."""
        outbox, message_id = self._outbox, message["_id"]
        await written(lambda: outbox.release(message_id))
        outcome = await self._attachments.outcome_of(link, client, message["merchantId"])
        # It may have been another host's for a while: only who has it decides what becomes of it.
        claimed = await self._claim(Queued.of(message), claim)
        if claimed is None:
            return
        if isinstance(outcome, XFailure):
            await self._refused(claimed, claim, XApiError(outcome))
            return
        await written(lambda: outbox.keep_media(message_id, outcome))
        self._budget.returned(self._clock.now(), claim, reached_x=False)
        await self._again(claimed, None)

    async def _confirm(self, message: Document, sent: SentMessage) -> None:
        now = self._clock.now()
        self._budget.reported(sent.headers, now)
        outbox = self._outbox
        try:
            await written(lambda: outbox.confirm(message["_id"], sent.event_id, now, settled_by="answer"))
        except DuplicateKeyError:
            log.exception("send.id_given_twice", account=self._account_id, message=message["_id"])
            await self._doubted(message)
            return
        SENDS.labels(message["source"], "sent").inc()
        SEND_WAIT.observe(max(0.0, (now - message["createdAt"]).total_seconds()))
        self._finished(message["_id"], "sent")

    async def _refused(self, message: Document, claim: Claim, error: XApiError) -> None:
        now = self._clock.now()
        failure = error.failure
        self._budget.reported(error.limits, now)
        if failure.kind is FailureKind.AMBIGUOUS:
            await self._doubted(message)
            return
        self._budget.returned(now, claim, reached_x=failure.kind is not FailureKind.TEMPORARY)
        if failure.kind is FailureKind.RATE_LIMIT:
            until = failure.reset_at or now + timedelta(seconds=failure.retry_after_s or 60)
            self._budget.block(until)
            wait_s = max(1, ceil((until - now).total_seconds()))
            await self._again(message, LimitExceeded("X's limit is used up", retry_after_s=wait_s))
            await self._budget.save()
        elif failure.kind is FailureKind.TEMPORARY and message["attempts"] < _TEMPORARY_ATTEMPTS:
            self._budget.block(now + timedelta(seconds=2 ** message["attempts"]))
            await self._again(message, None)
        else:
            await self._fail(message, Failure.of(failure))
            if failure.kind in _ACCOUNT_FAILURES:
                await self._account_failed(failure, now)

    async def _again(self, message: Document, told: LimitExceeded | None) -> None:
        """X certainly does not have it: let it wait for its turn again."""
        await written(lambda: self._outbox.release(message["_id"]))
        SENDS.labels(message["source"], "again").inc()
        self._waits_again(message, told)

    async def _fail(self, message: Document, failure: Failure) -> None:
        await written(lambda: self._outbox.fail(message["_id"], failure, self._clock.now()))
        SENDS.labels(message["source"], "failed").inc()
        self._finished(message["_id"], "failed")

    async def _account_failed(self, failure: XFailure, now: datetime) -> None:
        log.error("account.failed", account=self._account_id, kind=failure.kind.value, reason=failure.reason)
        await written(lambda: self._identity.refused(failure.reason, now))
        # A person has to act first: what waits is not to be refused one by one meanwhile.
        self._budget.block(now + timedelta(seconds=_HALT_S))
        await self._budget.save()
        await written(self._feed.give_back)


async def written(write: Callable[[], Awaitable[object]]) -> None:
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
            await asyncio.sleep(RETRY_S)
        else:
            return
