"""Campaigns from start to end: everybody once, whatever is done to them in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from domain.errors import Conflict, InvalidRequest, NotFound
from storage.campaign_recipients import CampaignRecipients, Delay, Taken
from storage.campaign_runs import CampaignRuns, Moved
from storage.client import Session, session_of
from tests.actors.campaign_stage import MERCHANT, Stage


async def test_everybody_gets_the_message_once(stage: Stage) -> None:
    for _ in range(3):
        await stage.contacts(await stage.account(), 7)
    campaign_id = await stage.campaign("Hello {{ username }}")
    stage.start()

    await stage.actor(campaign_id).start(MERCHANT)
    done = await stage.until_status(campaign_id, "completed")

    assert await stage.statuses(campaign_id) == {"sent": 21}
    assert await stage.counts(campaign_id) == {"sent": 21, "delivered": 21}
    assert stage.in_x() == {(str(2_000_000 + n), f"Hello user{n}"): 1 for n in range(1, 22)}
    assert {lane["status"] for lane in await stage.lanes(campaign_id)} == {"done"}
    assert (done["runs"], done["completedAt"] is not None) == (1, True)


async def test_the_audience_is_any_of_the_segments_without_the_excluded(stage: Stage) -> None:
    account = await stage.account()
    both = await stage.contacts(account, 2, tags=["vip", "new"])
    await stage.contacts(account, 2, tags=["new", "never"])
    vip = await stage.contacts(account, 2, tags=["vip"])
    await stage.contacts(account, 2, tags=["other"])
    tagged = {
        tag: await stage.segment([{"field": "tags", "operator": "contains", "value": tag}])
        for tag in ("vip", "new", "never")
    }
    campaign_id = await stage.campaign(segmentIds=[tagged["vip"], tagged["new"]], excludeSegmentIds=[tagged["never"]])
    stage.start()

    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")

    assert {each["contactId"] for each in await stage.recipients(campaign_id)} == {*both, *vip}


async def test_an_audience_of_nobody_is_done_at_once(stage: Stage) -> None:
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await stage.counts(campaign_id) == {}


async def test_a_pause_holds_back_all_that_is_not_under_way(stage: Stage) -> None:
    campaign_id, actor = await stage.start_slowly(40)
    await actor.pause(MERCHANT)
    held = await stage.statuses(campaign_id)
    assert held["pending"] > 0
    # What was on its way to X when the pause was answered gets there, and nothing else.
    under_way = await stage.database["messages"].count_documents({"status": {"$in": ["sending", "unknown"]}})
    assert await stage.database["messages"].count_documents({"status": "queued"}) == 0
    before = len(stage.in_x())
    await asyncio.sleep(0.5)
    assert len(stage.in_x()) <= before + under_way

    await actor.resume(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await stage.statuses(campaign_id) == {"sent": 40}
    assert set(stage.in_x().values()) == {1}


async def test_who_has_got_nothing_by_the_cancellation_gets_nothing(stage: Stage) -> None:
    campaign_id, actor = await stage.start_slowly(40)
    await actor.cancel(MERCHANT)
    assert (await stage.state(campaign_id))["status"] == "cancelled"

    async def run_is_over() -> bool:
        run = await stage.database["campaignRuns"].find_one({"campaignId": campaign_id})
        return run is not None and run["status"] == "cancelled"

    await stage.until(run_is_over)
    statuses, counts = await stage.statuses(campaign_id), await stage.counts(campaign_id)
    assert statuses["sent"] + statuses["skipped"] == 40
    assert {each["reason"] for each in await stage.recipients(campaign_id)} == {None, "cancelled"}
    assert (counts["delivered"], counts["skipped"]) == (statuses["sent"], statuses["skipped"])
    assert len(stage.in_x()) == statuses["sent"]


async def test_each_that_fails_has_its_reason_and_can_be_tried_again(stage: Stage) -> None:
    account = await stage.account()
    contacts = await stage.contacts(account, 3)
    await stage.database["contacts"].update_one({"_id": contacts[0]}, {"$set": {"attributes": {"code": "A1"}}})
    campaign_id = await stage.campaign("Your code is {{ attributes.code }}")
    stage.start()
    actor = stage.actor(campaign_id)
    await actor.start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await stage.statuses(campaign_id) == {"sent": 1, "failed": 2}
    assert {each["reason"] for each in await stage.recipients(campaign_id)} == {None, "missing_variable"}
    assert await stage.counts(campaign_id) == {"sent": 3, "delivered": 1, "failed": 2}

    await stage.database["contacts"].update_many({}, {"$set": {"attributes": {"code": "B2"}}})
    assert await actor.retry_failed(MERCHANT) == 2
    await stage.until_status(campaign_id, "completed")
    assert await stage.statuses(campaign_id) == {"sent": 3}
    assert await stage.counts(campaign_id) == {"sent": 3, "delivered": 3}
    assert sorted(text for _, text in stage.in_x()) == ["Your code is A1", "Your code is B2", "Your code is B2"]
    assert await actor.retry_failed(MERCHANT) == 0


async def test_a_refusal_of_x_is_a_reason(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 1)
    stage.fault("error", status=403, body={"detail": "You cannot send messages to this user.", "status": 403})
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    (recipient,) = await stage.recipients(campaign_id)
    message = await stage.database["messages"].find_one({"_id": recipient["messageId"]})
    assert message is not None
    assert (recipient["status"], recipient["reason"]) == ("failed", message["failure"]["reason"])
    assert await stage.counts(campaign_id) == {"sent": 1, "failed": 1}


async def test_accepted_without_an_answer_is_sent_once_and_settled(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 6)
    stage.fault("accept_then_drop", count=3)
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    assert await stage.statuses(campaign_id) == {"sent": 6}
    assert set(stage.in_x().values()) == {1}


async def test_a_run_goes_on_after_a_crash_at_any_time(stage: Stage) -> None:
    for _ in range(2):
        await stage.contacts(await stage.account(), 30)
    stage.fault("slow", seconds=0.02, probability=0.5)
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    # Before X's first answer an account goes by the few that X is known to allow, and would stop there.
    await stage.until_each_account_has_sent()
    for _ in range(6):
        await asyncio.sleep(0.15)
        stage.kill()
        stage.start()
        await stage.resume_everything()
    await stage.until_completed(campaign_id)

    statuses, counts = await stage.statuses(campaign_id), await stage.counts(campaign_id)
    ambiguous = [each for each in await stage.recipients(campaign_id) if each["reason"] == "ambiguous"]
    assert statuses["sent"] + len(ambiguous) == 60
    assert set(stage.in_x().values()) == {1}
    assert counts["delivered"] == statuses["sent"]
    assert counts["sent"] == 60


async def test_two_campaigns_of_an_account_take_turns(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 40)
    first, second = await stage.campaign("First"), await stage.campaign("Second")
    stage.fault("slow", seconds=0.01)
    stage.start()
    await stage.actor(first).start(MERCHANT)
    await stage.actor(second).start(MERCHANT)
    await stage.until_status(first, "completed")
    await stage.until_status(second, "completed")
    texts = [m.text for m in stage.world.messages.all]
    assert len(texts) == 80
    # Neither had to wait for the end of the other.
    assert texts.index("Second") < 40
    assert "First" in texts[40:] or "Second" in texts[:40]


async def test_variants_and_a_control_group_share_the_audience(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 60)
    variants = [
        {"name": "a", "templateId": await stage.template("A"), "weight": 1},
        {"name": "b", "templateId": await stage.template("B"), "weight": 1},
    ]
    campaign_id = await stage.campaign(templateId=None, variants=variants, controlShare=0.3)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    recipients = await stage.recipients(campaign_id)
    by_variant = {name: [each for each in recipients if each["variant"] == name] for name in ("a", "b", "control")}
    assert all(by_variant.values())
    assert {each["status"] for each in by_variant["control"]} == {"skipped"}
    assert {each["reason"] for each in by_variant["control"]} == {"control"}
    texts = [text for _, text in stage.in_x().elements()]
    assert (texts.count("A"), texts.count("B")) == (len(by_variant["a"]), len(by_variant["b"]))
    contact = await stage.database["contacts"].find_one({"_id": by_variant["control"][0]["contactId"]})
    assert contact is not None
    assert contact["recentCampaigns"][0]["variant"] == "control"


@pytest.mark.parametrize("move", ["pause", "resume", "cancel", "unschedule"])
async def test_what_a_draft_can_not_do_is_a_conflict(stage: Stage, move: str) -> None:
    campaign_id = await stage.campaign()
    stage.start()
    with pytest.raises(Conflict):
        await getattr(stage.actor(campaign_id), move)(MERCHANT)
    assert (await stage.state(campaign_id))["status"] == "draft"


async def test_a_campaign_of_another_merchant_is_not_found(stage: Stage) -> None:
    campaign_id = await stage.campaign()
    stage.start()
    for move in ("start", "pause", "resume", "cancel", "unschedule", "retry_failed", "schedule_changed"):
        with pytest.raises(NotFound):
            await getattr(stage.actor(campaign_id), move)("merchant-2")


@pytest.mark.parametrize("changes", [{"segmentIds": []}, {"templateId": "nothing"}, {"templateId": None}])
async def test_a_campaign_that_can_not_be_sent_is_not_started(stage: Stage, changes: dict[str, object]) -> None:
    campaign_id = await stage.campaign(**changes)
    stage.start()
    with pytest.raises(InvalidRequest):
        await stage.actor(campaign_id).start(MERCHANT)
    assert (await stage.state(campaign_id))["status"] == "draft"


async def test_a_time_to_come_is_kept_and_can_be_given_up(stage: Stage) -> None:
    start_at = stage.clock.now() + timedelta(days=1)
    schedule = {"startAt": start_at, "endAt": None, "recurrence": None, "timezone": "UTC"}
    campaign_id = await stage.campaign(schedule=schedule)
    stage.start()
    actor = stage.actor(campaign_id)
    await actor.start(MERCHANT)
    scheduled = await stage.state(campaign_id)
    assert (scheduled["status"], scheduled["nextRunAt"]) == ("scheduled", start_at)
    assert await stage.database["reminders"].count_documents({"key": campaign_id, "dueAt": start_at}) == 1
    await actor.on_reminder("run", {})
    assert (await stage.state(campaign_id))["status"] == "scheduled"
    await actor.unschedule(MERCHANT)
    assert (await stage.state(campaign_id))["status"] == "draft"
    assert await stage.database["reminders"].count_documents({"key": campaign_id}) == 0


async def test_a_time_that_has_come_starts_the_run(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 2)
    campaign_id = await stage.campaign()
    stage.start()
    due = stage.clock.now() - timedelta(minutes=5)
    await stage.database["campaigns"].update_one(
        {"_id": campaign_id}, {"$set": {"status": "scheduled", "nextRunAt": due}}
    )
    await stage.actor(campaign_id).on_reminder("run", {})
    await stage.actor(campaign_id).on_reminder("run", {})
    await stage.until_status(campaign_id, "completed")
    assert set(stage.in_x().values()) == {1}
    assert await stage.database["campaignRuns"].count_documents({}) == 1


async def test_a_time_that_was_missed_waits_for_a_person(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 2)
    campaign_id = await stage.campaign()
    stage.start()
    due = stage.clock.now() - timedelta(hours=2)
    await stage.database["campaigns"].update_one(
        {"_id": campaign_id}, {"$set": {"status": "scheduled", "nextRunAt": due}}
    )
    await stage.actor(campaign_id).on_reminder("run", {})
    missed = await stage.state(campaign_id)
    assert (missed["status"], missed["statusReason"]) == ("scheduled", "missed")
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")


async def test_each_time_of_a_rule_is_a_run_of_its_own(stage: Stage) -> None:
    await stage.contacts(await stage.account(), 2)
    now = stage.clock.now()
    schedule = {
        "startAt": now - timedelta(minutes=1),
        "endAt": None,
        "recurrence": "FREQ=DAILY;COUNT=2",
        "timezone": "Europe/Berlin",
    }
    campaign_id = await stage.campaign(schedule=schedule)
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)

    async def first_run_is_over() -> bool:
        return await stage.database["campaignRuns"].count_documents({"status": "completed"}) == 1

    await stage.until(first_run_is_over)
    between = await stage.state(campaign_id)
    assert between["status"] == "running"
    assert between["nextRunAt"] is not None
    assert between["nextRunAt"] > now

    await stage.database["campaigns"].update_one({"_id": campaign_id}, {"$set": {"nextRunAt": now}})
    await stage.actor(campaign_id).on_reminder("run", {})

    async def twice() -> bool:
        return set(stage.in_x().values()) == {2}

    await stage.until(twice)


async def begun(stage: Stage, people: int) -> tuple[str, str]:
    """Let a campaign be over that could be rendered for nobody, as it could be now; returns its id and its run's."""
    await stage.contacts(await stage.account(), people)
    campaign_id = await stage.campaign("Your code is {{ attributes.code }}")
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)
    await stage.until_status(campaign_id, "completed")
    stage.kill()
    run_id = (await stage.state(campaign_id))["runId"]
    assert run_id is not None
    await stage.database["contacts"].update_many({}, {"$set": {"attributes": {"code": "A1"}}})
    return campaign_id, run_id


async def wait_again(stage: Stage, run_id: str) -> None:
    """Do the first half of trying the failed again: the recipients wait."""
    runs = CampaignRuns(stage.client, stage.database)
    run = await runs.run(run_id)
    assert run is not None
    recipients = CampaignRecipients(stage.client, stage.database)
    assert await recipients.retry_failed(run, [], stage.clock.now()) == 3


@pytest.mark.parametrize("left", ["waiting", "paused", "done"])
async def test_lanes_that_a_crash_has_left_idle_are_started(stage: Stage, left: str) -> None:
    campaign_id, run_id = await begun(stage, 3)
    await wait_again(stage, run_id)
    await stage.database["campaignLanes"].update_many({}, {"$set": {"status": left}})
    await stage.database["campaignRuns"].update_many({}, {"$set": {"status": "running"}})
    await stage.database["campaigns"].update_many({}, {"$set": {"status": "running"}})
    stage.start()
    await stage.until_completed(campaign_id)
    assert await stage.statuses(campaign_id) == {"sent": 3}


async def test_trying_again_that_was_cut_off_can_be_repeated(stage: Stage) -> None:
    campaign_id, run_id = await begun(stage, 3)
    await wait_again(stage, run_id)
    stage.start()
    await stage.actor(campaign_id).retry_failed(MERCHANT)

    async def all_sent() -> bool:
        return await stage.statuses(campaign_id) == {"sent": 3}

    await stage.until(all_sent)
    await stage.until_status(campaign_id, "completed")


async def test_a_run_ends_with_its_campaign_or_not_at_all(stage: Stage) -> None:
    campaign_id, run_id = await begun(stage, 1)
    runs = CampaignRuns(stage.client, stage.database)
    await runs.reopen(run_id)
    known = await stage.state(campaign_id)
    await runs.move(known, {"status": "running"})
    with pytest.raises(Moved):
        await runs.end(run_id, "completed", stage.clock.now(), known=known, fields={"status": "completed"})
    run = await runs.run(run_id)
    assert run is not None
    assert (run["status"], (await stage.state(campaign_id))["status"]) == ("running", "running")


async def test_nobody_is_taken_while_a_lane_is_being_paused(stage: Stage) -> None:
    _, run_id = await begun(stage, 3)
    await wait_again(stage, run_id)
    lanes = stage.database["campaignLanes"]
    await lanes.update_many({}, {"$set": {"status": "active"}})
    [lane] = await CampaignRuns(stage.client, stage.database).active_lanes(stage.accounts[0].id)
    recipients = CampaignRecipients(stage.client, stage.database)
    begins = asyncio.Event()

    async def pause(session: Session) -> None:
        await lanes.update_one({"_id": lane.id}, {"$set": {"status": "paused"}}, session=session)
        begins.set()
        await asyncio.sleep(0.3)

    async def take() -> Taken | None:
        await begins.wait()
        now = stage.clock.now()
        return await recipients.take(lane, 8, now, lambda found: [Delay(each, now) for each in found.recipients])

    async with session_of(stage.client) as session:
        _, taken = await asyncio.gather(session.with_transaction(pause), take())
    assert taken is None
    assert await recipients.next_due(lane) is not None


async def test_an_account_that_x_refuses_holds_its_recipients_and_the_campaign_says_why(stage: Stage) -> None:
    account = await stage.account()
    await stage.contacts(account, 12)
    fault = stage.fault("error", status=403, body={"errors": [{"code": 326, "message": "locked"}]}, count=1)
    campaign_id = await stage.campaign()
    stage.start()
    await stage.actor(campaign_id).start(MERCHANT)

    async def says_why() -> bool:
        return (await stage.state(campaign_id))["statusReason"] == "account_locked"

    await stage.until(says_why)
    assert fault.fired == 1

    async def given_back() -> bool:
        return await stage.database["messages"].count_documents({"pending": True}) == 0

    await stage.until(given_back)
    held = await stage.statuses(campaign_id)
    assert (held["failed"], held["pending"] + held.get("sent", 0)) == (1, 11)

    # A person puts the account in order.
    await stage.database["accounts"].update_one({"_id": account.id}, {"$set": {"status": "active"}})
    stage.kill()
    await stage.database["accountActors"].update_one({"_id": account.id}, {"$set": {"state.blockedUntil": 0}})
    stage.start()
    await stage.until_completed(campaign_id)
    assert await stage.statuses(campaign_id) == {"failed": 1, "sent": 11}
    assert set(stage.in_x().values()) == {1}
