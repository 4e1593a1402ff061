"""A gateway process's side of the merchants' API limit: spends leases, and asks for more before they run out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from math import ceil
from typing import NamedTuple

import structlog

from actors.merchant_limit import MerchantLimit
from actors.runtime.system import ActorSystem
from domain.call_limit import LEASE_S, SPAN_S, Answer, Ask, CallLease
from domain.errors import LimitExceeded, MktxError, Unavailable
from domain.ids import new_id

log = structlog.get_logger()

_ASK_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 1.0
#: A lease is long enough for this many round trips, where those are slow.
_ROUND_TRIPS = 4
_LONGEST_LEASE_S = 10.0
#: After a refusal the actor is asked again at this interval at most.
_CLOSED_S = 1.0
#: A report that failed is made again after this time.
_REPORT_AGAIN_S = 5.0
#: Nothing that was granted counts any more after this time.
_FORGET_S = 2 * SPAN_S


class Admission(NamedTuple):
    """Whether a call may pass, and what its answer says of the limit; `resets_at` is Unix time in seconds."""

    remaining: int
    resets_at: int
    refusal: MktxError | None


class _Merchant:
    """What this process holds for one merchant; `lease_s` is how long it asks for."""

    __slots__ = ("asking", "closed_until", "last", "last_at", "lease", "lease_s", "merchant_id", "timer", "waiting")

    def __init__(self, merchant_id: str) -> None:
        self.merchant_id = merchant_id
        self.lease = CallLease(new_id())
        self.lease_s = LEASE_S
        self.waiting: deque[asyncio.Future[Admission]] = deque()
        self.asking: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.last: Answer | None = None
        self.last_at = 0.0
        self.closed_until = 0.0


class CallLimiter:
    """Admits calls of merchants, over all gateway processes together never more than the limit in a minute.

    A call with a lease in hand costs no message. Without one it waits for the merchant's actor, and so do those that
    come meanwhile: one message for all of them. Where the actor is not to be reached, calls pass as long as the lease
    lasts, then they are refused with 503: the limit is never crossed.
    """

    def __init__(
        self,
        actors: ActorSystem,
        *,
        now: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._actors = actors
        self._now = now
        self._unix = unix
        self._merchants: dict[str, _Merchant] = {}
        self._closed = False

    async def admit(self, merchant_id: str) -> Admission:
        """Count a call of a merchant, or say why it may not pass."""
        merchant = self._merchants.get(merchant_id)
        if merchant is None:
            merchant = self._merchants[merchant_id] = _Merchant(merchant_id)
        now = self._now()
        if not merchant.waiting and merchant.lease.spend(now):
            if merchant.asking is None and merchant.lease.is_low:
                self._ask(merchant, ahead=True)
            return self._passed(merchant)
        if now < merchant.closed_until:
            return self._refused(merchant)
        waiting: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        merchant.waiting.append(waiting)
        self._ask(merchant, ahead=True)
        return await waiting

    async def close(self) -> None:
        """Give every lease back."""
        self._closed = True
        for merchant in self._merchants.values():
            if merchant.timer:
                merchant.timer.cancel()
            merchant.lease.give_back()
            if not merchant.lease.is_settled:
                self._ask(merchant, ahead=False)
        asking = {merchant.asking for merchant in self._merchants.values() if merchant.asking}
        if asking:
            _, late = await asyncio.wait(asking, timeout=_CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- asking

    def _ask(self, merchant: _Merchant, *, ahead: bool) -> None:
        if merchant.asking is None:
            merchant.asking = asyncio.create_task(self._ask_until_answered(merchant, ahead=ahead))

    async def _ask_until_answered(self, merchant: _Merchant, *, ahead: bool) -> None:
        """Ask for a lease, again and again while calls wait; without `ahead` and such calls it only reports."""
        retry_after_s = 1
        try:
            while True:
                pause = await self._ask_once(merchant, ahead=ahead)
                if not merchant.waiting:
                    break
                await asyncio.sleep(pause)
        except MktxError as error:
            log.warning("call_limit.unavailable", code=error.code, reason=error.message)
            retry_after_s = error.retry_after_s or 1
        except Exception as error:
            # Calls wait for this task: whatever broke, they must learn of it.
            log.exception("call_limit.broke", error=type(error).__name__)
        finally:
            merchant.asking = None
            self._turn_away(merchant, merchant.waiting, lambda _: self._unchecked(retry_after_s))
            self._watch(merchant)

    async def _ask_once(self, merchant: _Merchant, *, ahead: bool) -> float:
        """Ask once and serve the calls that wait; returns after how many seconds to ask again for those left."""
        asking = [call for call in merchant.waiting if not call.done()]
        asked_at = self._now()
        ask = merchant.lease.ask(asked_at, waiting=len(asking), ahead=ahead, lease_s=merchant.lease_s)
        actor = self._actors.ref(MerchantLimit, merchant.merchant_id, timeout_s=_ASK_TIMEOUT_S)
        answer = await _answer_of(actor, ask)
        now = self._now()
        merchant.lease.take(ask, answer, asked_at, now)
        merchant.lease_s = min(_LONGEST_LEASE_S, max(LEASE_S, _ROUND_TRIPS * (now - asked_at)))
        merchant.last, merchant.last_at = answer, asked_at
        self._let_in(merchant, now)
        if answer.tokens >= len(asking):
            return 0.0
        if not answer.coming:
            merchant.closed_until = asked_at + min(_CLOSED_S, answer.next_in_s)
        # Calls that came after the ask are left to the next one.
        self._turn_away(merchant, [call for call in asking if not call.done()][answer.coming :], self._refused)
        return answer.coming_in_s

    def _let_in(self, merchant: _Merchant, now: float) -> None:
        """Spend the lease on calls that wait, in their order; those whose clients have left cost nothing."""
        waiting = merchant.waiting
        while waiting and (waiting[0].done() or merchant.lease.spend(now)):
            call = waiting.popleft()
            if not call.done():
                call.set_result(self._passed(merchant))

    def _turn_away(
        self, merchant: _Merchant, calls: Iterable[asyncio.Future[Admission]], refusal: Callable[[_Merchant], Admission]
    ) -> None:
        for call in calls:
            if not call.done():
                call.set_result(refusal(merchant))
        merchant.waiting = deque(call for call in merchant.waiting if not call.done())

    # --- giving back

    def _watch(self, merchant: _Merchant) -> None:
        """See to it that the actor learns what became of the lease, and that idle merchants are forgotten."""
        if self._closed:
            return
        if merchant.timer:
            merchant.timer.cancel()
        loop = asyncio.get_running_loop()
        left = merchant.lease.deadline - self._now()
        if merchant.lease.is_settled or left < -_FORGET_S:
            merchant.timer = loop.call_later(_FORGET_S, self._forget, merchant)
        else:
            merchant.timer = loop.call_later(left if left > 0 else _REPORT_AGAIN_S, self._give_back, merchant)

    def _give_back(self, merchant: _Merchant) -> None:
        self._ask(merchant, ahead=False)

    def _forget(self, merchant: _Merchant) -> None:
        if merchant.asking is None:
            self._merchants.pop(merchant.merchant_id, None)

    # --- what is told

    def _passed(self, merchant: _Merchant) -> Admission:
        return Admission(merchant.lease.remaining, ceil(self._unix() + SPAN_S), None)

    def _refused(self, merchant: _Merchant) -> Admission:
        next_in_s = resets_in_s = SPAN_S
        if merchant.last:
            since = self._now() - merchant.last_at
            next_in_s, resets_in_s = merchant.last.next_in_s - since, merchant.last.resets_in_s - since
        error = LimitExceeded("Too many calls in a minute", retry_after_s=max(1, ceil(next_in_s)))
        return Admission(0, ceil(self._unix() + max(0.0, resets_in_s)), error)

    def _unchecked(self, retry_after_s: int) -> Admission:
        error = Unavailable("The call limit can't be checked", retry_after_s=retry_after_s)
        return Admission(0, ceil(self._unix() + SPAN_S), error)


async def _answer_of(actor: MerchantLimit, ask: Ask) -> Answer:
    answer = await actor.ask(ask)
    # The stand-in awaits the future itself; a call of the very object would not.
    return await answer if isinstance(answer, asyncio.Future) else answer
