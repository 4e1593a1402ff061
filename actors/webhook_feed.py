"""Turns what changes into deliveries to the endpoints that want to hear of it.

Why it is done here is told in docs/decisions/0012-outgoing-webhooks.md. One actor for all merchants follows MongoDB's
change stream. Where it stands is written after the deliveries are, and deliveries have ids made of their event:
whatever dies, what is done again is the same, and nothing is left out. While nobody has an endpoint, or nobody wants a
kind of event, its changes are not even asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from pymongo.errors import PyMongoError

from actors.campaign_run import Tell
from actors.runtime.actor import Actor
from actors.runtime.errors import Fenced
from actors.webhook_endpoint import OUTCOMES, WebhookEndpointActor
from actors.webhook_events import RESET, Happened, WebhookEvents
from domain.clock import Clock
from domain.errors import Unavailable
from storage.actor_states import ActorStates, StaleActor
from storage.change_position import Position
from storage.change_reader import Broken, ChangeReader, Read
from storage.changes import Change, Changes, HistoryLost, Watched
from storage.client import Database
from storage.webhook_deliveries import (
    DeliveryDocument,
    WebhookDeliveries,
    endpoints_of,
    event_id_of,
    moment_of,
    new_delivery,
)
from storage.webhook_endpoints import COLLECTION as ENDPOINTS
from storage.webhook_endpoints import EndpointDocument, WebhookEndpoints

log = structlog.get_logger()

# Where nobody looks, nothing is said: a number that stands still would look like peace.
PENDING = Gauge("mktx_outgoing_webhooks_pending", "Deliveries that are not over yet", multiprocess_mode="livemax")
# A process that lives goes on saying its last number, whether or not it follows: this tells how old that is.
MEASURED = Gauge(
    "mktx_outgoing_webhooks_measured_timestamp_seconds",
    "When the deliveries that are not over were last counted",
    multiprocess_mode="livemax",
)

#: The one key of the kind.
ALL = "all"
#: Changes of endpoints that matter to what is watched, and to whom events go.
_OWN = Watched(ENDPOINTS, fields=("merchantId",), changes=("status", "events", "accountId"))
#: How often the position is written while there are deliveries, and while there are none.
_SAVE_BUSY_S = 1.0
_SAVE_IDLE_S = 30.0
_MEASURE_S = 15.0
#: How long the server waits for a change before it says that there is none.
_WAIT_MS = 2_000
_MOST_MEASURED = 100_000
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class WebhookFeedServices:
    """What the actor works with."""

    database: Database
    states: ActorStates
    endpoints: WebhookEndpoints
    deliveries: WebhookDeliveries
    events: WebhookEvents
    clock: Clock
    epoch: int
    tell: Tell


class WebhookFeed(Actor):
    """Follows the changes of all merchants; its key is always the same."""

    kind = "webhook_feed"

    def __init__(self, key: str, services: WebhookFeedServices) -> None:
        super().__init__(key)
        self._services = services
        self._version = 0
        self._position: Position | None = None
        self._endpoints: dict[str, list[EndpointDocument]] = {}  # by merchant
        self._watched: list[Watched] = []
        self._task: asyncio.Task[None] | None = None
        self._reader: ChangeReader | None = None
        self._fenced = False
        self._is_over = False
        self._has_written = False
        self._saved_at = 0.0
        self._measured_at = 0.0

    # --- life

    async def on_activate(self) -> None:
        """Take over from wherever it was: the other one can't write its position any more."""
        services = self._services
        try:
            self._version, state = await services.states.claim(self.key, services.epoch)
        except StaleActor:
            raise Fenced("Another host follows the changes", retry_after_s=1) from None
        except PyMongoError as error:
            raise Unavailable("The database is not to be reached", retry_after_s=2) from error
        self._position = Position.parse(state["position"]) if "position" in state else None

    def busy(self) -> bool:
        """Stay in memory while it follows, which is for ever."""
        return self._task is not None and not self._task.done()

    def on_deactivate(self) -> None:
        """Follow no more; another activation goes on from the position that is written."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    async def drain(self) -> None:
        """Finish the batch under way."""
        self._is_over = True
        if self._reader is not None:
            self._reader.nudge()
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def follow(self) -> None:
        """Follow the changes from now on, if it does not yet."""
        if self._fenced:
            raise Fenced("Another host follows the changes", retry_after_s=1)
        if not self.busy():
            self._task = asyncio.create_task(self._follow())

    # --- following

    async def _follow(self) -> None:
        try:
            await self._follow_for_ever()
        finally:
            # Whoever follows now says how many there are.
            PENDING.set(0)

    async def _follow_for_ever(self) -> None:
        # The driver may take a cancellation for a broken connection.
        pause = _FIRST_PAUSE_S
        while not self._is_over:
            before = self._position
            try:
                if before is None:
                    await self._begin()
                else:
                    await self._follow_once(before)
            except StaleActor:
                log.warning("outgoing_webhooks.fenced")
                self._fenced = True
                return
            except HistoryLost as error:
                await self._note_lost(str(error))
            except PyMongoError as error:
                log.warning("outgoing_webhooks.interrupted", error=type(error).__name__)
            except Exception as error:
                # Without this task nobody would be told of anything.
                log.exception("outgoing_webhooks.broke", error=type(error).__name__)
            if self._position != before:
                pause = _FIRST_PAUSE_S
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _begin(self) -> None:
        """Take up the first position: endpoints are read after it, so that none is missed that is made meanwhile."""
        async with Changes(self._services.database, [_OWN]).open(None) as stream:
            self._position = stream.position
        await self._save()

    async def _follow_once(self, since: Position) -> None:
        """Follow until what is to be watched has changed."""
        await self._load()
        watched = self._watched
        changes = Changes(self._services.database, watched)
        async with changes.open(since, wait_ms=_WAIT_MS) as stream:
            reader = self._reader = ChangeReader(stream)
            try:
                while not self._is_over and self._watched == watched:
                    await self._take(changes, await reader.taken())
                    if time.monotonic() - self._saved_at >= (_SAVE_BUSY_S if self._has_written else _SAVE_IDLE_S):
                        await self._save()
                    await self._measure()
            finally:
                self._reader = None
                await reader.stop()
        await self._save()

    async def _load(self) -> None:
        """Read who wants to hear of what."""
        endpoints = await self._services.endpoints.active()
        self._endpoints = {}
        for each in endpoints:
            self._endpoints.setdefault(each["merchantId"], []).append(each)
        events = {event for each in endpoints for event in each["events"]}
        self._watched = [_OWN, *self._services.events.watched(events, self._endpoints.keys())]

    async def _take(self, changes: Changes, batch: Sequence[Read]) -> None:
        """Write what a batch is to endpoints; up to where it changes what is watched, since the rest is incomplete."""
        ready: list[Change] = []
        for each in batch:
            if isinstance(each, Broken):
                await self._write(changes, ready)
                raise each.error
            if isinstance(each, Position):
                await self._write(changes, ready)
                ready = []
                self._position = each
            elif each.collection != ENDPOINTS:
                ready.append(each)
            else:
                await self._write(changes, ready)
                ready = []
                watched = self._watched
                await self._load()
                self._position = each.position
                if self._watched != watched:
                    return
        await self._write(changes, ready)

    async def _write(self, changes: Changes, batch: Sequence[Change]) -> None:
        if not batch:
            return
        happened = await self._services.events.happened(changes, batch, self._endpoints.keys())
        await self._put([delivery for each in happened for delivery in self._deliveries_of(each)])
        self._position = batch[-1].position

    def _deliveries_of(self, happened: Happened) -> list[DeliveryDocument]:
        event_id, now = event_id_of(happened.position, happened.event), self._services.clock.now()
        return [
            new_delivery(
                endpoint["merchantId"],
                endpoint["_id"],
                event_id,
                happened.event,
                moment_of(happened.position),
                now,
                happened.subject,
                happened.contact_id,
            )
            for endpoint in self._endpoints[happened.merchant_id]
            if happened.event in endpoint["events"] and endpoint["accountId"] in {None, happened.account_id}
        ]

    async def _put(self, deliveries: Sequence[DeliveryDocument]) -> None:
        """Write deliveries, and tell those who send them; whom nobody tells finds them a little later."""
        await self._services.deliveries.add(deliveries)
        self._has_written = self._has_written or bool(deliveries)
        for endpoint_id in endpoints_of(deliveries):
            self._services.tell(WebhookEndpointActor.kind, endpoint_id, "handle")

    # --- what was lost

    async def _note_lost(self, reason: str) -> None:
        try:
            await self._begin_anew(reason)
        except StaleActor:
            self._fenced = self._is_over = True
        except (PyMongoError, HistoryLost) as error:
            log.warning("outgoing_webhooks.interrupted", error=type(error).__name__)

    async def _begin_anew(self, reason: str) -> None:
        """Go on from now where the changes in between can't be had any more, and tell everybody that they are lost."""
        services, lost = self._services, self._position
        async with Changes(services.database, [_OWN]).open(None) as stream:
            present = stream.position
        endpoints = await services.endpoints.active()
        log.error("outgoing_webhooks.history_lost", reason=reason, endpoints=len(endpoints))
        now = services.clock.now()
        # Told once for each loss: made of what was lost, not of when that was noticed.
        event_id = event_id_of(lost or present, RESET)
        resets = [new_delivery(each["merchantId"], each["_id"], event_id, RESET, now, now) for each in endpoints]
        await self._put(resets)
        OUTCOMES.labels("reset").inc(len(resets))
        self._position = present
        await self._save()

    # --- bookkeeping

    async def _save(self) -> None:
        if self._position is None:
            return
        services, state = self._services, {"position": self._position.text, "at": self._services.clock.now()}
        self._version = await services.states.save(self.key, services.epoch, self._version, state)
        self._saved_at, self._has_written = time.monotonic(), False

    async def _measure(self) -> None:
        if time.monotonic() - self._measured_at >= _MEASURE_S:
            PENDING.set(await self._services.deliveries.pending(_MOST_MEASURED))
            MEASURED.set(time.time())
            self._measured_at = time.monotonic()
