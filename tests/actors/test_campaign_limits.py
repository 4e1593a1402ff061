"""A campaign of days on a virtual clock: no limit is ever exceeded, and people's answers never wait.

X, the actors and the test have one clock, which goes to the next moment at which somebody wants to be woken whenever
nobody has anything to do. What was sent is counted from X's own list, independently of how the budget counts.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from actors.account import AccountActor
from actors.runtime.system import LocalActors
from config.settings import Settings
from domain.account_key import AccountKey
from domain.clock import ManualClock, SystemClock
from domain.events import EventKind, XEvent
from domain.ids import new_id
from domain.ingestion import Ingestion
from domain.send_windows import CAMPAIGN, Limits, SendWindows
from storage.client import Client, Database, Document
from storage.messages import AgentMessage, Messages
from tests.actors.campaign_stage import MERCHANT, Stage, open_stage

SEND = "POST /2/dm_conversations/with/{participant_id:[0-9]+}/messages"
DAY, QUARTER_HOUR = timedelta(days=1), timedelta(minutes=15)
#: People answer this often: at another part of each quarter of an hour and of each day.
BETWEEN_ANSWERS = timedelta(minutes=97, seconds=13)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(SystemClock().now())


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings, clock: ManualClock) -> AsyncIterator[Stage]:
    async with open_stage(client, database, settings, clock=clock, limited=True) as stage:
        yield stage


def account_actors(stage: Stage) -> list[Any]:
    assert stage.host is not None
    actors = [activation.actor for activation in stage.host._activations.values()]
    return [actor for actor in actors if isinstance(actor, AccountActor)]


async def nothing_to_do(stage: Stage) -> None:
    """Wait until every actor of an account waits for a moment to come."""
    assert stage.host is not None
    while tasks := stage.host._tasks.union(*(actor._tasks for actor in account_actors(stage))):
        await asyncio.wait(tasks)


async def go_to(stage: Stage, clock: ManualClock, moment: datetime) -> None:
    """Let time pass: everything that is to be done before a moment is done at its own."""
    await nothing_to_do(stage)
    while (due := clock.next_alarm()) is not None and due <= moment:
        clock.set(due)
        await nothing_to_do(stage)
    clock.set(moment)
    await nothing_to_do(stage)


class Customer:
    """Somebody who is in no campaign and is answered by a person again and again."""

    def __init__(self, stage: Stage, account: AccountKey, conversation: Document) -> None:
        self._stage = stage
        self._account = account
        self._conversation = conversation
        self.answers: dict[str, datetime] = {}

    @classmethod
    async def of(cls, stage: Stage, account: AccountKey) -> Customer:
        stage.world.add_customer("900")
        now = stage.clock.now()
        ingestion = Ingestion(now, new_id)
        data: dict[str, object] = {"twitterMessageId": "1", "direction": "inbound", "text": "Hello?"}
        ingestion.take(account, XEvent("event", EventKind.MESSAGE, account.twitter_user_id, "900", now, data))
        (contact,), (conversation,) = ingestion.contacts.values(), ingestion.conversations.values()
        await stage.database["contacts"].insert_one(contact.document)
        await stage.database["conversations"].insert_one(conversation.document)
        return cls(stage, account, conversation.document)

    async def is_answered(self) -> None:
        """Let a person answer through the account's actor, which says at once that X has it."""
        assert self._stage.host is not None
        text = f"answer {len(self.answers)}"
        message = AgentMessage(
            id=new_id(),
            account_id=self._account.id,
            conversation_id=self._conversation["_id"],
            contact_id=self._conversation["contactId"],
            twitter_user_id="900",
            type="text",
            content=text,
            user_id="agent-1",
        )
        now = self.answers[text] = self._stage.clock.now()
        await Messages(self._stage.database).queue(MERCHANT, message, now)
        actor = LocalActors(self._stage.host).ref(AccountActor, self._account.id, timeout_s=60)
        assert await actor.deliver(message.id) == "sent"


def most_within(moments: Sequence[datetime], window: timedelta, at: Sequence[datetime]) -> int:
    """Return the largest number of `moments` in the windows that end at each of `at`."""
    return max(bisect_right(moments, end) - bisect_right(moments, end - window) for end in at)


async def first_estimate(stage: Stage) -> Document:
    async def kept() -> object:
        return await stage.database["campaignRuns"].find_one({"estimate": {"$ne": None}})

    await stage.until(kept)
    run = await stage.database["campaignRuns"].find_one({})
    assert run is not None
    return dict(run["estimate"])


async def campaign_keeps_limits(stage: Stage, clock: ManualClock, recipients: int) -> None:
    account = await stage.account()
    await stage.contacts(account, recipients)
    campaign_id = await stage.campaign()
    stage.start()
    began = clock.now()
    foreseen = SendWindows(Limits.of(stage.settings)).finish_at(began, recipients, CAMPAIGN)

    await stage.actor(campaign_id).start(MERCHANT)
    estimate = await first_estimate(stage)
    customer = await Customer.of(stage, account)
    while await stage.database["campaignLanes"].count_documents({"remaining": {"$gt": 0}}):
        assert clock.now() < began + 2 * (foreseen - began), "the campaign has come to a standstill"
        await go_to(stage, clock, clock.now() + BETWEEN_ANSWERS)
        await customer.is_answered()
    await stage.until_status(campaign_id, "completed")

    sent = [m for m in stage.world.messages.all if m.sender_id == account.twitter_user_id]
    at = {m.text: datetime.fromtimestamp(m.created_ms / 1000, began.tzinfo) for m in sent}
    moments = sorted(at.values())
    campaign = sorted(moment for text, moment in at.items() if text not in customer.answers)
    assert (len(at), len(campaign)) == (len(sent), recipients)

    # Not one too many in any window; people have a fifth of each to themselves.
    assert most_within(moments, QUARTER_HOUR, moments) <= 15
    assert most_within(moments, DAY, moments) <= 500
    assert most_within(moments, DAY, campaign) <= 400
    assert most_within(campaign, QUARTER_HOUR, campaign) == 12
    # X has refused nothing: each call of it made a message.
    assert stage.world.requests[SEND] == len(sent)

    # Every answer of a person was there when it was given, also while the campaign used all it may.
    assert {text: at[text] for text in customer.answers} == customer.answers
    assert len(customer.answers) > 2 + 10 * (recipients // 400 - 1)

    # It took the days that the limits say, and that was known from the start.
    took = campaign[-1] - began
    assert took >= DAY * ((recipients - 1) // 400)
    if recipients > 400:
        # Less than a day's share is decided by X's 15 minutes and what is left of them to people.
        assert most_within(moments, DAY, campaign) == 400
        assert abs(took - (foreseen - began)) <= 0.1 * (foreseen - began)
    assert abs(took - (estimate["estimatedCompletionAt"] - began)) <= 0.1 * took
    assert estimate["ratePerMinute"] == pytest.approx(recipients / (took / timedelta(minutes=1)), rel=0.1)


async def test_a_campaign_of_three_days_keeps_every_limit(stage: Stage, clock: ManualClock) -> None:
    await campaign_keeps_limits(stage, clock, 900)


async def test_a_campaign_of_hours_keeps_every_limit(stage: Stage, clock: ManualClock) -> None:
    await campaign_keeps_limits(stage, clock, 150)


@pytest.mark.long
async def test_a_campaign_of_eight_days_keeps_every_limit(stage: Stage, clock: ManualClock) -> None:
    await campaign_keeps_limits(stage, clock, 3_000)
