"""The section "Automation Flows" of the API document, endpoint by endpoint, and what the contract adds to it."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import Unavailable
from domain.ids import new_id
from storage.flow_documents import flow_version_id
from tests.gateway.campaigns import segment, template
from tests.gateway.conftest import Actors, Api
from tests.gateway.flows import ENDS, MANUAL, TAG, active_flow, execution, flow, seed_flow

FLOWS = "/automation/flows"
ACTIVE = "Cannot update active flows (deactivate first)"


async def seed(api: Api) -> dict[str, Any]:
    return seed_flow((await template(api), await template(api)))


async def document(api: Api, flow_id: str) -> dict[str, Any]:
    found = await api.database["flows"].find_one({"_id": flow_id})
    assert found is not None
    return found


# --- Create Automation Flow


async def test_create_automation_flow_as_the_api_document_has_it(api: Api) -> None:
    body = await seed(api)
    status, answer = await api.post(FLOWS, body)
    data = answer["data"]
    assert (status, answer["success"]) == (200, True)
    assert {name: data[name] for name in body} == body
    assert (data["merchantId"], data["status"], data["version"]) == (api.merchant_id, "draft", 1)
    assert (data["accountId"], data["reEntry"], data["activatedAt"]) == (None, "after_completed", None)
    assert set(data) == set(body) | {
        "id",
        "merchantId",
        "status",
        "version",
        "accountId",
        "reEntry",
        "createdAt",
        "updatedAt",
        "activatedAt",
    }


async def test_create_automation_flow_keeps_all_that_it_is_given(api: Api) -> None:
    given = {
        "name": "  Sale  ",
        "accountId": await api.account(),
        "reEntry": "once",
        "trigger": {"type": "message_received", "config": {"keywords": ["sale"], "match": "exact"}},
    }
    data = await flow(api, **given)
    assert {name: data[name] for name in given} == given | {"name": "Sale"}
    assert (data["nodes"], data["connections"]) == ([TAG], [])


async def test_create_automation_flow_twice_under_the_same_key_makes_one(api: Api) -> None:
    body, key = await seed(api), {"Idempotency-Key": new_id()}
    _, first = await api.post(FLOWS, body, headers=key)
    _, again = await api.post(FLOWS, body, headers=key)
    assert first == again
    assert (await api.get(FLOWS))[1]["pagination"]["total"] == 1


async def test_names_need_not_be_unique(api: Api) -> None:
    one, two = await flow(api, name="Welcome"), await flow(api, name="Welcome")
    assert one["id"] != two["id"]


# --- List Automation Flows


async def test_list_automation_flows_newest_first_by_status_and_name(api: Api) -> None:
    draft = await flow(api, name="Spring sale")
    active = await active_flow(api, name="Été à Nice")
    inactive = await active_flow(api, name="summer (50%)")
    await api.post(f"{FLOWS}/{inactive['id']}/deactivate")
    for query, expected in (
        ("", [inactive, active, draft]),
        ("?status=active", [active]),
        ("?status=inactive", [inactive]),
        ("?status=draft", [draft]),
        ("?search=ete", [active]),
        ("?search=(50%25)", [inactive]),
        ("?search=s&status=draft", [draft]),
        ("?take=1&skip=1", [active]),
    ):
        status, answer = await api.get(FLOWS + query)
        assert status == 200
        assert [each["id"] for each in answer["data"]] == [each["id"] for each in expected], query
    assert answer["pagination"] == {"page": 2, "limit": 1, "total": 3, "totalPages": 3}


@pytest.mark.parametrize("query", ["status=running", "status=", "take=101", "colour=red"])
async def test_list_automation_flows_with_an_unknown_filter(api: Api, query: str) -> None:
    status, answer = await api.get(f"{FLOWS}?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


# --- Get Automation Flow


async def test_get_automation_flow_shows_what_was_made(api: Api) -> None:
    made = (await api.post(FLOWS, await seed(api)))[1]["data"]
    status, answer = await api.get(f"{FLOWS}/{made['id']}")
    assert status == 200
    assert {name: answer["data"][name] for name in made} == made
    assert answer["data"]["stats"] == {"started": 0, "running": 0, "completed": 0, "failed": 0, "cancelled": 0}
    assert answer["data"]["nodeCounts"] == [
        {"nodeId": node["id"], "entered": 0, "done": 0, "failed": 0, "cancelled": 0} for node in made["nodes"]
    ]


async def test_get_automation_flow_counts_executions_and_visits_over_all_versions(api: Api) -> None:
    made = await flow(api)
    for status in ("running", "running", "completed", "failed", "cancelled"):
        await execution(api, made["id"], status=status)
    await execution(api, (await flow(api))["id"])
    for version, counts in (
        (1, {"entered": 5, "done": 3}),
        (2, {"entered": 2, "failed": 1}),
        (2, {"done": 1, "cancelled": 1}),
    ):
        counted = {"merchantId": api.merchant_id, "flowId": made["id"], "version": version, "nodeId": "node-1"}
        await api.database["flowCounts"].insert_one({"_id": new_id(), **counted, **counts})
    _, answer = await api.get(f"{FLOWS}/{made['id']}")
    assert answer["data"]["stats"] == {"started": 5, "running": 2, "completed": 1, "failed": 1, "cancelled": 1}
    assert answer["data"]["nodeCounts"] == [{"nodeId": "node-1", "entered": 7, "done": 4, "failed": 1, "cancelled": 1}]


async def test_get_automation_flow_that_does_not_exist(api: Api) -> None:
    for method, path in (
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/activate"),
        ("POST", "/deactivate"),
        ("GET", "/executions"),
    ):
        status, answer = await api.call(method, f"{FLOWS}/{new_id()}{path}", json={} if method != "GET" else None)
        assert (status, answer["code"], answer["error"]) == (404, "RESOURCE_NOT_FOUND", "Flow not found")


# --- Update Automation Flow


async def test_update_automation_flow_as_the_api_document_has_it(api: Api) -> None:
    made = await flow(api)
    body = await seed(api)
    change = {"name": "Updated Welcome Flow", "nodes": body["nodes"], "connections": body["connections"]}
    status, answer = await api.put(f"{FLOWS}/{made['id']}", change)
    data = answer["data"]
    assert status == 200
    assert {name: data[name] for name in change} == change
    assert (data["trigger"], data["status"], data["createdAt"]) == (made["trigger"], "draft", made["createdAt"])
    assert (data["version"], data["runningOldVersions"]) == (2, 0)
    _, answer = await api.get(f"{FLOWS}?search=updated")
    assert [each["id"] for each in answer["data"]] == [made["id"]]


async def test_update_automation_flow_that_is_active_is_refused_with_400(api: Api) -> None:
    made = await active_flow(api)
    status, answer = await api.put(f"{FLOWS}/{made['id']}", {"name": "Another"})
    assert (status, answer["code"], answer["error"]) == (400, "VALIDATION_ERROR", ACTIVE)
    assert (await api.get(f"{FLOWS}/{made['id']}"))[1]["data"]["name"] == made["name"]
    assert (await api.post(f"{FLOWS}/{made['id']}/deactivate"))[0] == 200
    assert (await api.put(f"{FLOWS}/{made['id']}", {"name": "Another"}))[0] == 200


@pytest.mark.parametrize(
    ("change", "version"),
    [
        ({"name": "Another"}, 1),
        ({}, 1),
        ({"nodes": [TAG]}, 1),
        ({"reEntry": "after_completed", "accountId": None}, 1),
        ({"nodes": ENDS}, 2),
        ({"trigger": {"type": "mention"}}, 2),
        ({"reEntry": "always"}, 2),
    ],
)
async def test_what_would_run_otherwise_is_another_version(api: Api, change: dict[str, Any], version: int) -> None:
    made = await flow(api)
    status, answer = await api.put(f"{FLOWS}/{made['id']}", change)
    assert (status, answer["data"]["version"]) == (200, version)


async def test_another_account_is_another_version_and_is_taken_away_by_null(api: Api) -> None:
    made = await flow(api)
    account_id = await api.account()
    _, answer = await api.put(f"{FLOWS}/{made['id']}", {"accountId": account_id})
    assert (answer["data"]["accountId"], answer["data"]["version"]) == (account_id, 2)
    _, answer = await api.put(f"{FLOWS}/{made['id']}", {"name": "Another"})
    assert (answer["data"]["accountId"], answer["data"]["version"]) == (account_id, 2)
    _, answer = await api.put(f"{FLOWS}/{made['id']}", {"accountId": None})
    assert (answer["data"]["accountId"], answer["data"]["version"]) == (None, 3)


async def test_a_change_says_how_many_executions_run_an_old_version(api: Api) -> None:
    made = await active_flow(api)
    for status in ("running", "running", "completed", "failed"):
        await execution(api, made["id"], status=status)
    await api.post(f"{FLOWS}/{made['id']}/deactivate")
    _, answer = await api.put(f"{FLOWS}/{made['id']}", {"name": "Another"})
    assert answer["data"]["runningOldVersions"] == 0
    _, answer = await api.put(f"{FLOWS}/{made['id']}", {"nodes": ENDS})
    assert answer["data"]["runningOldVersions"] == 2


async def test_a_change_that_was_overtaken_is_refused(api: Api) -> None:
    made = await flow(api)
    flows = api.deps.repositories.flows
    known = await flows.get(api.merchant_id, made["id"])
    assert known is not None
    assert (await api.put(f"{FLOWS}/{made['id']}", {"name": "Faster"}))[0] == 200
    for slower in (flows.activate, flows.deactivate):
        with pytest.raises(Exception, match="changed by somebody else"):
            await slower(known, api.deps.clock.now())
    with pytest.raises(Exception, match="changed by somebody else"):
        await flows.remove(known)
    assert await api.database["flowVersions"].count_documents({"flowId": made["id"]}) == 0


# --- Activate Flow


async def test_activate_flow_keeps_what_its_executions_run(api: Api, actors: Actors) -> None:
    made = (await api.post(FLOWS, await seed(api)))[1]["data"]
    status, answer = await api.post(f"{FLOWS}/{made['id']}/activate")
    data = answer["data"]
    assert (status, data["status"]) == (200, "active")
    assert data["activatedAt"] == data["updatedAt"] >= made["createdAt"]
    kept = await api.database["flowVersions"].find_one({"_id": flow_version_id(made["id"], 1)})
    assert kept is not None
    for name in ("merchantId", "trigger", "nodes", "connections", "accountId", "reEntry", "version"):
        assert kept[name] == made[name]
    assert kept["flowId"] == made["id"]
    assert actors.calls == [("changed", made["id"])]


async def test_activate_flow_again_keeps_each_version_once(api: Api) -> None:
    made = await active_flow(api)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/activate")
    assert (status, answer["data"]["updatedAt"]) == (200, made["updatedAt"])
    await api.post(f"{FLOWS}/{made['id']}/deactivate")
    assert (await api.post(f"{FLOWS}/{made['id']}/activate"))[0] == 200
    await api.post(f"{FLOWS}/{made['id']}/deactivate")
    await api.put(f"{FLOWS}/{made['id']}", {"nodes": ENDS})
    assert (await api.post(f"{FLOWS}/{made['id']}/activate"))[1]["data"]["version"] == 2
    kept = await api.database["flowVersions"].find({"flowId": made["id"]}).sort("_id").to_list()
    assert [(each["version"], each["nodes"]) for each in kept] == [(1, [TAG]), (2, ENDS)]


async def test_activate_flow_whose_references_are_gone_names_them(api: Api) -> None:
    made = (await api.post(FLOWS, await seed(api)))[1]["data"]
    await api.database["templates"].delete_many({"merchantId": api.merchant_id})
    status, answer = await api.post(f"{FLOWS}/{made['id']}/activate")
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    named = [each["field"] for each in answer["details"]["errors"]]
    assert named == ["nodes.0.config.templateId", "nodes.2.config.templateId"]
    assert (await document(api, made["id"]))["status"] == "draft"


async def test_a_flow_is_active_though_its_actor_can_t_be_reached(api: Api, actors: Actors) -> None:
    actors.flows_fail = Unavailable("The actors are not to be reached")
    assert (await active_flow(api))["status"] == "active"


# --- Deactivate Flow


async def test_deactivate_flow_lets_what_is_under_way_go_on(api: Api, actors: Actors) -> None:
    made = await active_flow(api)
    await execution(api, made["id"])
    await execution(api, made["id"], status="completed")
    actors.calls.clear()
    status, answer = await api.post(f"{FLOWS}/{made['id']}/deactivate")
    assert (status, answer["data"]["status"], answer["data"]["runningExecutions"]) == (200, "inactive", 1)
    assert actors.calls == [("changed", made["id"])]


async def test_deactivate_flow_and_cancel_what_is_under_way(api: Api, actors: Actors) -> None:
    made = await active_flow(api)
    actors.calls.clear()
    status, _ = await api.post(f"{FLOWS}/{made['id']}/deactivate", {"runningExecutions": "cancel"})
    assert status == 200
    assert actors.calls == [("changed", made["id"]), ("cancel_running", made["id"])]
    # Who has let them go on may think again.
    actors.calls.clear()
    status, _ = await api.post(f"{FLOWS}/{made['id']}/deactivate", {"runningExecutions": "cancel"})
    assert status == 200
    assert ("cancel_running", made["id"]) in actors.calls


async def test_deactivate_flow_says_so_when_nobody_can_cancel(api: Api, actors: Actors) -> None:
    made = await active_flow(api)
    actors.flows_fail = Unavailable("The actors are not to be reached", retry_after_s=2)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/deactivate", {"runningExecutions": "cancel"})
    assert (status, answer["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (await document(api, made["id"]))["status"] == "inactive"


async def test_deactivate_flow_that_was_never_active_leaves_a_draft(api: Api) -> None:
    made = await flow(api)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/deactivate")
    assert (status, answer["data"]["status"]) == (200, "draft")


@pytest.mark.parametrize("value", ["stop", None, 1, {"$ne": "finish"}])
async def test_deactivate_flow_takes_finish_or_cancel(api: Api, value: object) -> None:
    made = await active_flow(api)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/deactivate", {"runningExecutions": value})
    assert (status, answer["details"]["field"]) == (422, "runningExecutions")
    assert (await document(api, made["id"]))["status"] == "active"


# --- Delete Flow


async def test_delete_flow_with_its_versions_and_executions(api: Api, actors: Actors) -> None:
    made, other = await active_flow(api), await active_flow(api)
    await api.post(f"{FLOWS}/{made['id']}/deactivate")
    for status in ("running", "completed"):
        await execution(api, made["id"], status=status)
    kept = await execution(api, other["id"])
    counted = {"_id": new_id(), "merchantId": api.merchant_id, "flowId": made["id"], "nodeId": "node-1", "entered": 1}
    await api.database["flowCounts"].insert_one(counted)
    actors.calls.clear()
    status, answer = await api.delete(f"{FLOWS}/{made['id']}")
    assert (status, answer) == (200, {"success": True, "data": None})
    assert actors.calls == [("changed", made["id"])]
    assert (await api.get(f"{FLOWS}/{made['id']}"))[0] == 404
    await api.deps.repositories.flows.remove_executions(api.merchant_id, made["id"])
    left = await api.database["flowExecutions"].find({"merchantId": api.merchant_id}).to_list()
    assert [each["_id"] for each in left] == [kept]
    versions = await api.database["flowVersions"].find({"merchantId": api.merchant_id}).to_list()
    assert [each["flowId"] for each in versions] == [other["id"]]
    assert await api.database["flowCounts"].count_documents({"flowId": made["id"]}) == 1


async def test_a_deletion_that_was_cut_off_is_completed(api: Api) -> None:
    gone, stays = await flow(api), await flow(api)
    for each in (gone, stays):
        await execution(api, each["id"])
    flows = api.deps.repositories.flows
    known = await flows.get(api.merchant_id, gone["id"])
    assert known is not None
    # The process dies before the executions are deleted.
    await flows.remove(known)

    await flows.complete_removals()
    left = await api.database["flowExecutions"].distinct("flowId", {"merchantId": api.merchant_id})
    assert left == [stays["id"]]
    assert await api.database["flowRemovals"].count_documents({"merchantId": api.merchant_id}) == 0


async def test_delete_flow_that_is_active_is_refused_with_400(api: Api) -> None:
    made = await active_flow(api)
    status, answer = await api.delete(f"{FLOWS}/{made['id']}")
    expected = (400, "VALIDATION_ERROR", "Cannot delete active flows (deactivate first)")
    assert (status, answer["code"], answer["error"]) == expected
    assert (await api.get(f"{FLOWS}/{made['id']}"))[0] == 200


# --- what flows use


@pytest.mark.parametrize("state", ["draft", "active", "inactive"])
async def test_a_template_that_a_flow_uses_is_not_deleted(api: Api, state: str) -> None:
    template_id = await template(api)
    made = await flow(api, nodes=[{"id": "hello", "type": "send_message", "config": {"templateId": template_id}}])
    await api.database["flows"].update_one({"_id": made["id"]}, {"$set": {"status": state}})
    status, answer = await api.delete(f"/templates/{template_id}")
    assert (status, answer["error"]) == (409, "The template is being used by flows")
    await api.database["flows"].update_one({"_id": made["id"]}, {"$set": {"status": "inactive"}})
    assert (await api.delete(f"{FLOWS}/{made['id']}"))[0] == 200
    assert (await api.delete(f"/templates/{template_id}"))[0] == 200


@pytest.mark.parametrize("kind", ["segment_entered", "schedule"])
async def test_a_segment_that_a_flow_uses_is_not_deleted(api: Api, kind: str) -> None:
    segment_id = await segment(api)
    config = {"segmentId": segment_id} | ({"startAt": "2027-01-18T10:00:00Z"} if kind == "schedule" else {})
    made = await flow(api, trigger={"type": kind, "config": config})
    status, answer = await api.delete(f"/segments/{segment_id}")
    assert (status, answer["error"]) == (409, "The segment is being used by flows")
    assert (await api.put(f"{FLOWS}/{made['id']}", {"trigger": MANUAL}))[0] == 200
    assert (await api.delete(f"/segments/{segment_id}"))[0] == 200


async def test_another_merchants_flow_keeps_nothing_of_mine(api: Api) -> None:
    template_id = await template(api)
    body = {"_id": new_id(), "merchantId": new_id(), "nodes": [{"config": {"templateId": template_id}}]}
    await api.database["flows"].insert_one(body)
    assert (await api.delete(f"/templates/{template_id}"))[0] == 200


async def test_a_list_says_how_many_nodes_a_flow_has_and_shows_none(api: Api) -> None:
    made = await flow(api, nodes=ENDS)
    _, answer = await api.get(FLOWS)
    expected = {name: value for name, value in made.items() if name != "nodes"} | {"nodeCount": len(ENDS)}
    assert answer["data"] == [expected]
