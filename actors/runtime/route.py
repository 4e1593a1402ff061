"""The way to one host in another process: many messages a call, by self-clocking.

At most two deliveries are under way to a host; what is sent meanwhile goes with the next. An idle system adds no wait,
a busy one pays for one Ray call a batch instead of one a message. Answers that are ready at once come back with the
delivery; later ones are collected by one long call that is always open, so a slow turn delays nobody else's answer.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable
from typing import Protocol

import structlog

from actors.runtime.errors import ActorFailed, CallExpired, HostGone
from actors.runtime.system import settle
from actors.runtime.wire import Call, Outcome, can_travel, decode_outcomes, encode_calls
from config.origin import origin

log = structlog.get_logger()

_BATCH_LIMIT = 1000
_DELIVERIES = 2
_SWEEP_S = 0.5
_RETRY_S = 0.2


class Transport(Protocol):
    """Reaches one host; every method raises `HostGone` when the host's process is not there."""

    async def deliver(self, caller: str, number: int, data: bytes) -> bytes:
        """Hand over the caller's batch of this number; return the encoded outcomes that were ready at once."""
        ...

    async def collect(self, caller: str) -> bytes:
        """Wait for outcomes that came later; may return none after a while."""
        ...

    async def reconnect(self) -> None:
        """Wait until the host answers, as a new process if need be."""
        ...


class Route:
    """Carries messages from this process to one host.

    A call is repeated until it is answered or its deadline has passed: when the host's process is lost, everything that
    it had not answered is sent again to its successor. That is why actors' methods are idempotent.
    """

    def __init__(self, caller: str, transport: Transport) -> None:
        self._caller = caller
        self._sessions = itertools.count(1)
        self._session = ""
        self._batches = itertools.count()
        self._transport = transport
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[Call, asyncio.Future[object]]] = {}
        self._outbox: list[Call] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self._closed = False

    @property
    def is_up(self) -> bool:
        """Whether the host answered last time."""
        return self._up.is_set()

    def start(self) -> None:
        """Open the long call that collects late answers, and the look-out for expired calls."""
        self._tasks["collect"] = asyncio.create_task(self._collect())
        self._tasks["expire"] = asyncio.create_task(self._expire())

    def call(
        self, kind: str, key: str, method: str, args: tuple[object, ...], kwargs: dict[str, object], timeout_s: float
    ) -> Awaitable[object]:
        """Send a message with the next batch and return what to await for its answer."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(CallExpired("The program is stopping", retry_after_s=2))
            return future
        call = Call(next(self._ids), kind, key, method, args, kwargs or None, time.time() + timeout_s, origin())
        self._waiting[call.id] = (call, future)
        self._outbox.append(call)
        self._pump()
        return future

    def _pump(self) -> None:
        if self._outbox and self._up.is_set() and len(self._deliveries) < _DELIVERIES and not self._closed:
            task = asyncio.create_task(self._deliver())
            self._deliveries.add(task)
            task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        self._pump()

    async def _deliver(self) -> None:
        while self._outbox and self._up.is_set():
            batch, self._outbox = self._outbox[:_BATCH_LIMIT], self._outbox[_BATCH_LIMIT:]
            session = self._session
            data = self._encode(batch)
            try:
                answers = await self._transport.deliver(session, next(self._batches), data)
            except HostGone:
                if session == self._session and self._up.is_set():
                    self._lost()
                    self._reopen()
                return
            self._settle(decode_outcomes(answers))

    def _encode(self, batch: list[Call]) -> bytes:
        """Encode a batch; a call whose arguments can't be sent fails alone."""
        try:
            return encode_calls(batch)
        except Exception as error:
            log.exception("call.cannot_travel", error=type(error).__name__)
            stuck = [call for call in batch if not can_travel(tuple(call))]
            self._settle([Outcome(call.id, ActorFailed("The call can't be sent"), True) for call in stuck])
            return encode_calls([call for call in batch if call not in stuck])

    def _settle(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            entry = self._waiting.pop(outcome.id, None)
            if entry is not None:
                settle(entry[1], outcome)

    def _lost(self) -> None:
        """Put everything unanswered back into the outbox; `_collect` finds the host's successor."""
        if self._up.is_set():
            log.warning("host.lost", caller=self._caller, unanswered=len(self._waiting))
        self._up.clear()
        self._outbox = [call for call, _ in self._waiting.values()]

    def _reopen(self) -> None:
        """Leave the long call of the lost session, which may hang, and look for the host anew."""
        self._tasks["collect"].cancel()
        if not self._closed:
            self._tasks["collect"] = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        while True:
            try:
                if not self._up.is_set():
                    await self._connect()
                self._settle(decode_outcomes(await self._transport.collect(self._session)))
            except HostGone:
                self._lost()
                await asyncio.sleep(_RETRY_S)
            except Exception as error:
                # Without this loop no late answer would ever come again.
                log.exception("route.collect_failed", caller=self._caller, error=type(error).__name__)
                self._lost()
                await asyncio.sleep(_RETRY_S)

    async def _connect(self) -> None:
        """Find the host and send it all that is unanswered, under a session name that no former call knows."""
        await self._transport.reconnect()
        self._session = f"{self._caller}/{next(self._sessions)}"
        self._batches = itertools.count()
        # A delivery of the lost session may hang; it must not keep its place from the new one.
        for task in self._deliveries:
            task.cancel()
        self._deliveries.clear()
        self._outbox = [call for call, _ in self._waiting.values()]
        self._up.set()
        self._pump()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.time()
            late = [call.id for call, future in self._waiting.values() if call.deadline < now or future.done()]
            for call_id in late:
                _, future = self._waiting.pop(call_id)
                if not future.done():
                    future.set_exception(CallExpired("The actor did not answer in time", retry_after_s=2))
            if late and not self._up.is_set():
                self._outbox = [call for call, _ in self._waiting.values()]

    async def close(self) -> None:
        """Send nothing more and fail whoever still waits."""
        self._closed = True
        tasks = [*self._tasks.values(), *self._deliveries]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(CallExpired("The program is stopping", retry_after_s=2))
        self._waiting.clear()
