"""Simulated customers: they write at a set rate, and answer when the shop writes to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sandbox.body import as_list, as_object, as_text
from sandbox.messages import DirectMessage
from sandbox.people import User

_OPENINGS = (
    "Hi! Is the blue jacket still available in M?",
    "When will my order #{number} arrive?",
    "Do you ship to Da Nang?",
    "How much is the canvas tote?",
    "I got the wrong size, can I exchange it?",
    "What are your opening hours today?",
    "Can I pay on delivery?",
    "My discount code does not work 😕",
    "Hello, I'd like to cancel order #{number}",
    "Are the sneakers true to size?",
    "The parcel #{number} came damaged, what now?",
    "Do you have gift wrapping?",
)
_ANSWERS = (
    "Great, thank you!",
    "Thanks, how long will it take?",
    "Perfect 👍",
    "Hmm, I was hoping for Friday.",
    "Okay, I'll take it.",
    "Could you send me a picture?",
    "No, that's all, thanks!",
)


class Stage(Protocol):
    """What customers need of the world that they live in."""

    def customers_list(self) -> list[User]:
        """Return those who may write."""
        ...

    def shops_open(self) -> list[str]:
        """Return the ids of the shops whose events somebody receives."""
        ...

    def say(self, sender_id: str, recipient_id: str, text: str, *, quick_reply: str | None = None) -> DirectMessage:
        """Let somebody write a message."""
        ...

    def act(self, kind: str, account_id: str, actor_id: str, last_read: str = "") -> None:
        """Let a customer type or read."""
        ...


@dataclass(slots=True)
class Manner:
    """How customers behave: messages a second of all together, and the share of shop messages that they answer."""

    rate: float = 0.0
    answers: float = 0.0
    answer_after_s: tuple[float, float] = (1.0, 6.0)


class Customers:
    """The customers' life; the same seed writes the same texts in the same order."""

    def __init__(self, stage: Stage, manner: Manner, seed: int) -> None:
        self.manner = manner
        self.written = 0
        self._stage = stage
        self._draw = random.Random(seed)  # noqa: S311 - believable chatter, no secret
        self._changed = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()

    def change(self, *, rate: float | None = None, answers: float | None = None) -> None:
        """Set a new rate or share of answers; rate 0 stops the writing."""
        if rate is not None:
            self.manner.rate = max(0.0, rate)
        if answers is not None:
            self.manner.answers = min(1.0, max(0.0, answers))
        self._changed.set()

    async def live(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                self._changed.clear()
                gap = self._draw.expovariate(self.manner.rate) if self.manner.rate > 0 else None
                try:
                    await asyncio.wait_for(self._changed.wait(), gap)
                except TimeoutError:
                    self.write()
        finally:
            for timer in self._timers:
                timer.cancel()

    def write(self) -> DirectMessage | None:
        """Let one customer write one message; None when there is nobody to write, or no shop to write to."""
        customers, shops = self._stage.customers_list(), self._stage.shops_open()
        if not customers or not shops:
            return None
        self.written += 1
        return self._stage.say(self._draw.choice(customers).id, self._draw.choice(shops), self.text())

    def text(self) -> str:
        """Return what a customer might write."""
        return self._draw.choice(_OPENINGS).format(number=self._draw.randrange(10_000, 99_999))

    def received(self, message: DirectMessage) -> None:
        """A shop wrote to a customer: it is read, and sometimes answered, a little later."""
        if self._draw.random() >= self.manner.answers:
            return
        delay = self._draw.uniform(*self.manner.answer_after_s)
        shop, customer = message.sender_id, message.recipient_id
        self._later(delay / 3, lambda: self._stage.act("read", shop, customer, message.id))
        self._later(delay / 2, lambda: self._stage.act("typing", shop, customer))
        options = [as_object(option) for option in as_list((message.quick_reply or {}).get("options"))]
        if options:
            option = self._draw.choice(options)
            label, metadata = as_text(option.get("label")), as_text(option.get("metadata"))
            self._later(delay, lambda: self._stage.say(customer, shop, label, quick_reply=metadata))
        else:
            text = self._draw.choice(_ANSWERS)
            self._later(delay, lambda: self._stage.say(customer, shop, text))

    def _later(self, delay_s: float, act: Callable[[], object]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)
