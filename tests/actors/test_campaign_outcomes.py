"""What comes of a campaign's messages: each once a recipient, in whatever order it becomes known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from config.settings import Settings
from domain.events import EventKind, XEvent
from domain.ids import new_id
from storage.account_directory import AccountDirectory
from storage.client import Client, Database, Document
from storage.erased_people import ErasedPeople
from storage.inbox import Inbox
from storage.ingest import Ingest
from tests.actors.campaign_stage import MERCHANT, Stage, open_stage

_numbers = count(7_000_000_000)


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with open_stage(client, database, settings) as stage:
        yield stage


def inbound(stage: Stage, user_id: str, at: datetime, text: str = "Thanks") -> XEvent:
    data: dict[str, object] = {"twitterMessageId": str(next(_numbers)), "direction": "inbound", "text": text}
    return XEvent(new_id(), EventKind.MESSAGE, stage.accounts[0].twitter_user_id, user_id, at, data)


def activity(stage: Stage, kind: EventKind, user_id: str, at: datetime) -> XEvent:
    return XEvent(new_id(), kind, stage.accounts[0].twitter_user_id, user_id, at, {})


async def happen(stage: Stage, *events: XEvent) -> None:
    """Let events arrive, and be processed."""
    inbox = Inbox(stage.client, stage.database)
    directory, erased = AccountDirectory(stage.database), ErasedPeople(stage.database, stage.settings)
    ingest = Ingest(stage.client, stage.database, directory, stage.clock, erased=erased)
    await inbox.add(events, stage.clock.now())
    await ingest.apply(await stage.database["inbox"].find().sort("_id", 1).to_list())


async def sent_campaign(stage: Stage, people: int = 2, **changes: Any) -> str:
    await stage.contacts(await stage.account(), people)
    campaign_id = await stage.campaign(**changes)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    return campaign_id


async def recipient_of(stage: Stage, campaign_id: str, user_id: str) -> Document:
    contact = await stage.database["contacts"].find_one({"twitterUserId": user_id})
    assert contact is not None
    found = await stage.database["campaignRecipients"].find_one(
        {"campaignId": campaign_id, "contactId": contact["_id"]}
    )
    assert found is not None
    return found


async def test_an_answer_a_read_and_a_block_are_noted_once(stage: Stage) -> None:
    campaign_id = await sent_campaign(stage)
    user, later = "2000001", stage.clock.now() + timedelta(hours=1)
    for minutes in range(3):
        at = later + timedelta(minutes=minutes)
        await happen(
            stage,
            inbound(stage, user, at),
            activity(stage, EventKind.READ, user, at),
            activity(stage, EventKind.BLOCK, user, at),
        )
    recipient = await recipient_of(stage, campaign_id, user)
    assert (recipient["repliedAt"], recipient["openedAt"], recipient["blockedAt"]) == (later, later, later)
    counts = await stage.counts(campaign_id)
    assert counts == {"sent": 2, "delivered": 2, "replied": 1, "opened": 1, "blocked": 1}
    assert (await recipient_of(stage, campaign_id, "2000002"))["repliedAt"] is None


async def test_an_answer_after_its_time_is_none(stage: Stage) -> None:
    campaign_id = await sent_campaign(stage)
    late = stage.clock.now() + timedelta(hours=73)
    await happen(stage, inbound(stage, "2000001", late), activity(stage, EventKind.READ, "2000001", late))
    assert await stage.counts(campaign_id) == {"sent": 2, "delivered": 2, "opened": 1}


async def test_what_was_said_before_the_message_is_no_answer_to_it(stage: Stage) -> None:
    campaign_id = await sent_campaign(stage)
    early = stage.clock.now() - timedelta(hours=1)
    await happen(stage, inbound(stage, "2000001", early), activity(stage, EventKind.READ, "2000001", early))
    assert await stage.counts(campaign_id) == {"sent": 2, "delivered": 2}


async def test_an_answer_counts_for_every_campaign_it_may_be_to(stage: Stage) -> None:
    first = await sent_campaign(stage)
    second = await stage.campaign("Second")
    await stage.actor(second).start(MERCHANT)
    await stage.until_status(second, "completed")
    await happen(stage, inbound(stage, "2000001", stage.clock.now() + timedelta(hours=1)))
    assert (await stage.counts(first))["replied"] == (await stage.counts(second))["replied"] == 1


async def test_an_answer_that_is_known_before_the_message_is_confirmed_counts(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    fault = stage.fault("accept_then_slow", seconds=3)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)

    async def in_x() -> bool:
        return bool(stage.in_x())

    await stage.until(in_x)
    at = stage.clock.now()
    await happen(
        stage, inbound(stage, "2000001", at), activity(stage, EventKind.READ, "2000001", at + timedelta(seconds=1))
    )
    assert (await stage.statuses(campaign_id)) == {"queued": 1}
    assert fault.fired
    await stage.until_status(campaign_id, "completed")
    assert await stage.counts(campaign_id) == {"sent": 1, "delivered": 1, "replied": 1, "opened": 1}
    recipient = await recipient_of(stage, campaign_id, "2000001")
    assert (recipient["repliedAt"], recipient["openedAt"]) == (at, at + timedelta(seconds=1))


async def test_an_echo_that_confirms_a_message_makes_it_the_recipients(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    stage.fault("accept_then_slow", seconds=4)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)

    async def in_x() -> bool:
        return bool(stage.in_x())

    await stage.until(in_x)
    (message,) = stage.world.messages.all
    at = stage.clock.now()
    echo: dict[str, object] = {
        "twitterMessageId": message.id,
        "direction": "outbound",
        "text": message.shown,
        "isEcho": True,
    }
    await happen(
        stage,
        XEvent(new_id(), EventKind.MESSAGE, stage.accounts[0].twitter_user_id, "2000001", at, echo),
        inbound(stage, "2000001", at + timedelta(seconds=2)),
    )
    assert (await stage.statuses(campaign_id)) == {"sent": 1}
    await stage.until_status(campaign_id, "completed")
    assert await stage.counts(campaign_id) == {"sent": 1, "delivered": 1, "replied": 1}


async def test_who_was_held_back_is_compared_with(stage: Stage) -> None:
    campaign_id = await sent_campaign(stage, 30, controlShare=0.5)
    at = stage.clock.now() + timedelta(hours=1)
    await happen(stage, *(inbound(stage, str(2_000_000 + n), at) for n in range(1, 31)))
    replied = {(each["variant"], each["repliedAt"] == at) for each in await stage.recipients(campaign_id)}
    assert replied == {("all", True), ("control", True)}
    counts = await stage.counts(campaign_id)
    assert (counts["replied"], counts["delivered"] + counts["skipped"]) == (30, 30)
