"""The receiving end of a route: takes batches of calls into a host and hands outcomes back."""

from __future__ import annotations

import asyncio
import time

from actors.runtime.host import ActorHost
from actors.runtime.wire import Outcome, decode_calls, encode_outcomes

_COLLECT_S = 20.0
#: Loop rounds that a delivery waits for turns which need nothing but the processor.
_QUICK_ROUNDS = 3


class _Outbox:
    """Outcomes on their way back to one caller."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.filled = asyncio.Event()
        self.touched = time.monotonic()
        self.expected = 0
        self._early: dict[int, asyncio.Event] = {}

    async def turn_of(self, number: int) -> None:
        """Wait until every earlier batch has been taken; times out when one was lost: then the session is over."""
        event = self._early[number] = asyncio.Event()
        async with asyncio.timeout(_COLLECT_S):
            await event.wait()

    def next(self) -> None:
        """Let the batch that follows go on."""
        self.expected += 1
        if event := self._early.pop(self.expected, None):
            event.set()

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.filled.set()

    def take(self) -> list[Outcome]:
        outcomes, self.outcomes = self.outcomes, []
        self.filled.clear()
        return outcomes


class Exchange:
    """Connects a host with its remote callers."""

    def __init__(self, host: ActorHost) -> None:
        self._host = host
        self._outboxes: dict[str, _Outbox] = {}

    def _outbox(self, caller: str) -> _Outbox:
        outbox = self._outboxes.get(caller)
        if outbox is None:
            self._forget_gone_callers()
            outbox = self._outboxes[caller] = _Outbox()
        outbox.touched = time.monotonic()
        return outbox

    def _forget_gone_callers(self) -> None:
        oldest = time.monotonic() - 3 * _COLLECT_S
        for caller in [name for name, outbox in self._outboxes.items() if outbox.touched < oldest]:
            del self._outboxes[caller]

    async def deliver(self, caller: str, number: int, data: bytes) -> bytes:
        """Put a caller's batch of calls into their mailboxes; return every outcome that was ready at once.

        Batches are numbered from 0 and taken in that order, in whichever order Ray brings them.
        """
        outbox = self._outbox(caller)
        if number != outbox.expected:
            await outbox.turn_of(number)
        now: list[Outcome] = []
        accept = _Switch(now, outbox)
        calls = decode_calls(data)
        for call in calls:
            self._host.dispatch(call, accept)
        outbox.next()
        for _ in range(_QUICK_ROUNDS):
            if len(now) == len(calls):
                break
            await asyncio.sleep(0)
        accept.late = True
        return encode_outcomes(now)

    async def collect(self, caller: str) -> bytes:
        """Wait for outcomes that were not ready at once, and return all that there are by then."""
        outbox = self._outbox(caller)
        if not outbox.outcomes:
            try:
                async with asyncio.timeout(_COLLECT_S):
                    await outbox.filled.wait()
            except TimeoutError:
                return encode_outcomes([])
        return encode_outcomes(outbox.take())


class _Switch:
    """Sends outcomes with the delivery while it is open, and to the outbox afterwards."""

    __slots__ = ("_now", "_outbox", "late")

    def __init__(self, now: list[Outcome], outbox: _Outbox) -> None:
        self._now = now
        self._outbox = outbox
        self.late = False

    def __call__(self, outcome: Outcome) -> None:
        if self.late:
            self._outbox.add(outcome)
        else:
            self._now.append(outcome)
