"""Deliveries to webhooks: signed, sent concurrently, repeated on X's schedule, and recorded.

Source: X's webhook pages: 200 is the only acceptance; three repetitions 3, 27 and 242 seconds after the failure before
each; 3 seconds for every answer; no order is promised.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import structlog

from sandbox.body import JsonObject
from sandbox.clock import Clock, millis
from sandbox.webhooks import Webhook, sign

RETRY_AFTER_S = (3.0, 27.0, 242.0)
SIGNATURE_HEADER = "x-twitter-webhooks-signature"
#: Bodies that are kept for a replay.
REPLAYABLE = 20_000
_ACCEPTED = 200

EnvelopeName = Literal["aaa", "xaa"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: the HTTP status that was answered, or the error's name."""

    at_ms: int
    status: int | None
    error: str | None
    took_ms: float


@dataclass(slots=True)
class Delivery:
    """One body for one webhook; `key` names the event, so that an event's duplicates share it."""

    key: str
    kind: str
    envelope: EnvelopeName
    account_id: str
    participant_id: str
    webhook_id: str
    url: str
    body: bytes
    created_ms: int
    repeatable: bool = True
    outcome: Literal["pending", "acknowledged", "lost"] = "pending"
    attempts: list[Attempt] = field(default_factory=list)
    settled_ms: int | None = None
    began: float = field(default_factory=time.perf_counter)
    waited_ms: float = 0
    attempted: asyncio.Event | None = None
    on_settled: Callable[[Delivery], None] | None = None

    def raw(self) -> JsonObject:
        """Return what happened, without the body."""
        return {
            "key": self.key,
            "kind": self.kind,
            "envelope": self.envelope,
            "account_id": self.account_id,
            "participant_id": self.participant_id,
            "webhook_id": self.webhook_id,
            "created_ms": self.created_ms,
            "outcome": self.outcome,
            "settled_ms": self.settled_ms,
            "attempts": [
                {"at_ms": a.at_ms, "status": a.status, "error": a.error, "took_ms": round(a.took_ms, 2)}
                for a in self.attempts
            ],
        }


class Courier:
    """Sends deliveries with at most `concurrency` requests under way over kept-alive connections.

    With `ordered` set, a conversation's next delivery waits until the one before it was accepted or lost; X itself
    promises no order, so the default is off.
    """

    def __init__(
        self, *, consumer_secret: str, clock: Clock, time_scale: float, timeout_s: float, concurrency: int
    ) -> None:
        self.ordered = False
        self.records: list[Delivery] = []
        self.replayable: deque[tuple[Delivery, bytes]] = deque(maxlen=REPLAYABLE)
        self.pending = 0
        self.acknowledged = 0
        self.lost = 0
        self._consumer_secret = consumer_secret
        self._clock = clock
        self._delays = tuple(delay * time_scale for delay in RETRY_AFTER_S)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._concurrency = concurrency
        self._queue: deque[Delivery] = deque()
        self._under_way = 0
        self._lanes: dict[str, deque[Delivery]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one HTTP session, open while the courier works."""
        if self._session is None:
            raise RuntimeError("the simulated X is not running")
        return self._session

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Keep the session open; what is under way at the end is dropped, as when X restarts."""
        connector = aiohttp.TCPConnector(limit=self._concurrency, keepalive_timeout=60)
        agent = {"User-Agent": "TwitterBot-webhooks/1.0"}
        async with aiohttp.ClientSession(
            connector=connector, headers=agent, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._session:
            try:
                yield
            finally:
                for timer in self._timers:
                    timer.cancel()
                self._queue.clear()
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        self._session = None

    def submit(self, delivery: Delivery) -> None:
        """Take a delivery; it is sent as soon as there is room."""
        self.records.append(delivery)
        self.replayable.append((delivery, delivery.body))
        self.pending += 1
        self._idle.clear()
        if self.ordered:
            lane = self._lanes.get(_lane(delivery))
            if lane is not None:
                lane.append(delivery)
                return
            self._lanes[_lane(delivery)] = deque()
        self._enqueue(delivery)

    async def attempted(self, delivery: Delivery) -> None:
        """Wait until a delivery was tried once."""
        if not delivery.attempts:
            delivery.attempted = delivery.attempted or asyncio.Event()
            await delivery.attempted.wait()

    async def settled(self) -> None:
        """Wait until nothing is pending."""
        await self._idle.wait()

    def _enqueue(self, delivery: Delivery) -> None:
        self._queue.append(delivery)
        if self._under_way < self._concurrency:
            self._under_way += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        """Send what is queued, one after the other, until nothing is left."""
        try:
            while self._queue:
                await self._attempt(self._queue.popleft())
        finally:
            self._under_way -= 1

    async def _attempt(self, delivery: Delivery) -> None:
        began = time.perf_counter()
        at_ms = millis(self._clock)
        status, error = None, None
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(self._consumer_secret, delivery.body),
        }
        try:
            async with self.session.post(
                delivery.url, data=delivery.body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                await response.read()
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError) as failure:
            error = type(failure).__name__
        delivery.attempts.append(Attempt(at_ms, status, error, (time.perf_counter() - began) * 1000))
        if delivery.attempted is not None:
            delivery.attempted.set()
        if status == _ACCEPTED:
            self._settle(delivery, "acknowledged")
        elif not delivery.repeatable or len(delivery.attempts) > len(self._delays):
            log.warning("sandbox.delivery_lost", kind=delivery.kind, account=delivery.account_id, status=status)
            self._settle(delivery, "lost")
        else:
            self._repeat_later(delivery, self._delays[len(delivery.attempts) - 1])

    def _repeat_later(self, delivery: Delivery, delay_s: float) -> None:
        def again() -> None:
            self._timers.discard(timer)
            self._enqueue(delivery)

        timer = asyncio.get_running_loop().call_later(delay_s, again)
        self._timers.add(timer)

    def _settle(self, delivery: Delivery, outcome: Literal["acknowledged", "lost"]) -> None:
        delivery.outcome = outcome
        delivery.settled_ms = millis(self._clock)
        delivery.waited_ms = (time.perf_counter() - delivery.began) * 1000
        delivery.body = b""
        self.pending -= 1
        if outcome == "acknowledged":
            self.acknowledged += 1
        else:
            self.lost += 1
        if delivery.on_settled is not None:
            delivery.on_settled(delivery)
        lane = self._lanes.get(_lane(delivery))
        if lane:
            self._enqueue(lane.popleft())
        elif lane is not None:
            del self._lanes[_lane(delivery)]
        if self.pending == 0:
            self._idle.set()


def _lane(delivery: Delivery) -> str:
    return f"{delivery.webhook_id}/{delivery.account_id}/{delivery.participant_id}"


def make(
    webhook: Webhook,
    *,
    key: str,
    kind: str,
    envelope: EnvelopeName,
    account_id: str,
    participant_id: str,
    body: bytes,
    at_ms: int,
) -> Delivery:
    """Build a delivery for a webhook."""
    return Delivery(
        key=key,
        kind=kind,
        envelope=envelope,
        account_id=account_id,
        participant_id=participant_id,
        webhook_id=webhook.id,
        url=webhook.url,
        body=body,
        created_ms=at_ms,
    )
