from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from domain.errors import Conflict, InvalidRequest, Problem
from domain.ids import new_id
from storage import campaign_reports
from storage.campaigns import CampaignFields
from storage.client import Collection, Document, aggregated
from tests.gateway.campaigns import campaign, counted, in_state, lane, recipient, run, segment, template
from tests.gateway.conftest import NOW, Actors, Api

NOTHING = {"totalSent": 0, "delivered": 0, "opened": 0, "clicked": 0, "replied": 0, "failed": 0}
SCHEDULE = {"startAt": "2026-01-20T10:00:00Z", "endAt": None, "recurrence": None}


async def seed(api: Api, **fields: object) -> dict[str, Any]:
    """Return the API document's example of a campaign."""
    return {
        "name": "January Promotion",
        "type": "promotional",
        "templateId": await template(api),
        "segmentIds": [await segment(api), await segment(api)],
        "schedule": SCHEDULE,
    } | fields


# --- create


async def test_a_campaign_is_made_as_the_api_document_has_it(api: Api) -> None:
    body = await seed(api)
    status, answer = await api.post("/campaigns", body)
    data = answer["data"]
    assert status == 200
    assert {name: data[name] for name in body} == body | {"schedule": SCHEDULE | {"timezone": "UTC"}}
    assert (data["merchantId"], data["status"], data["metrics"]) == (api.merchant_id, "draft", NOTHING)
    assert data["progress"] == {
        "total": 0,
        "done": 0,
        "remaining": 0,
        "ratePerMinute": None,
        "estimatedCompletionAt": None,
    }
    assert (data["runs"], data["runId"], data["nextRunAt"], data["startedAt"], data["completedAt"]) == (0, *[None] * 4)
    _, again = await api.get(f"/campaigns/{data['id']}")
    assert again["data"] == data


async def test_what_is_not_given_is_nothing(api: Api) -> None:
    data = await campaign(api)
    assert data["schedule"] == {"startAt": None, "endAt": None, "recurrence": None, "timezone": "UTC"}
    assert (data["segmentIds"], data["excludeSegmentIds"], data["variables"], data["variants"]) == ([], [], {}, [])
    assert (data["controlShare"], data["accountId"], data["statusReason"]) == (0, None, None)


async def test_a_campaign_keeps_all_that_it_is_given(api: Api) -> None:
    given: dict[str, object] = {
        "type": "engagement",
        "excludeSegmentIds": [await segment(api)],
        "schedule": {
            "startAt": "2026-01-20T10:00:00Z",
            "endAt": "2026-03-20T10:00:00Z",
            "recurrence": "FREQ=WEEKLY;BYDAY=MO",
            "timezone": "Asia/Ho_Chi_Minh",
        },
        "variables": {"discount_code": "SUMMER10", "percent": 10, "factor": 0.5, "is_new": True},
        "variants": [
            {"name": "short", "templateId": await template(api), "weight": 2},
            {"name": "long", "templateId": await template(api), "weight": 1},
        ],
        "controlShare": 0.1,
        "accountId": await api.account(),
    }
    data = await campaign(api, **given)
    assert {name: data[name] for name in given} == given
    assert data["templateId"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"type": "spam"}, "type"),
        ({"type": None}, "type"),
        ({"templateId": "unknown"}, "templateId"),
        ({"templateId": None}, "body"),
        ({"templateId": {"$gt": ""}}, "templateId"),
        ({"segmentIds": ["unknown"]}, "segmentIds.0"),
        ({"segmentIds": ["a", "a"]}, "segmentIds"),
        ({"segmentIds": [str(n) for n in range(51)]}, "segmentIds"),
        ({"excludeSegmentIds": ["unknown"]}, "excludeSegmentIds.0"),
        ({"accountId": "unknown"}, "accountId"),
        ({"schedule": {"startAt": "tomorrow"}}, "schedule.startAt"),
        ({"schedule": {"startAt": "2026-01-20T10:00:00Z", "endAt": "2026-01-20T10:00:00Z"}}, "schedule.endAt"),
        ({"schedule": {"recurrence": "FREQ=DAILY"}}, "schedule.startAt"),
        ({"schedule": SCHEDULE | {"recurrence": "every day"}}, "schedule.recurrence"),
        ({"schedule": SCHEDULE | {"timezone": "Mars/Olympus"}}, "schedule.timezone"),
        ({"variables": {"a code": "x"}}, "variables.a code"),
        ({"variables": {"code": {"$gt": ""}}}, "variables.code"),
        ({"variables": {"code": ["x"]}}, "variables.code"),
        ({"controlShare": 0.51}, "controlShare"),
        ({"controlShare": -0.1}, "controlShare"),
        ({"status": "running"}, "status"),
        ({"metrics": {}}, "metrics"),
        ({"merchantId": "another"}, "merchantId"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(api: Api, change: dict[str, object], field: str) -> None:
    status, answer = await api.post("/campaigns", await seed(api) | change)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"].startswith(field)
    assert (await api.get("/campaigns"))[1]["data"] == []


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (["only"], "variants"),
        (["a", "a"], "variants"),
        (["a", "control"], "variants.1.name"),
        (["a", "all"], "variants.1.name"),
        (["a", "b", "c", "d", "e", "f"], "variants"),
        (["a", "b c"], "variants.1.name"),
    ],
)
async def test_variants_are_two_to_five_with_names_of_their_own(api: Api, names: list[str], field: str) -> None:
    template_id = await template(api)
    variants = [{"name": name, "templateId": template_id} for name in names]
    status, answer = await api.post("/campaigns", {"name": "A", "type": "promotional", "variants": variants})
    assert (status, answer["details"]["field"]) == (422, field)


async def test_a_campaign_has_a_template_or_variants(api: Api) -> None:
    template_id = await template(api)
    variants = [{"name": name, "templateId": template_id} for name in "ab"]
    body = {"name": "A", "type": "promotional", "templateId": template_id, "variants": variants}
    assert (await api.post("/campaigns", body))[0] == 422
    assert (await api.post("/campaigns", {"name": "A", "type": "promotional"}))[0] == 422


async def test_everything_that_does_not_exist_is_named(api: Api) -> None:
    variants = [{"name": "a", "templateId": await template(api)}, {"name": "b", "templateId": "unknown"}]
    body = await seed(api, variants=variants, segmentIds=[await segment(api), "unknown"], accountId="unknown")
    del body["templateId"]
    status, answer = await api.post("/campaigns", body)
    assert status == 422
    named = [each["field"] for each in answer["details"]["errors"]]
    assert named == ["variants.1.templateId", "segmentIds.1", "accountId"]


async def test_another_merchants_template_segment_and_account_do_not_exist(api: Api) -> None:
    stranger = api.other_merchant()
    theirs = {"templateId": await template(stranger), "segmentIds": [await segment(stranger)]}
    status, answer = await api.post("/campaigns", await seed(api, **theirs, accountId=await stranger.account()))
    assert status == 422
    assert [each["field"] for each in answer["details"]["errors"]] == ["templateId", "segmentIds.0", "accountId"]


async def test_the_same_key_makes_one_campaign(api: Api) -> None:
    body, key = await seed(api), {"Idempotency-Key": new_id()}
    _, first = await api.post("/campaigns", body, headers=key)
    _, again = await api.post("/campaigns", body, headers=key)
    assert first == again
    assert (await api.get("/campaigns"))[1]["pagination"]["total"] == 1


# --- list


async def test_campaigns_are_listed_newest_first_and_filtered(api: Api) -> None:
    first = await campaign(api, name="Spring sale")
    second = await campaign(api, name="Été à Nice", type="transactional")
    third = await campaign(api, name="summer (50%)", type="engagement")
    await in_state(api, second["id"], "running")
    for query, expected in (
        ("", [third, second, first]),
        ("?status=draft", [third, first]),
        ("?status=running", [second]),
        ("?status=cancelled", []),
        ("?type=transactional", [second]),
        ("?type=transactional&status=draft", []),
        ("?search=ete", [second]),
        ("?search=(50%25)", [third]),
        ("?take=1&skip=1", [second]),
    ):
        status, answer = await api.get(f"/campaigns{query}")
        assert status == 200
        assert [each["id"] for each in answer["data"]] == [each["id"] for each in expected], query


@pytest.mark.parametrize("query", ["status=sleeping", "type=spam", "take=101", "colour=red"])
async def test_an_unknown_filter_is_refused(api: Api, query: str) -> None:
    status, answer = await api.get(f"/campaigns?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


async def test_a_list_carries_the_numbers_of_each(api: Api) -> None:
    one, two = await campaign(api), await campaign(api)
    await counted(api, one["id"], sent=3, delivered=2, failed=1)
    await counted(api, one["id"], sent=7, delivered=7, opened=4, clicked=2, replied=1)
    await counted(api, two["id"], sent=1, delivered=1)
    estimate = {"ratePerMinute": 2.5, "estimatedCompletionAt": NOW, "at": NOW}
    run_id = await run(api, one["id"], total=10, remaining=4, estimate=estimate)
    await lane(api, one["id"], run_id, 20, 6)
    _, answer = await api.get("/campaigns")
    shown = {each["id"]: each for each in answer["data"]}
    assert shown[one["id"]]["metrics"] == {
        "totalSent": 10,
        "delivered": 9,
        "opened": 4,
        "clicked": 2,
        "replied": 1,
        "failed": 1,
    }
    assert shown[one["id"]]["progress"] == {
        "total": 30,
        "done": 20,
        "remaining": 10,
        "ratePerMinute": 2.5,
        "estimatedCompletionAt": "2026-01-18T10:00:00Z",
    }
    assert shown[two["id"]]["metrics"] == NOTHING | {"totalSent": 1, "delivered": 1}
    assert shown[two["id"]]["progress"]["total"] == 0


async def test_what_is_over_goes_at_no_rate_any_more(api: Api) -> None:
    known = await campaign(api)
    await run(api, known["id"], total=10, estimate={"ratePerMinute": 2.5, "estimatedCompletionAt": NOW, "at": NOW})
    _, answer = await api.get(f"/campaigns/{known['id']}")
    progress = answer["data"]["progress"]
    assert (progress["total"], progress["remaining"]) == (10, 0)
    assert (progress["ratePerMinute"], progress["estimatedCompletionAt"]) == (None, None)


async def test_the_numbers_of_a_page_are_read_together(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        known = await campaign(api)
        await run(api, known["id"], total=1)
    asked: list[str] = []

    async def noted(collection: Collection, pipeline: Sequence[Document]) -> list[Document]:
        asked.append(collection.name)
        return await aggregated(collection, pipeline)

    monkeypatch.setattr(campaign_reports, "aggregated", noted)
    _, answer = await api.get("/campaigns")
    assert [each["progress"]["total"] for each in answer["data"]] == [1, 1, 1]
    assert sorted(asked) == ["campaignCounts", "campaignLanes"]


# --- change


async def test_a_draft_is_changed_as_the_api_document_has_it(api: Api, actors: Actors) -> None:
    known = (await api.post("/campaigns", await seed(api)))[1]["data"]
    change = {"name": "Updated Campaign Name", "schedule": {"startAt": "2026-01-21T10:00:00Z"}}
    status, answer = await api.put(f"/campaigns/{known['id']}", change)
    data = answer["data"]
    assert status == 200
    assert data["name"] == "Updated Campaign Name"
    assert data["schedule"] == known["schedule"] | {"startAt": "2026-01-21T10:00:00Z"}
    for name in ("type", "templateId", "segmentIds", "variables", "createdAt", "status"):
        assert data[name] == known[name]
    assert actors.calls == []
    assert [each["id"] for each in (await api.get("/campaigns?search=updated"))[1]["data"]] == [known["id"]]


async def test_within_a_schedule_what_is_not_given_stays_and_null_removes(api: Api) -> None:
    schedule = SCHEDULE | {"recurrence": "FREQ=DAILY", "timezone": "Asia/Tokyo", "endAt": "2026-05-01T00:00:00Z"}
    path = f"/campaigns/{(await campaign(api, schedule=schedule))['id']}"
    _, answer = await api.put(path, {"schedule": {"endAt": None}})
    assert answer["data"]["schedule"] == schedule | {"endAt": None}
    _, answer = await api.put(path, {"schedule": None})
    assert answer["data"]["schedule"] == {"startAt": None, "endAt": None, "recurrence": None, "timezone": "UTC"}


async def test_a_change_is_checked_against_what_stays(api: Api) -> None:
    path = f"/campaigns/{(await campaign(api, schedule=SCHEDULE | {'recurrence': 'FREQ=DAILY'}))['id']}"
    for schedule, field in (
        ({"startAt": None}, "schedule.startAt"),
        ({"endAt": "2025-01-01T00:00:00Z"}, "schedule.endAt"),
    ):
        status, answer = await api.put(path, {"schedule": schedule})
        assert (status, answer["details"]["field"]) == (422, field)


async def test_a_template_takes_the_place_of_variants_and_they_that_of_a_template(api: Api) -> None:
    one, two = await template(api), await template(api)
    path = f"/campaigns/{(await campaign(api, templateId=one))['id']}"
    variants = [{"name": "a", "templateId": one, "weight": 1}, {"name": "b", "templateId": two, "weight": 1}]
    _, answer = await api.put(path, {"variants": variants})
    assert (answer["data"]["templateId"], answer["data"]["variants"]) == (None, variants)
    _, answer = await api.put(path, {"name": "Another"})
    assert (answer["data"]["templateId"], answer["data"]["variants"]) == (None, variants)
    assert (await api.put(path, {"variants": []}))[0] == 422
    assert (await api.put(path, {"variants": variants, "templateId": two}))[0] == 422
    _, answer = await api.put(path, {"templateId": two})
    assert (answer["data"]["templateId"], answer["data"]["variants"]) == (two, [])


async def test_lists_and_variables_are_replaced_whole_and_the_account_is_taken_away(api: Api) -> None:
    known = await campaign(api, variables={"a": "1"}, accountId=await api.account(), segmentIds=[await segment(api)])
    other = await segment(api)
    change = {"variables": {"b": "2"}, "accountId": None, "segmentIds": [], "excludeSegmentIds": [other]}
    _, answer = await api.put(f"/campaigns/{known['id']}", change | {"controlShare": 0.2, "type": "transactional"})
    data = answer["data"]
    assert {name: data[name] for name in change} == change
    assert (data["controlShare"], data["type"]) == (0.2, "transactional")


@pytest.mark.parametrize("state", ["running", "paused", "completed", "cancelled"])
async def test_a_campaign_that_runs_or_is_over_is_not_changed(api: Api, state: str) -> None:
    known = await campaign(api)
    await in_state(api, known["id"], state)
    status, answer = await api.put(f"/campaigns/{known['id']}", {"name": "Another"})
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")
    assert (await api.get(f"/campaigns/{known['id']}"))[1]["data"]["name"] == known["name"]


async def test_the_actor_of_a_scheduled_campaign_is_told(api: Api, actors: Actors) -> None:
    known = await campaign(api, schedule=SCHEDULE, segmentIds=[await segment(api)])
    await in_state(api, known["id"], "scheduled")
    status, answer = await api.put(f"/campaigns/{known['id']}", {"schedule": {"startAt": "2027-01-21T10:00:00Z"}})
    assert (status, answer["data"]["status"]) == (200, "scheduled")
    assert actors.calls == [("schedule_changed", known["id"])]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"schedule": {"startAt": None}}, "schedule.startAt"), ({"segmentIds": []}, "segmentIds")],
)
async def test_a_scheduled_campaign_keeps_a_time_and_segments(
    api: Api, actors: Actors, change: dict[str, object], field: str
) -> None:
    known = await campaign(api, schedule=SCHEDULE, segmentIds=[await segment(api)])
    await in_state(api, known["id"], "scheduled")
    status, answer = await api.put(f"/campaigns/{known['id']}", change)
    assert (status, answer["details"]["field"]) == (422, field)
    assert actors.calls == []


async def test_a_change_meanwhile_is_not_overwritten(api: Api) -> None:
    campaigns = api.deps.repositories.campaigns
    known = await campaigns.get(api.merchant_id, (await campaign(api))["id"])
    assert known is not None
    fields = {name: value for name, value in known.items() if name in CampaignFields.__annotations__}
    await api.put(f"/campaigns/{known['_id']}", {"name": "First"})
    with pytest.raises(Conflict):
        await campaigns.change(known, cast("CampaignFields", fields), NOW)
    with pytest.raises(Conflict):
        await campaigns.remove(known, NOW)
    assert (await api.get(f"/campaigns/{known['_id']}"))[1]["data"]["name"] == "First"


# --- moves


@pytest.mark.parametrize(
    ("move", "call", "status"),
    [
        ("start", "start", "running"),
        ("pause", "pause", "paused"),
        ("resume", "resume", "running"),
        ("cancel", "cancel", "cancelled"),
        ("unschedule", "unschedule", "draft"),
    ],
)
async def test_a_move_is_the_actors_and_the_campaign_is_answered_as_it_is_then(
    api: Api, actors: Actors, move: str, call: str, status: str
) -> None:
    known = await campaign(api)
    answered, answer = await api.post(f"/campaigns/{known['id']}/{move}")
    assert (answered, answer["data"]["status"], answer["data"]["id"]) == (200, status, known["id"])
    assert actors.calls == [(call, known["id"])]


async def test_a_campaign_that_cannot_be_started_is_answered_as_the_api_document_has_it(
    api: Api, actors: Actors
) -> None:
    problem = Problem("segmentIds", "is empty")
    actors.campaign_fails = InvalidRequest("Campaign has no segments or invalid template", problems=(problem,))
    status, answer = await api.post(f"/campaigns/{(await campaign(api))['id']}/start")
    assert (status, answer["code"], answer["details"]["field"]) == (400, "VALIDATION_ERROR", "segmentIds")
    assert answer["error"] == "Campaign has no segments or invalid template"


@pytest.mark.parametrize("move", ["start", "pause", "resume", "cancel", "unschedule", "retry-failed"])
async def test_a_move_that_is_not_possible_is_a_conflict(api: Api, actors: Actors, move: str) -> None:
    actors.campaign_fails = Conflict("A campaign that is completed can't be paused")
    status, answer = await api.post(f"/campaigns/{(await campaign(api))['id']}/{move}")
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")


@pytest.mark.parametrize("move", ["start", "pause", "resume", "cancel", "unschedule", "retry-failed", "test"])
async def test_no_actor_is_made_for_an_id_that_is_nobodys(api: Api, actors: Actors, move: str) -> None:
    body = {"contactIds": ["a"]} if move == "test" else None
    assert (await api.post(f"/campaigns/{new_id()}/{move}", body))[0] == 404
    assert actors.calls == []


async def test_trying_again_answers_how_many(api: Api, actors: Actors) -> None:
    known = await campaign(api)
    status, answer = await api.post(f"/campaigns/{known['id']}/retry-failed")
    assert (status, answer["data"]["retried"], answer["data"]["campaign"]["status"]) == (200, 3, "running")
    assert actors.calls == [("retry_failed", known["id"])]


# --- delete


@pytest.mark.parametrize("state", ["draft", "completed", "cancelled"])
async def test_a_campaign_that_is_over_or_a_draft_is_deleted_and_its_counters_stay(api: Api, state: str) -> None:
    known, other = await campaign(api), await campaign(api)
    for each in (known, other):
        run_id = await run(api, each["id"], total=1)
        await recipient(api, each["id"], run_id, new_id())
        await counted(api, each["id"], run_id, sent=1)
    await in_state(api, known["id"], state)
    assert await api.delete(f"/campaigns/{known['id']}") == (200, {"success": True, "data": None})
    assert (await api.get(f"/campaigns/{known['id']}"))[0] == 404
    assert (await api.delete(f"/campaigns/{known['id']}"))[0] == 404
    await eventually_empty(api, "campaignRecipients", known["id"])
    await eventually_empty(api, "campaignRuns", known["id"])
    for name, left in (("campaignLanes", 0), ("campaignCounts", 1)):
        assert await api.database[name].count_documents({"campaignId": known["id"]}) == left
        assert await api.database[name].count_documents({"campaignId": other["id"]}) == 1
    assert await api.database["campaignRecipients"].count_documents({"campaignId": other["id"]}) == 1


async def test_a_deletion_that_was_cut_off_is_completed(api: Api) -> None:
    known, other = await campaign(api), await campaign(api)
    for each in (known, other):
        await recipient(api, each["id"], await run(api, each["id"], total=1), new_id())
    campaigns = api.deps.repositories.campaigns
    found = await campaigns.get(api.merchant_id, known["id"])
    assert found is not None
    # The process dies before the recipients are deleted.
    await campaigns.remove(found, NOW)
    assert await api.database["campaignRecipients"].count_documents({"campaignId": known["id"]}) == 1

    await campaigns.complete_removals()
    for name in ("campaignRecipients", "campaignRuns"):
        assert await api.database[name].count_documents({"campaignId": known["id"]}) == 0
        assert await api.database[name].count_documents({"campaignId": other["id"]}) == 1


async def eventually_empty(api: Api, name: str, campaign_id: str) -> None:
    async with asyncio.timeout(20):
        while await api.database[name].count_documents({"campaignId": campaign_id}):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("state", ["scheduled", "running", "paused"])
async def test_a_campaign_that_may_still_send_is_not_deleted(api: Api, state: str) -> None:
    known = await campaign(api)
    await in_state(api, known["id"], state)
    status, answer = await api.delete(f"/campaigns/{known['id']}")
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert (await api.get(f"/campaigns/{known['id']}"))[0] == 200


async def test_what_a_campaign_uses_is_not_deleted(api: Api) -> None:
    one, two, three = await template(api), await template(api), await template(api)
    segment_id, left_out = await segment(api), await segment(api)
    known = await campaign(api, templateId=one, segmentIds=[segment_id], excludeSegmentIds=[left_out])
    varied = await campaign(api, variants=[{"name": "a", "templateId": two}, {"name": "b", "templateId": three}])
    used = [f"/templates/{each}" for each in (one, two, three)] + [
        f"/segments/{each}" for each in (segment_id, left_out)
    ]
    for path in used:
        assert (await api.delete(path))[0] == 409
    for each in (known, varied):
        assert (await api.delete(f"/campaigns/{each['id']}"))[0] == 200
    for path in used:
        assert (await api.delete(path))[0] == 200
