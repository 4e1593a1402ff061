"""The actor of a webhook endpoint: sends it what it is to be told, some at a time, until each is over.

All that must survive is in the deliveries: an actor that dies leaves what it was sending pending and due, and its
successor sends it again under the same id. It keeps nothing that would have to be fenced.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.runtime.actor import Actor
from actors.webhook_call import Letter, Tried, WebhookCalls
from actors.webhook_events import TEST, WebhookEvents
from domain.clock import Clock
from domain.errors import Unavailable
from domain.reminder import Reminder
from domain.webhook_attempts import Verdict, asked_pause, is_hopeless, next_attempt
from storage.client import Database
from storage.encryption import CannotOpen
from storage.reminders import Reminders
from storage.webhook_deliveries import DeliveryDocument, Outcome, WebhookDeliveries
from storage.webhook_endpoints import DisabledBy, EndpointDocument, WebhookEndpoints

log = structlog.get_logger()

OUTCOMES = Counter("mktx_outgoing_webhooks_total", "What became of deliveries and of tries", ["outcome"])

_DUE = "due"
#: Deliveries that are read at once.
_PAGE = 50
#: An endpoint that fails with more than so many waiting is disabled; looked at once a minute at most.
_MOST_PENDING = 100_000
_COUNT_EVERY_S = 60.0
_RETRY_S = 2.0
#: Why a delivery is over that was not delivered.
ENDPOINT_DISABLED = "endpoint_disabled"
GONE = "gone"
ATTEMPTS_USED_UP = "attempts_used_up"


@dataclass(frozen=True, slots=True)
class WebhookEndpointServices:
    """What the actors of endpoints work with."""

    database: Database
    endpoints: WebhookEndpoints
    deliveries: WebhookDeliveries
    reminders: Reminders
    events: WebhookEvents
    calls: WebhookCalls
    clock: Clock
    at_once: int


class WebhookEndpointActor(Actor):
    """Sends deliveries to one endpoint; its key is the endpoint's id."""

    kind = "webhook_endpoint"

    def __init__(self, key: str, services: WebhookEndpointServices) -> None:
        super().__init__(key)
        self._services = services
        self._task: asyncio.Task[None] | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._queue: deque[DeliveryDocument] = deque()
        self._woken = asyncio.Event()
        self._quiet_until: datetime | None = None
        self._counted_at = 0.0
        self._is_broken = False
        self._is_off = False
        self._is_over = False

    # --- life

    def busy(self) -> bool:
        """Stay in memory while there is something to send, and not to forget that nothing is to be sent for a while."""
        is_quiet = self._quiet_until is not None and self._services.clock.now() < self._quiet_until
        return is_quiet or bool(self._sending) or (self._task is not None and not self._task.done())

    def on_deactivate(self) -> None:
        """Send nothing more; what is pending stays so."""
        self._is_over = True
        for task in (self._task, *self._sending.values()):
            if task is not None:
                task.cancel()

    async def drain(self) -> None:
        """Begin nothing, and wait for the answers to what is under way."""
        self._is_over = True
        self._woken.set()
        while self._sending:
            await asyncio.wait(set(self._sending.values()), return_when=asyncio.FIRST_COMPLETED)

    async def handle(self) -> None:
        """Send what there is to send."""
        self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def changed(self) -> None:
        """Take note that the endpoint is not as it was.

        Raises:
            Unavailable: when the database is not to be reached; what is pending is ended when it is due then.
        """
        try:
            self._is_off = not await self._active()
        except PyMongoError as error:
            raise Unavailable("The endpoint can't be read", retry_after_s=2) from error
        await self.handle()

    async def on_reminder(self, name: str, _payload: Mapping[str, object]) -> None:
        """The time of another try has come."""
        if name == _DUE:
            await self.handle()

    # --- what is due

    async def _work(self) -> None:
        # The driver may take a cancellation for a broken connection.
        while not self._is_over:
            if self._is_broken:
                # Trying again at once would send again what could not be noted as sent.
                self._is_broken = False
                self._queue.clear()
                await asyncio.sleep(_RETRY_S)
            self._woken.clear()
            try:
                await self._fill()
            except PyMongoError as error:
                log.warning("outgoing_webhook.waits", endpoint=self.key, error=type(error).__name__)
                self._is_broken = True
                continue
            if self._sending or self._woken.is_set():
                await self._woken.wait()
            else:
                return

    async def _fill(self) -> None:
        """Begin to send as much as may be under way, or have this actor woken when there is more to send."""
        services, now = self._services, self._services.clock.now()
        if self._is_off:
            await self._end_all(now)
            return
        if self._quiet_until is not None and now < self._quiet_until:
            await self._remind(self._quiet_until)
            return
        self._quiet_until = None
        room = services.at_once - len(self._sending)
        if room and not self._queue:
            self._queue.extend(await services.deliveries.due(self.key, now, _PAGE, self._sending.keys()))
        while self._queue and len(self._sending) < services.at_once and not self._is_over:
            delivery = self._queue.popleft()
            task = asyncio.create_task(self._send(delivery))
            self._sending[delivery["_id"]] = task
        if not self._sending:
            due_at = await services.deliveries.next_due(self.key)
            if due_at is not None:
                await self._remind(due_at)

    async def _remind(self, due_at: datetime) -> None:
        await self._services.reminders.set(Reminder(self.kind, self.key, _DUE, due_at))

    # --- one delivery

    async def _send(self, delivery: DeliveryDocument) -> None:
        try:
            await self._try(delivery)
        except PyMongoError as error:
            log.warning("outgoing_webhook.waits", endpoint=self.key, error=type(error).__name__)
            self._is_broken = True
        except Exception as error:
            # One delivery that can't be sent must not end those beside it; it is due again soon.
            log.exception("outgoing_webhook.broke", endpoint=self.key, error=type(error).__name__)
            self._is_broken = True
        finally:
            self._sending.pop(delivery["_id"], None)
            self._woken.set()

    async def _try(self, delivery: DeliveryDocument) -> None:
        services, now = self._services, self._services.clock.now()
        endpoint = await self._active()
        if endpoint is None:
            self._is_off = True
            return
        body = await self._body(delivery)
        if body is None:
            await self._note(Outcome(delivery["_id"], "skipped", now, reason=GONE), "skipped")
            return
        try:
            secrets = services.endpoints.secrets_of(endpoint, now)
        except CannotOpen:
            log.exception("outgoing_webhook.sealed_with_unknown_key", endpoint=self.key)
            await self._again(endpoint, delivery, now)
            return
        letter = Letter(delivery["eventId"], body, tuple(secrets))
        tried = await services.calls.make(endpoint["url"], letter, now)
        await self._judge(endpoint, delivery, tried)

    async def _active(self) -> EndpointDocument | None:
        endpoint = await self._services.endpoints.of_actor(self.key)
        return endpoint if endpoint is not None and endpoint["status"] == "active" else None

    async def _body(self, delivery: DeliveryDocument) -> bytes | None:
        """Return what is sent: what there is to be told is as it is now, and nothing where it is gone."""
        subject = delivery["subject"]
        if subject is None:
            data: bytes | None = b'{"endpointId":"%b"}' % self.key.encode() if delivery["type"] == TEST else b"{}"
        else:
            data = await self._services.events.data(self._services.database, delivery["merchantId"], subject)
        if data is None:
            return None
        at = delivery["happenedAt"].replace(tzinfo=None).isoformat(timespec="milliseconds").encode()
        return b'{"type":"%b","timestamp":"%bZ","data":%b}' % (delivery["type"].encode(), at, data)

    async def _judge(self, endpoint: EndpointDocument, delivery: DeliveryDocument, tried: Tried) -> None:
        """Write what a try has come to."""
        services, now = self._services, self._services.clock.now()
        if tried.verdict is Verdict.DELIVERED:
            await self._note(Outcome(delivery["_id"], "delivered", now, attempt=tried.attempt), "delivered")
            if endpoint["failingSince"] is not None:
                await services.endpoints.note_working(self.key)
        elif tried.verdict is Verdict.GONE:
            gone = Outcome(delivery["_id"], "failed", now, reason=GONE, attempt=tried.attempt)
            await self._note(gone, "endpoint_gone")
            await self._disable("gone", now)
        else:
            await self._again(endpoint, delivery, now, tried)

    async def _again(
        self, endpoint: EndpointDocument, delivery: DeliveryDocument, now: datetime, tried: Tried | None = None
    ) -> None:
        """Have a delivery tried again later, if it may be, and the endpoint disabled where that is hopeless."""
        services = self._services
        attempt = None if tried is None else tried.attempt
        asked = timedelta() if tried is None else asked_pause(tried.attempt["status"], tried.retry_after_s)
        if asked:
            self._quiet_until = max(self._quiet_until or now, now + asked)
            self._queue.clear()
        # What could not even be sent is no try: its pause stays the first one.
        failures = delivery["tries"] + 1
        due_at = next_attempt(failures, now, random.random(), asked)  # noqa: S311  # spreads load, guards nothing
        if due_at is None:
            used_up = Outcome(delivery["_id"], "failed", now, reason=ATTEMPTS_USED_UP, attempt=attempt)
            await self._note(used_up, "used_up")
        else:
            await self._note(Outcome(delivery["_id"], "pending", now, due_at=due_at, attempt=attempt), "again")
        if endpoint["failingSince"] is None:
            await services.endpoints.note_failing(self.key, now)
        elif is_hopeless(endpoint["failingSince"], now):
            await self._disable("failing", now)
        if await self._too_much_waits():
            await self._disable("backlog", now)

    async def _too_much_waits(self) -> bool:
        if time.monotonic() - self._counted_at < _COUNT_EVERY_S:
            return False
        self._counted_at = time.monotonic()
        return await self._services.deliveries.pending(_MOST_PENDING, self.key) >= _MOST_PENDING

    async def _disable(self, reason: DisabledBy, now: datetime) -> None:
        if await self._services.endpoints.disable(self.key, reason, now):
            log.warning("outgoing_webhook.disabled", endpoint=self.key, reason=reason)
            OUTCOMES.labels("endpoint_disabled").inc()
        self._is_off = True

    async def _end_all(self, now: datetime) -> None:
        """End what is pending: an endpoint that is not active is told nothing, now or later.

        What is under way comes to its own end first.
        """
        self._queue.clear()
        if not self._sending:
            ended = await self._services.deliveries.end_pending(self.key, ENDPOINT_DISABLED, now)
            OUTCOMES.labels("not_sent").inc(ended)
            self._is_off = False

    async def _note(self, outcome: Outcome, counted_as: str) -> None:
        await self._services.deliveries.note(outcome)
        OUTCOMES.labels(counted_as).inc()
