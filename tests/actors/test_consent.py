"""Nothing automatic goes to who does not want it, or not at this hour, or not so often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actors.account import AccountActor
from actors.runtime.system import LocalActors
from domain.account_key import AccountKey
from domain.events import EventKind, XEvent
from domain.ids import new_id
from storage.account_directory import AccountDirectory
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.inbox import Inbox
from storage.ingest import Ingest
from tests.actors.campaign_stage import MERCHANT, Stage


async def configure(stage: Stage, account: AccountKey, **fields: Any) -> None:
    await stage.database["accounts"].update_one({"_id": account.id}, {"$set": fields})


async def outcomes(stage: Stage, campaign_id: str) -> dict[str, tuple[str, str | None]]:
    """Return state and reason of each recipient, by contact."""
    found = await stage.recipients(campaign_id)
    return {each["contactId"]: (each["status"], each["reason"]) for each in found}


async def writes(stage: Stage, account: AccountKey, contact_id: str, text: str) -> None:
    """Let a contact's message arrive, as the webhook and the host bring it."""
    contact = await stage.database["contacts"].find_one({"_id": contact_id})
    assert contact is not None
    data: dict[str, object] = {"twitterMessageId": new_id(), "direction": "inbound", "text": text}
    user_id, now = contact["twitterUserId"], stage.clock.now()
    inbox = Inbox(stage.client, stage.database)
    await inbox.add([XEvent(new_id(), EventKind.MESSAGE, account.twitter_user_id, user_id, now, data)], now)
    erased = ErasedPeople(stage.database, stage.settings)
    ingest = Ingest(
        stage.client,
        stage.database,
        AccountDirectory(stage.database),
        stage.clock,
        erased=erased,
        flows=FlowDirectory(stage.database),
    )
    ingested = await ingest.apply(await stage.database["inbox"].find({}).to_list())
    assert stage.host is not None
    for account_id in ingested.waiting_accounts:
        await LocalActors(stage.host).ref(AccountActor, account_id, timeout_s=60).resume()


async def test_a_campaign_leaves_out_who_has_opted_out_or_is_not_to_be_reached(stage: Stage) -> None:
    account = await stage.account()
    (out,) = await stage.contacts(account, 1, consent={"state": "opted_out", "at": None, "source": "api"})
    (blocked,) = await stage.contacts(account, 1, suppression={"reason": "blocked", "at": stage.clock.now()})
    (nobody,) = await stage.contacts(account, 1)
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await outcomes(stage, campaign_id) == {
        out: ("skipped", "opted_out"),
        blocked: ("skipped", "blocked"),
        nobody: ("sent", None),
    }
    assert await stage.counts(campaign_id) == {"sent": 1, "delivered": 1, "skipped": 2}
    assert sum(stage.in_x().values()) == 1


async def test_an_account_that_requires_consent_leaves_out_who_has_not_given_any(stage: Stage) -> None:
    account = await stage.account()
    await configure(stage, account, requireConsent=True)
    (nobody,) = await stage.contacts(account, 1)
    (wrote,) = await stage.contacts(account, 1, consent={"state": "inbound", "at": None, "source": "message"})
    (agreed,) = await stage.contacts(account, 1, consent={"state": "opted_in", "at": None, "source": "form"})
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await outcomes(stage, campaign_id) == {
        nobody: ("skipped", "no_consent"),
        wrote: ("sent", None),
        agreed: ("sent", None),
    }


async def test_a_contact_gets_no_more_of_campaigns_than_the_cap(stage: Stage) -> None:
    account = await stage.account()
    await configure(stage, account, campaignMessagesPerWeek=2)
    (contact,) = await stage.contacts(account, 1)
    stage.start()
    reached = []
    for number in range(3):
        campaign_id = await stage.campaign(f"Message {number}")
        await stage.actor(campaign_id).start(MERCHANT)
        await stage.until_status(campaign_id, "completed")
        reached.append((await outcomes(stage, campaign_id))[contact])
    assert reached == [("sent", None), ("sent", None), ("skipped", "frequency_cap")]


async def test_quiet_hours_put_a_message_off_and_lose_nobody(stage: Stage) -> None:
    account = await stage.account()
    now = stage.clock.now()
    start, end = now - timedelta(hours=2), now + timedelta(hours=2)
    quiet = {"start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "timezone": "UTC"}
    await configure(stage, account, quietHours=quiet)
    (asleep,) = await stage.contacts(account, 1)
    # Twelve hours away from UTC it is not quiet.
    (awake,) = await stage.contacts(account, 1, attributes={"timezone": "Etc/GMT+12"})
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)

    async def decided() -> bool:
        due = {each["contactId"]: each for each in await stage.recipients(campaign_id)}
        return len(due) == 2 and due[awake]["status"] == "sent" and due[asleep]["dueAt"] > now + timedelta(hours=1)

    await stage.until(decided)
    (waiting,) = [each for each in await stage.recipients(campaign_id) if each["contactId"] == asleep]
    assert (waiting["status"], waiting["dueAt"]) == ("pending", end.replace(second=0, microsecond=0))
    assert (await stage.state(campaign_id))["status"] == "running"
    assert sum(stage.in_x().values()) == 1


async def test_who_opts_out_while_the_message_waits_does_not_get_it(stage: Stage) -> None:
    account = await stage.account()
    (contact,) = await stage.contacts(account, 1)
    campaign_id = await stage.campaign()
    host = stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    sent = await stage.database["messages"].find_one({"source": "campaign"})
    assert sent is not None
    # The same message once more, not begun yet, as a crash between queueing and claim leaves it.
    again = {**sent, "_id": new_id(), "twitterMessageId": None, "status": "queued", "pending": True, "attempts": 0}
    await stage.database["campaignRecipients"].update_one({}, {"$set": {"status": "queued", "open": True}})
    await stage.database["campaignLanes"].update_one({}, {"$set": {"remaining": 1}})
    await stage.database["contacts"].update_one({"_id": contact}, {"$set": {"consent.state": "opted_out"}})
    await stage.database["messages"].insert_one(again)

    assert await host.ref(AccountActor, account.id, timeout_s=60).deliver(again["_id"]) == "failed"
    stored = await stage.database["messages"].find_one({"_id": again["_id"]})
    assert stored is not None
    assert (stored["status"], stored["failure"]["reason"]) == ("failed", "opted_out")
    assert await outcomes(stage, campaign_id) == {contact: ("skipped", "opted_out")}
    (lane,) = await stage.lanes(campaign_id)
    assert lane["remaining"] == 0
    assert (await stage.counts(campaign_id))["skipped"] == 1
    assert sum(stage.in_x().values()) == 1


@pytest.mark.parametrize("source", ["flow", "bot", "agent", "consent"])
async def test_only_what_is_automatic_is_held_back_from_who_has_opted_out(stage: Stage, source: str) -> None:
    account = await stage.account()
    (contact,) = await stage.contacts(account, 1)
    host = stage.start()
    await writes(stage, account, contact, "Hello")
    await stage.database["contacts"].update_one({"_id": contact}, {"$set": {"consent.state": "opted_out"}})
    inbound = await stage.database["messages"].find_one({"direction": "inbound"})
    assert inbound is not None
    priority = {"flow": 2, "bot": 1}.get(source, 0)
    message = {**inbound, "_id": new_id(), "twitterMessageId": None, "direction": "outbound", "source": source}
    message |= {"content": "Good day", "status": "queued", "pending": True, "priority": priority, "attempts": 0}
    await stage.database["messages"].insert_one(message)
    status = await host.ref(AccountActor, account.id, timeout_s=60).deliver(message["_id"])
    automatic = source in {"flow", "bot"}
    assert status == ("failed" if automatic else "sent")
    assert sum(stage.in_x().values()) == (0 if automatic else 1)


async def test_a_stop_word_in_a_running_campaign_is_heeded_and_confirmed_once(stage: Stage) -> None:
    account = await stage.account()
    contacts = await stage.contacts(account, 40)
    last = max(contacts)
    stage.fault("slow", seconds=0.05)
    campaign_id = await stage.campaign("News")
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)

    async def under_way() -> bool:
        return len(stage.in_x()) > 3

    await stage.until(under_way)
    not_yet = {each["contactId"] for each in await stage.recipients(campaign_id) if each["status"] == "pending"}
    assert not_yet, "the campaign was over before anybody could opt out"
    who = last if last in not_yet else max(not_yet)
    await writes(stage, account, who, "STOP!")
    await writes(stage, account, who, "stop")
    await stage.until_status(campaign_id, "completed")

    assert (await outcomes(stage, campaign_id))[who] == ("skipped", "opted_out")
    assert await stage.statuses(campaign_id) == {"sent": 39, "skipped": 1}

    async def confirmed() -> bool:
        return await stage.database["messages"].count_documents({"source": "consent", "status": "sent"}) == 1

    await stage.until(confirmed)
    contact = await stage.database["contacts"].find_one({"_id": who})
    assert contact is not None
    texts = [text for user_id, text in stage.in_x().elements() if user_id == contact["twitterUserId"]]
    assert len(texts) == 1
    assert "unsubscribed" in texts[0]


async def test_x_refusing_a_contact_keeps_the_next_campaign_from_trying(stage: Stage) -> None:
    account = await stage.account()
    (contact,) = await stage.contacts(account, 1)
    stage.fault("error", status=403, code=349, count=1)
    stage.start()
    first, second = await stage.campaign("One"), await stage.campaign("Two")
    await stage.actor(first).start(MERCHANT)
    await stage.until_status(first, "completed")
    assert await outcomes(stage, first) == {contact: ("failed", "recipient_refuses_messages")}
    await stage.actor(second).start(MERCHANT)
    await stage.until_status(second, "completed")
    assert await outcomes(stage, second) == {contact: ("skipped", "blocked")}

    await writes(stage, account, contact, "I have opened my messages")
    third = await stage.campaign("Three")
    await stage.actor(third).start(MERCHANT)
    await stage.until_status(third, "completed")
    assert await outcomes(stage, third) == {contact: ("sent", None)}
