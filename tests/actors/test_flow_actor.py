"""The actor of a flow on a real database: schedules, segments, cancelling, and what a crash leaves of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from actors import flow as flow_module
from config.settings import Settings
from domain.errors import Unavailable
from storage.client import Client, Database
from storage.flow_documents import FlowDocument
from tests.actors.desk import failing
from tests.actors.flow_actor_stage import MORNING, FlowActorStage
from tests.storage.flow_scenes import add_flow

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[FlowActorStage]:
    stage = FlowActorStage(client, database, settings)
    stage.start()
    yield stage
    await stage.stop()


async def scheduled(stage: FlowActorStage, **fields: Any) -> FlowDocument:
    config = {"segmentId": await stage.segment(), "startAt": (MORNING + HOUR).isoformat(), **fields.pop("config", {})}
    return await stage.activate(await add_flow(stage.database, "schedule", config=config, **fields))


async def by_segment(stage: FlowActorStage, **fields: Any) -> FlowDocument:
    config = {"segmentId": await stage.segment(fields.pop("conditions", None))}
    return await stage.activate(await add_flow(stage.database, "segment_entered", config=config, **fields))


async def begun(stage: FlowActorStage, least: int) -> None:
    """Return once a flow was started for some contacts."""

    async def has_begun() -> bool:
        return await stage.database["flowEvents"].count_documents({}) >= least

    await stage.until(has_begun)


async def look_again(stage: FlowActorStage, flow: FlowDocument) -> list[str]:
    """Let the next comparison of a segment come; returns for whom the flow was started."""
    stage.clock.set(stage.clock.now() + MINUTE)
    await stage.idle(flow["_id"])
    return await stage.started(flow["_id"])


# --- schedule


async def test_a_flow_comes_at_its_time_for_each_contact_of_its_segment(stage: FlowActorStage) -> None:
    vips = await stage.people(3, "vip")
    await stage.people(2)
    flow = await scheduled(stage)
    await stage.actor(flow["_id"]).changed()
    await stage.idle(flow["_id"])
    await stage.remind()
    assert await stage.started(flow["_id"]) == []
    stage.clock.set(MORNING + HOUR)
    await stage.remind()
    await stage.idle(flow["_id"])
    (event,) = await stage.database["flowEvents"].find({"contactId": vips[0]}).to_list()
    assert (event["version"], event["accountId"], event["at"], event["depth"]) == (1, "account-1", MORNING + HOUR, 0)
    assert await stage.started(flow["_id"]) == vips
    stage.clock.set(MORNING + 30 * HOUR)
    await stage.remind()
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == []
    assert await stage.database["reminders"].count_documents({}) == 0


async def test_a_rule_comes_again_in_its_time_zone(stage: FlowActorStage) -> None:
    vips = await stage.people(1, "vip")
    flow = await scheduled(stage, config={"recurrence": "FREQ=DAILY;COUNT=2", "timezone": "Europe/Berlin"})
    await stage.idle(flow["_id"])
    for day in (0, 1):
        stage.clock.set(MORNING + timedelta(days=day) + HOUR)
        await stage.remind()
        await stage.idle(flow["_id"])
        assert await stage.started(flow["_id"]) == vips
    assert (await stage.work(flow["_id"]) or {})["dueAt"] is None


async def test_a_flow_of_an_account_comes_for_its_contacts_only(stage: FlowActorStage) -> None:
    await stage.people(1, "vip")
    others = await stage.people(2, "vip", account="account-2")
    flow = await scheduled(stage, accountId="account-2")
    await stage.idle(flow["_id"])
    stage.clock.set(MORNING + HOUR)
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == others


async def test_a_time_before_the_activation_is_over(stage: FlowActorStage) -> None:
    await stage.people(1, "vip")
    flow = await scheduled(stage, config={"startAt": MORNING.isoformat()})
    stage.clock.set(MORNING + HOUR)
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == []


@pytest.mark.parametrize("late", [0.9, 1.1])
async def test_after_a_standstill_a_time_is_caught_up_with_unless_it_is_too_late(
    stage: FlowActorStage, late: float
) -> None:
    vips = await stage.people(1, "vip")
    flow = await scheduled(stage, config={"recurrence": "FREQ=DAILY"})
    await stage.idle(flow["_id"])
    await stage.kill()
    stage.clock.set(MORNING + HOUR + late * timedelta(seconds=stage.settings.campaign_misfire_grace_s))
    stage.start()
    await stage.remind()
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == (vips if late < 1 else [])
    stage.clock.set(MORNING + HOUR + timedelta(days=1))
    await stage.remind()
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == vips


async def test_an_occurrence_that_is_cut_off_goes_on_and_starts_everybody_once(
    stage: FlowActorStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "_BATCH", 3)
    vips = await stage.people(20, "vip")
    flow = await scheduled(stage)
    await stage.idle(flow["_id"])
    stage.clock.set(MORNING + HOUR)
    for stops in range(4):
        await stage.actor(flow["_id"]).follow()
        await begun(stage, 3 * stops + 1)
        await stage.kill()
        stage.start()
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == vips


async def test_a_second_actor_of_a_flow_starts_nobody_twice(
    stage: FlowActorStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "_BATCH", 3)
    vips = await stage.people(30, "vip")
    flow = await scheduled(stage)
    await stage.idle(flow["_id"])
    stage.clock.set(MORNING + HOUR)
    first = stage.actor(flow["_id"])
    stage.start()
    await asyncio.gather(first.follow(), stage.actor(flow["_id"]).follow())
    await stage.idle(flow["_id"])

    async def is_over() -> bool:
        return (await stage.work(flow["_id"]) or {})["occurrence"] is None

    await stage.until(is_over)
    assert await stage.started(flow["_id"]) == vips


async def test_a_deactivated_flow_comes_no_more_and_a_new_activation_counts_from_itself(stage: FlowActorStage) -> None:
    vips = await stage.people(1, "vip")
    flow = await scheduled(stage, config={"recurrence": "FREQ=DAILY"})
    await stage.idle(flow["_id"])
    inactive = await stage.deactivate(flow["_id"])
    await stage.idle(flow["_id"])
    assert await stage.work(flow["_id"]) is None
    assert await stage.database["reminders"].count_documents({}) == 0
    stage.clock.set(MORNING + 2 * HOUR)
    await stage.activate(inactive)
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == []
    stage.clock.set(MORNING + HOUR + timedelta(days=1))
    await stage.remind()
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == vips


# --- segment


async def test_who_is_in_a_segment_already_has_not_entered_it(stage: FlowActorStage) -> None:
    await stage.people(3, "vip")
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    assert await look_again(stage, flow) == []
    assert await stage.database["segmentMembers"].count_documents({"flowId": flow["_id"]}) == 3


async def test_who_enters_starts_the_flow_and_who_enters_again_starts_it_again(stage: FlowActorStage) -> None:
    [early, late, never] = await stage.people(3)
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    await stage.tag([early], "vip")
    assert await look_again(stage, flow) == [early]
    assert await look_again(stage, flow) == []
    await stage.tag([early])
    await stage.tag([late], "vip")
    assert await look_again(stage, flow) == [late]
    members = await stage.database["segmentMembers"].find().to_list()
    assert [(each["contactId"], each["merchantId"]) for each in members] == [(late, "m1")]
    await stage.tag([early], "vip")
    [new] = await stage.people(1, "vip")
    assert await look_again(stage, flow) == [early, new]
    assert never not in await look_again(stage, flow)


async def test_a_segment_is_looked_at_in_intervals(stage: FlowActorStage) -> None:
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    [contact] = await stage.people(1, "vip")
    stage.clock.set(MORNING + timedelta(seconds=59))
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == []
    stage.clock.set(MORNING + timedelta(seconds=60))
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == [contact]


async def test_a_segment_that_takes_long_is_looked_at_less_often(stage: FlowActorStage) -> None:
    actor: Any = stage.actor("any")
    await actor.follow()
    held = stage.held("any")
    assert held._rest(timedelta(seconds=1)) == timedelta(seconds=60)
    assert held._rest(timedelta(seconds=30)) == timedelta(seconds=600)


async def test_a_change_among_many_is_found_part_by_part(
    stage: FlowActorStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 contacts, of whom no more than a part is in memory at once."""
    contacts = await stage.people(10_000, "vip")
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    assert await stage.database["segmentMembers"].count_documents({}) == 10_000
    left, entered = contacts[3::1000], await stage.people(5, "vip")
    await stage.tag(left)
    held, asked = stage.held(flow["_id"]), list[int]()
    audience = held._services.audience
    page = audience.page

    async def watched(query: Any, after: str, most: int) -> Any:
        found = await page(query, after, most)
        asked.append(len(found))
        return found

    monkeypatch.setattr(audience, "page", watched)
    assert await look_again(stage, flow) == entered
    assert max(asked) == 1_000
    assert await stage.database["segmentMembers"].count_documents({}) == 9_995
    await stage.tag(left, "vip")
    assert await look_again(stage, flow) == left


async def test_a_comparison_that_is_cut_off_goes_on(stage: FlowActorStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "_BATCH", 5)
    contacts = await stage.people(40)
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    await stage.tag(contacts, "vip")
    stage.clock.set(MORNING + MINUTE)
    await stage.actor(flow["_id"]).follow()
    await begun(stage, 6)
    await stage.kill()
    stage.start()
    await stage.idle(flow["_id"])
    assert await stage.started(flow["_id"]) == contacts


async def test_a_new_activation_begins_with_who_is_there_then(stage: FlowActorStage) -> None:
    contacts = await stage.people(2, "vip")
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    await stage.tag(contacts)
    inactive = await stage.deactivate(flow["_id"])
    await stage.idle(flow["_id"])
    assert await stage.database["segmentMembers"].count_documents({}) == 0
    await stage.tag(contacts, "vip")
    stage.clock.set(MORNING + HOUR)
    await stage.activate(inactive)
    await stage.idle(flow["_id"])
    assert await look_again(stage, flow) == []


async def test_a_segment_that_can_not_be_asked_about_waits_for_people(
    stage: FlowActorStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "_RETRY_WRONG_S", 0.01)
    flow = await by_segment(stage, conditions=[{"field": "tags", "operator": "no_such", "value": 1}])
    await stage.actor(flow["_id"]).follow()
    await asyncio.sleep(0.1)
    assert stage.held(flow["_id"]).busy()
    right = [{"field": "tags", "operator": "contains", "value": "vip"}]
    await stage.database["segments"].update_one({}, {"$set": {"conditions": right}})
    await stage.idle(flow["_id"])
    [contact] = await stage.people(1, "vip")
    assert await look_again(stage, flow) == [contact]


# --- cancelling


async def running(stage: FlowActorStage, flow: FlowDocument, count: int) -> list[str]:
    ids = [f"execution-{number:04}" for number in range(count)]
    await stage.database["flowExecutions"].insert_many(
        {
            "_id": each,
            "merchantId": "m1",
            "accountId": "account-1",
            "contactId": f"contact-{each}",
            "flowId": flow["_id"],
            "version": 1,
            "status": "running",
            "startedAt": MORNING,
        }
        for each in ids
    )
    return ids


async def asked_to_cancel(stage: FlowActorStage) -> list[str]:
    events = await stage.database["flowEvents"].find({"kind": "cancel"}).sort("executionId", 1).to_list()
    assert all(f"|{each['contactId']}|cancel|{each['executionId']}" in each["_id"] for each in events)
    return [each["executionId"] for each in events]


async def test_everything_that_is_under_way_is_asked_to_end(stage: FlowActorStage) -> None:
    flow = await stage.activate(await add_flow(stage.database, "manual"))
    ids = await running(stage, flow, 1_200)
    await stage.database["flowExecutions"].update_one({"_id": ids[0]}, {"$set": {"status": "completed"}})
    waiting = {"kind": "start", "flowId": flow["_id"], "at": MORNING, "contactId": "c"}
    await stage.database["flowEvents"].insert_many([{"_id": "s1", **waiting}, {"_id": "s2", **waiting, "flowId": "o"}])
    await stage.deactivate(flow["_id"])
    await stage.actor(flow["_id"]).cancel_running()

    async def all_are_asked() -> bool:
        return len(await asked_to_cancel(stage)) == 1_199

    await stage.until(all_are_asked)
    assert await asked_to_cancel(stage) == ids[1:]
    # What has not begun does not begin; another flow's does.
    assert await stage.database["flowEvents"].distinct("_id", {"kind": "start"}) == ["s2"]
    stage.clock.set(MORNING + MINUTE)
    await stage.idle(flow["_id"])

    async def is_over() -> bool:
        return await stage.work(flow["_id"]) is None

    await stage.until(is_over)


async def test_cancelling_is_not_forgotten_in_a_crash(stage: FlowActorStage) -> None:
    flow = await stage.activate(await add_flow(stage.database, "manual"))
    await stage.deactivate(flow["_id"])
    await stage.actor(flow["_id"]).cancel_running()
    await stage.kill()
    # A host that had not heard of the deactivation began these.
    ids = await running(stage, flow, 3)
    stage.start()
    stage.clock.set(MORNING + MINUTE)
    await stage.idle(flow["_id"])

    async def all_are_asked() -> bool:
        return await asked_to_cancel(stage) == ids

    await stage.until(all_are_asked)


async def test_what_begins_after_a_new_activation_is_not_cancelled(stage: FlowActorStage) -> None:
    flow = await stage.activate(await add_flow(stage.database, "manual"))
    inactive = await stage.deactivate(flow["_id"])
    await stage.actor(flow["_id"]).cancel_running()
    await stage.kill()
    stage.clock.set(MORNING + HOUR)
    await stage.activate(inactive)
    ids = await running(stage, flow, 2)
    late = {"startedAt": MORNING + HOUR}
    await stage.database["flowExecutions"].update_one({"_id": ids[1]}, {"$set": late})
    stage.start()
    await stage.idle(flow["_id"])
    assert await asked_to_cancel(stage) == ids[:1]


async def test_cancelling_that_can_not_be_noted_is_refused(stage: FlowActorStage) -> None:
    flow = await stage.activate(await add_flow(stage.database, "manual"))
    async with failing(stage.client, ["insert"], "alwaysOn", errorCode=11601):
        with pytest.raises(Unavailable):
            await stage.actor(flow["_id"]).cancel_running()


async def test_a_flow_that_is_gone_leaves_nothing(stage: FlowActorStage) -> None:
    await stage.people(2, "vip")
    flow = await by_segment(stage)
    await stage.idle(flow["_id"])
    await stage.database["flows"].delete_one({"_id": flow["_id"]})
    await stage.actor(flow["_id"]).changed()
    await stage.idle(flow["_id"])
    for name in ("segmentMembers", "flowWork", "reminders"):
        assert await stage.database[name].count_documents({}) == 0
