"""How many API calls a merchant may make: a rolling minute, handed out in short leases; pure, time is an argument.

The rule (contract, part 3): in no span of 60 seconds do more calls of a merchant pass than the limit, whichever
gateways they came to, and a call is refused only when so many have passed in the 60 seconds before it. A refused call
does not count. `X-RateLimit-Reset` names the end of the 60 seconds after the latest call that passed: the whole limit
is free by then, and never more than the limit passed in the 60 seconds before it.

One `CallWindow` a merchant decides; each gateway process holds a `CallLease` of it and spends that alone:

- a lease ends at the gateway a second after it was *asked for*, at the window a margin and a second after it was
  *granted*: the gateway stops first, whatever the messages took;
- every `Ask` carries the totals of what its holder has taken, spent and dropped so far, so a lost or repeated message
  changes nothing: a grant whose answer did not arrive is void with the holder's next ask;
- a call counts at the window from the time that its age tells, plus the way of the message: late, never early;
- a token that was handed out and not accounted for counts as spent at the end of its lease.

Times are seconds at the gateway, of a clock that never goes back, and whole milliseconds of Unix time at the window.
Different hosts own a window only one after the other; their clocks are taken to agree.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import NamedTuple, Self

SPAN_S = 60.0
LEASE_S = 1.0

_SPAN_MS = 60_000
#: By how much two clocks may differ over the length of a lease.
_MARGIN_MS = 250
#: How long the return of a lease may take before its tokens count as spent.
_RETURN_MS = 1_500
#: A call waits rather than be refused when a token is free again within this time.
_PATIENCE_MS = 250
#: How soon to ask again for tokens that lie with other gateways.
_LOOK_AGAIN_MS = 50
#: A lease is this part of what is free, so leases shrink as the window fills.
_SHARE = 4
#: Up to this limit calls are kept to the millisecond, above it to a quarter of a second, upwards.
_FINE = 240
_COARSE_MS = 250
_CALLS = struct.Struct("<qI")


class Ask(NamedTuple):
    """What a holder tells the window, and what it wants.

    `taken`, `spent` and `dropped` are totals in tokens since the holder began; `ages` are the seconds since each of the
    latest calls, oldest first, as far as the window has not confirmed them. `waiting` calls wait for an answer;
    `ahead` asks for tokens for calls to come.
    """

    holder: str
    number: int
    taken: int
    spent: int
    dropped: int
    ages: tuple[float, ...]
    waiting: int
    ahead: bool
    lease_s: float


class Answer(NamedTuple):
    """What the window grants; times are seconds from the moment of the answer.

    `free` tokens are left for others. `coming` tokens may still come so soon that calls should wait for them rather
    than be refused: look again in `coming_in_s`. The next token is free for certain in `next_in_s`, all of them in
    `resets_in_s`.
    """

    tokens: int
    free: int
    coming: int
    coming_in_s: float
    next_in_s: float
    resets_in_s: float


@dataclass(slots=True)
class _Holder:
    """What the window knows of a gateway; `out` tokens are not accounted for and may be spent until `until`."""

    number: int
    spent: int
    out: int
    until: int
    granted: int


class CallWindow:
    """The calls of one merchant in the last 60 seconds, and the tokens that are out with gateways."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._step = 1 if limit <= _FINE else _COARSE_MS
        self._calls: dict[int, int] = {}  # how many calls count until then
        self._holders: dict[str, _Holder] = {}

    def ask(self, ask: Ask, now: int) -> Answer:
        """Take note of a holder's calls and grant it tokens; the same ask again is answered the same."""
        self._forget(now)
        holder = self._holders.get(ask.holder)
        if holder is None:
            holder = _Holder(-1, ask.spent - len(ask.ages), 0, now, 0)
            self._holders[ask.holder] = holder
        if ask.number < holder.number:
            # Overtaken by a later one: nobody reads the answer.
            return self._answer(ask, 0, now)
        if ask.number > holder.number:
            self._account(holder, ask, now)
            free = self._free()
            holder.number = ask.number
            holder.granted = 0
            if ask.waiting or ask.ahead:
                holder.granted = max(0, min(free, max(ask.waiting, free // _SHARE)))
            if holder.granted:
                holder.out += holder.granted
                holder.until = max(holder.until, now + round(ask.lease_s * 1000) + _MARGIN_MS)
        return self._answer(ask, holder.granted, now)

    def _account(self, holder: _Holder, ask: Ask, now: int) -> None:
        """Enter the calls that are new, and what the holder has left."""
        new = max(0, ask.spent - holder.spent)
        for age in ask.ages[max(0, len(ask.ages) - new) :]:
            self._count(now + 1 - floor(age * 1000), 1)
        if new > len(ask.ages):
            # A host that is gone knew of them and had not written it: they were made before the lease ended.
            self._count(min(now, holder.until), new - len(ask.ages))
        holder.spent = ask.spent
        holder.out = ask.taken - ask.spent - ask.dropped

    def _count(self, made: int, calls: int) -> None:
        until = -(-(made + _SPAN_MS) // self._step) * self._step
        self._calls[until] = self._calls.get(until, 0) + calls

    def _forget(self, now: int) -> None:
        for until in [until for until in self._calls if until <= now]:
            del self._calls[until]
        for name in [name for name, holder in self._holders.items() if holder.until + _SPAN_MS <= now]:
            del self._holders[name]

    def _free(self) -> int:
        return self._limit - sum(self._calls.values()) - sum(holder.out for holder in self._holders.values())

    def _answer(self, ask: Ask, tokens: int, now: int) -> Answer:
        others = [holder for name, holder in self._holders.items() if name != ask.holder and holder.out]
        due = [*self._calls, *(holder.until + _SPAN_MS for holder in self._holders.values() if holder.out)]
        soon = {until: calls for until, calls in self._calls.items() if until <= now + _PATIENCE_MS}
        abroad = sum(holder.out for holder in others if now < holder.until + _RETURN_MS)
        looks = [*(until - now for until in soon), *([_LOOK_AGAIN_MS] if abroad else [])]
        return Answer(
            tokens=tokens,
            free=max(0, self._free()),
            coming=sum(soon.values()) + abroad,
            coming_in_s=min(looks, default=0) / 1000,
            next_in_s=(min(due, default=now) - now) / 1000,
            resets_in_s=(max(due, default=now) - now) / 1000,
        )

    def to_document(self) -> dict[str, object]:
        """Return the state as it is stored: at any later time it allows no more than the window itself would."""
        return {
            "calls": b"".join(_CALLS.pack(until, calls) for until, calls in self._calls.items()),
            "holders": [
                {"id": name, "number": h.number, "spent": h.spent, "out": h.out, "until": h.until, "granted": h.granted}
                for name, h in self._holders.items()
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, object], limit: int) -> Self:
        """Return the window that was stored; an empty document is a window without calls."""
        window = cls(limit)
        calls, holders = document.get("calls", b""), document.get("holders", [])
        if isinstance(calls, bytes):
            for until, count in _CALLS.iter_unpack(calls):
                window._count(until - _SPAN_MS, count)
        if isinstance(holders, list):
            for h in holders:
                window._holders[h["id"]] = _Holder(h["number"], h["spent"], h["out"], h["until"], h["granted"])
        return window


class CallLease:
    """A gateway's tokens for one merchant.

    One ask is under way at a time, and the answer to one that was given up must not be taken.
    """

    __slots__ = (
        "_deadline",
        "_dropped",
        "_elsewhere",
        "_left",
        "_low",
        "_number",
        "_spent",
        "_taken",
        "_told",
        "_uses",
        "holder",
    )

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self._number = 0
        self._taken = 0
        self._spent = 0
        self._dropped = 0
        self._left = 0
        self._low = 0
        self._elsewhere = 0
        self._deadline = 0.0
        self._told = (0, 0)
        self._uses: list[float] = []

    @property
    def deadline(self) -> float:
        """When the tokens in hand end."""
        return self._deadline

    @property
    def remaining(self) -> int:
        """Tokens in hand, and free when the window was last heard of."""
        return self._left + self._elsewhere

    @property
    def is_low(self) -> bool:
        """Whether it is time to ask for more."""
        return self._left <= self._low

    @property
    def is_settled(self) -> bool:
        """Whether the window knows everything: no token in hand, no call that it has not heard of."""
        return not self._left and self._told == (self._spent, self._dropped)

    def spend(self, now: float) -> bool:
        """Spend a token on a call; False when there is none."""
        if not self._left or now >= self._deadline:
            return False
        self._left -= 1
        self._spent += 1
        self._uses.append(now)
        return True

    def ask(self, now: float, *, waiting: int, ahead: bool, lease_s: float = LEASE_S) -> Ask:
        """Return the next ask, to be sent at once."""
        self._drop(now)
        self._number += 1
        self._uses = [used for used in self._uses if now - used < SPAN_S]
        ages = tuple(now - used for used in self._uses)
        return Ask(self.holder, self._number, self._taken, self._spent, self._dropped, ages, waiting, ahead, lease_s)

    def take(self, ask: Ask, answer: Answer, asked_at: float, now: float) -> None:
        """Take what was granted to the last ask, which was sent at `asked_at`."""
        self._drop(now)
        del self._uses[: len(ask.ages)]
        self._told = (ask.spent, ask.dropped)
        self._elsewhere = answer.free
        if ask.waiting or ask.ahead:
            self._low = max(0, answer.tokens - ask.waiting) // 2
        if answer.tokens:
            self._taken += answer.tokens
            self._left += answer.tokens
            self._deadline = asked_at + ask.lease_s
            self._drop(now)

    def give_back(self) -> None:
        """End the lease now."""
        self._drop(self._deadline)

    def _drop(self, now: float) -> None:
        """Let go of tokens that have ended."""
        if self._left and now >= self._deadline:
            self._dropped += self._left
            self._elsewhere += self._left
            self._left = 0
