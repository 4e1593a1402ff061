"""The simulated X itself: everything it knows, and what can happen in it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox import aaa, xaa
from sandbox.body import JsonObject, as_text, dump
from sandbox.clock import DAY_MS, Clock, SystemClock, millis
from sandbox.customers import Customers, Manner
from sandbox.delivery import Courier, Delivery, EnvelopeName, make
from sandbox.events import Event, Kind
from sandbox.faults import Faults
from sandbox.journal import Journal
from sandbox.limits import Limits
from sandbox.load import Load
from sandbox.media import MediaStore
from sandbox.memory import recall
from sandbox.messages import DirectMessage, MessageStore, shorten
from sandbox.oauth import Authenticator
from sandbox.people import People, User
from sandbox.snowflake import Snowflakes
from sandbox.subscriptions import ActivitySubscription, Subscriptions
from sandbox.webhooks import Challenger, Webhook

APP = aaa.App("55", "Sandbox app", "https://sandbox.test")


class Behaviour:
    """What can be set while running, beside limits and faults."""

    def __init__(self) -> None:
        self.duplicates = 0.0
        self.wrap_links = True
        self.echo_after_s = 0.02
        self.subscription_shape = "nested"
        self.webhook_limit = 5


class World:
    """One simulated X.

    `time_scale` shortens the schedule of repeated deliveries and the minimal age of what can be replayed (0.001 for
    tests); `delivery_timeout_s` is how long a webhook may take, for challenges too, which come again every
    `challenge_every_s`. With a `journal` path, messages,
    webhooks, subscriptions and added users outlive a restart.
    """

    def __init__(
        self,
        *,
        consumer_key: str,
        consumer_secret: str,
        bearer_token: str,
        account_id: str = "100",
        customers: int = 8,
        rate: float = 0.0,
        answers: float = 0.0,
        seed: int = 1,
        clock: Clock | None = None,
        time_scale: float = 1.0,
        journal: Path | None = None,
        delivery_timeout_s: float = 3.0,
        concurrency: int = 128,
        challenge_every_s: float = 1800.0,
    ) -> None:
        self.clock = clock or SystemClock()
        self.time_scale = time_scale
        self._challenge_every_s = challenge_every_s
        self.behaviour = Behaviour()
        self.ids = Snowflakes(self.clock)
        self.people = People(seed)
        self.messages = MessageStore()
        self.webhooks: dict[str, Webhook] = {}
        self.subscriptions = Subscriptions()
        self.media = MediaStore(self.clock, self.ids)
        self.limits = Limits(self.clock)
        self.faults = Faults(random.Random(f"{seed}/faults"))  # noqa: S311 - chance, no secret
        self.requests: Counter[str] = Counter()
        self.held = 0
        self.load: Load | None = None
        self.replaying: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._draw = random.Random(f"{seed}/events")  # noqa: S311 - chance, no secret
        self.authenticator = Authenticator(
            consumer_key=consumer_key,
            consumer_secret=consumer_secret,
            bearer_token=bearer_token,
            people=self.people,
            clock=self.clock,
        )
        self.courier = Courier(
            consumer_secret=consumer_secret,
            clock=self.clock,
            time_scale=time_scale,
            timeout_s=delivery_timeout_s,
            concurrency=concurrency,
        )
        self.challenger = Challenger(
            consumer_secret=consumer_secret,
            clock=self.clock,
            deadline_s=delivery_timeout_s,
            draw=random.Random(f"{seed}/challenges"),  # noqa: S311 - the challenge needs no secrecy here
        )
        self.customers = Customers(self, Manner(rate, answers), seed)
        self.people.add_shop(account_id, username="goodgo_shop", name="GoodGo Official")
        for _ in range(customers):
            self.people.add_customer()
        self.journal = Journal(journal)
        recall(self)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver events and let customers live, until the block ends."""
        async with self.courier.working():
            self.spawn(self.customers.live())
            self.spawn(self._challenge())
            try:
                yield
            finally:
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)
                self.journal.close()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run something in the background until the world ends."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _challenge(self) -> None:
        """Challenge every webhook again and again; one that fails gets no more events until it is validated."""
        while True:
            await asyncio.sleep(self._challenge_every_s)
            for webhook in list(self.webhooks.values()):
                if webhook.valid:
                    await self.challenger.revalidate(self.courier.session, webhook)

    # --- messages

    def say(
        self,
        sender_id: str,
        recipient_id: str,
        text: str,
        *,
        quick_reply: str | None = None,
        media: JsonObject | None = None,
    ) -> DirectMessage:
        """Let a person write a message in an app of X (a customer, or somebody at the shop)."""
        message = self.compose(sender_id, recipient_id, text, via="app", media=media, quick_reply_response=quick_reply)
        self.keep(message)
        self.announce(message)
        return message

    def compose(
        self,
        sender_id: str,
        recipient_id: str,
        text: str,
        *,
        via: str,
        media: JsonObject | None = None,
        quick_reply: JsonObject | None = None,
        quick_reply_response: str | None = None,
        ctas: tuple[JsonObject, ...] = (),
    ) -> DirectMessage:
        """Build a message with an id and the text that X shows."""
        message_id = self.ids.next()
        shown, links = shorten(text, message_id=message_id, media=media, wrap_links=self.behaviour.wrap_links)
        return DirectMessage(
            id=message_id,
            sender_id=sender_id,
            recipient_id=recipient_id,
            text=text,
            shown=shown,
            created_ms=self.now_ms(),
            via=via,
            links=links,
            media=media,
            quick_reply=quick_reply,
            quick_reply_response=quick_reply_response,
            ctas=ctas,
            source_app_id=None if via == "app" else APP.id,
        )

    def keep(self, message: DirectMessage) -> None:
        """Accept a message for good: journal first, then memory."""
        self.journal.append("message", message.raw())
        self.messages.add(message)

    def announce(self, message: DirectMessage, *, load: Load | None = None) -> list[Delivery]:
        """Deliver a message to whoever of both sides is subscribed."""
        deliveries: list[Delivery] = []
        for account_id in (message.sender_id, message.recipient_id):
            event = Event(
                Kind.MESSAGE,
                account_id,
                message.sender_id,
                message.created_ms,
                message.id,
                target_id=message.recipient_id,
                message=message,
            )
            deliveries += self.publish(event, load=load)
        recipient = self.people.get(message.recipient_id)
        if recipient is not None and not recipient.is_shop:
            self.customers.received(message)
        return deliveries

    def announce_later(self, message: DirectMessage) -> None:
        """Deliver a message a moment later, so that the answer of its send usually comes first."""
        asyncio.get_running_loop().call_later(self.behaviour.echo_after_s, self.announce, message)

    def sent_in_24h(self, account_id: str) -> int:
        """Count what an account sent in the last 24 hours, through whatever client."""
        return self.messages.sent_since(account_id, self.now_ms() - DAY_MS)

    # --- events

    def publish(self, event: Event, *, load: Load | None = None) -> list[Delivery]:
        """Hand an event to every webhook that is subscribed to it; invalid webhooks get nothing."""
        deliveries = []
        for webhook_id in self.subscriptions.accounts.get(event.account_id, ()):
            webhook = self.webhooks.get(webhook_id)
            if webhook is None or not webhook.valid:
                self.held += 1
                continue
            body = dump(aaa.envelope(event, self.people, APP))
            deliveries += self._hand_over(webhook, event, "aaa", body, load)
        for subscription in self.subscriptions.activity_of(event.account_id, xaa.event_type(event)):
            webhook = self.webhooks.get(subscription.webhook_id)
            if webhook is None or not webhook.valid:
                self.held += 1
                continue
            body = dump(self._activity_body(event, subscription))
            deliveries += self._hand_over(webhook, event, "xaa", body, load)
        return deliveries

    def _activity_body(self, event: Event, subscription: ActivitySubscription) -> JsonObject:
        uuid = str(self._draw.randrange(-(2**62), 2**62))
        return xaa.envelope(event, self.people, APP, uuid=uuid, filtered=subscription.filter, tag=subscription.tag)

    def _hand_over(
        self, webhook: Webhook, event: Event, envelope: EnvelopeName, body: bytes, load: Load | None
    ) -> list[Delivery]:
        copies = 2 if self._draw.random() < self.behaviour.duplicates else 1
        deliveries = [
            make(
                webhook,
                key=event.key,
                kind=event.kind,
                envelope=envelope,
                account_id=event.account_id,
                participant_id=event.participant_id,
                body=body,
                at_ms=self.now_ms(),
            )
            for _ in range(copies)
        ]
        for delivery in deliveries:
            if load is not None:
                delivery.on_settled = load.settled
            self.courier.submit(delivery)
        return deliveries

    def happen(
        self,
        kind: Kind,
        account_id: str,
        actor_id: str,
        *,
        target_id: str | None = None,
        data: JsonObject | None = None,
    ) -> Event:
        """Let something other than a message happen; the target is the account where none is given."""
        data = data or {}
        event_id = as_text(data.get("id")) or self.ids.next()
        target = account_id if target_id is None else target_id
        event = Event(kind, account_id, actor_id, self.now_ms(), event_id, target_id=target, data=data)
        self.publish(event)
        if kind is Kind.REVOKE:
            self.revoke(account_id)
        return event

    def revoke(self, account_id: str) -> None:
        """A user takes the app's access away: tokens end, subscriptions are removed."""
        self.journal.append("revoked", {"user_id": account_id})
        self.people.revoke(account_id)
        self.subscriptions.drop_user(account_id)

    # --- what customers need

    def customers_list(self) -> list[User]:
        """Return those who may write: whom no shop has blocked."""
        blocked: set[str] = set().union(*(shop.blocked for shop in self.people.shops()))
        return [customer for customer in self.people.customers() if customer.id not in blocked]

    def shops_open(self) -> list[str]:
        """Return the ids of the shops whose events somebody receives."""
        return self.subscriptions.subscribed_users()

    def act(self, kind: str, account_id: str, actor_id: str, last_read: str = "") -> None:
        """Let a customer type or read."""
        self.happen(Kind(kind), account_id, actor_id, data={"last_read_event_id": last_read})

    def add_shop(self, user_id: str, *, username: str = "", name: str = "") -> User:
        """Add a shop account (or make its tokens valid again), remembered in the journal."""
        user = self.people.add_shop(user_id, username=username, name=name)
        self.journal.append("shop", {"id": user.id, "username": user.username, "name": user.name})
        return user

    def add_customer(self, user_id: str = "", *, username: str = "", name: str = "") -> User:
        """Add a customer, remembered in the journal; one that exists is returned."""
        known = self.people.get(user_id)
        if known is not None:
            return known
        user = self.people.add_customer(user_id, username=username, name=name)
        self.journal.append("customer", {"id": user.id, "username": user.username, "name": user.name})
        return user

    def now_ms(self) -> int:
        """Return the present moment in milliseconds since 1970."""
        return millis(self.clock)
