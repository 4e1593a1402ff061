"""What comes of a campaign's messages: each once a recipient, in whatever order it becomes known."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from domain.events import EventKind, XEvent
from domain.ids import new_id
from storage.account_directory import AccountDirectory
from storage.campaign_outcomes import taken_back_in
from storage.client import Document, session_of
from storage.confirmations import Confirmation, confirm_in
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.inbox import Inbox
from storage.ingest import Ingest
from tests.actors.campaign_stage import MERCHANT, Stage
from tests.storage.flow_scenes import active_flow, flow_events

_numbers = count(7_000_000_000)


def inbound(stage: Stage, user_id: str, at: datetime, text: str = "Thanks") -> XEvent:
    data: dict[str, object] = {"twitterMessageId": str(next(_numbers)), "direction": "inbound", "text": text}
    return XEvent(new_id(), EventKind.MESSAGE, stage.accounts[0].twitter_user_id, user_id, at, data)


def activity(stage: Stage, kind: EventKind, user_id: str, at: datetime) -> XEvent:
    return XEvent(new_id(), kind, stage.accounts[0].twitter_user_id, user_id, at, {})


async def happen(stage: Stage, *events: XEvent) -> None:
    """Let events arrive, and be processed."""
    inbox = Inbox(stage.client, stage.database)
    directory, erased = AccountDirectory(stage.database), ErasedPeople(stage.database, stage.settings)
    ingest = Ingest(
        stage.client, stage.database, directory, stage.clock, erased=erased, flows=FlowDirectory(stage.database)
    )
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
    await stage.until(lambda: in_x(stage))
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


async def reply_flow(stage: Stage, **config: str) -> str:
    """Return an active flow that answers to a campaign start."""
    flow = await active_flow(stage.database, "campaign_replied", merchant=MERCHANT, config=config)
    return flow["_id"]


async def starts(stage: Stage) -> list[tuple[str, str | None]]:
    """Return which flows are to start, each with the text of the message that starts it."""
    events = await flow_events(stage.database)
    ids = [event["messageId"] for event in events]
    messages = {each["_id"]: each async for each in stage.database["messages"].find({"_id": {"$in": ids}})}
    return [(event["flowId"], messages[event["messageId"]]["content"]) for event in events]


async def test_an_answer_starts_its_flow_although_the_message_is_confirmed_later(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    wanted = {await reply_flow(stage, campaignId=campaign_id), await reply_flow(stage)}
    await reply_flow(stage, campaignId="another")
    stage.fault("accept_then_slow", seconds=3)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until(lambda: in_x(stage))
    at = stage.clock.now()
    await happen(stage, inbound(stage, "2000001", at, "Is it on sale?"))
    assert await starts(stage) == []
    await stage.until_status(campaign_id, "completed")
    assert sorted(await starts(stage)) == [(flow_id, "Is it on sale?") for flow_id in sorted(wanted)]
    # What comes after it is no first answer any more.
    await happen(stage, inbound(stage, "2000001", at + timedelta(seconds=5), "Well?"))
    assert len(await starts(stage)) == 2


async def test_a_message_whose_confirmation_is_taken_back_starts_its_flow_once(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    await reply_flow(stage)
    stage.fault("accept_then_slow", seconds=3)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until(lambda: in_x(stage))
    await happen(stage, inbound(stage, "2000001", stage.clock.now()))
    await stage.until_status(campaign_id, "completed")
    assert len(await starts(stage)) == 1
    message = await stage.database["messages"].find_one({"direction": "outbound"})
    assert message is not None
    async with session_of(stage.client) as session, await session.start_transaction():
        await taken_back_in(stage.database, session, message)
        await stage.database["messages"].update_one(
            {"_id": message["_id"]}, {"$set": {"status": "unknown"}}, session=session
        )
    again = Confirmation(message["_id"], message["twitterMessageId"], message["sentAt"], "look")
    async with session_of(stage.client) as session, await session.start_transaction():
        assert await confirm_in(stage.database, session, [again], "again") != []
    assert len(await starts(stage)) == 1


async def test_a_stop_word_that_overtakes_the_confirmation_starts_nothing(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    await reply_flow(stage)
    stage.fault("accept_then_slow", seconds=3)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until(lambda: in_x(stage))
    await happen(stage, inbound(stage, "2000001", stage.clock.now(), "STOP"))
    await stage.until_status(campaign_id, "completed")
    counts = await stage.counts(campaign_id)
    assert (counts["replied"], counts["optedOut"]) == (1, 1)
    assert await starts(stage) == []


async def test_what_was_written_before_a_send_that_failed_starts_nothing(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    await reply_flow(stage)
    stage.fault("error", status=403, body={"errors": [{"code": 349, "message": "no"}]})
    await happen(stage, inbound(stage, "2000001", stage.clock.now()))
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await stage.statuses(campaign_id) == {"failed": 1}
    assert await starts(stage) == []


async def in_x(stage: Stage) -> bool:
    return bool(stage.in_x())


async def test_an_echo_that_confirms_a_message_makes_it_the_recipients(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    flow_id = await reply_flow(stage)
    stage.fault("accept_then_slow", seconds=4)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until(lambda: in_x(stage))
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
    assert await starts(stage) == [(flow_id, "Thanks")]
    await stage.until_status(campaign_id, "completed")
    assert await stage.counts(campaign_id) == {"sent": 1, "delivered": 1, "replied": 1}
    assert len(await starts(stage)) == 1


async def test_an_echo_that_comes_after_the_answer_starts_its_flow(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    campaign_id = await stage.campaign()
    flow_id = await reply_flow(stage)
    stage.fault("accept_then_slow", seconds=4)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until(lambda: in_x(stage))
    (message,) = stage.world.messages.all
    at = stage.clock.now()
    echo: dict[str, object] = {"twitterMessageId": message.id, "direction": "outbound", "text": message.shown}
    answer = inbound(stage, "2000001", at + timedelta(seconds=2))
    shop = stage.accounts[0].twitter_user_id
    seen = XEvent(new_id(), EventKind.MESSAGE, shop, "2000001", at, echo | {"isEcho": True})
    await happen(stage, answer)
    await happen(stage, seen)
    assert await starts(stage) == [(flow_id, "Thanks")]
    await stage.until_status(campaign_id, "completed")
    assert len(await starts(stage)) == 1


async def test_who_was_held_back_is_compared_with(stage: Stage) -> None:
    campaign_id = await sent_campaign(stage, 30, controlShare=0.5)
    await reply_flow(stage)
    at = stage.clock.now() + timedelta(hours=1)
    await happen(stage, *(inbound(stage, str(2_000_000 + n), at) for n in range(1, 31)))
    replied = {(each["variant"], each["repliedAt"] == at) for each in await stage.recipients(campaign_id)}
    assert replied == {("all", True), ("control", True)}
    counts = await stage.counts(campaign_id)
    assert (counts["replied"], counts["delivered"] + counts["skipped"]) == (30, 30)
    # Who got nothing has answered nothing.
    assert len(await starts(stage)) == counts["delivered"]
