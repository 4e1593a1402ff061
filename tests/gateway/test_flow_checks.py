"""What is no flow, or refers to what does not exist, is refused with everything that is wrong by its path."""

from __future__ import annotations

from typing import Any

import pytest

from domain.ids import new_id
from tests.gateway.campaigns import campaign, segment, template
from tests.gateway.conftest import Api
from tests.gateway.flows import ENDS, MANUAL, TAG, active_flow, flow, seed_flow
from tests.gateway.people import colleague

FLOWS = "/automation/flows"
INJECTED: list[object] = [{"$gt": ""}, {"$ne": None}, ["$where"], 7, True]


def with_node(kind: str, **config: object) -> dict[str, Any]:
    return {"name": "Flow", "trigger": MANUAL, "nodes": [{"id": "n", "type": kind, "config": config}]}


def with_trigger(kind: str, **config: object) -> dict[str, Any]:
    return {"name": "Flow", "trigger": {"type": kind, "config": config}, "nodes": ENDS}


async def problems(api: Api, body: object) -> dict[str, str]:
    """Return what is said to be wrong with a flow, by path, having seen that it was refused."""
    status, answer = await api.post(FLOWS, body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR"), answer
    errors = answer["details"]["errors"]
    assert errors[0] == {name: answer["details"][name] for name in ("field", "reason")}
    assert await api.database["flows"].count_documents({"merchantId": api.merchant_id}) == 0
    return {each["field"]: each["reason"] for each in errors}


async def test_what_the_schema_and_what_the_graph_refuse_is_told_at_once(api: Api) -> None:
    body = {
        "name": 5,
        "colour": "red",
        "trigger": {"type": "tag_added", "config": {"every": 5}},
        "nodes": [{"id": "a", "type": "end"}, {"id": "b", "type": "dance"}, {"id": "c", "type": "end", "x": 1}],
        "connections": [{"fromNodeId": "b", "toNodeId": "gone"}],
        "reEntry": "never",
    }
    found = await problems(api, body)
    assert set(found) == {
        "name", "colour", "reEntry", "trigger.config.every", "nodes.1", "nodes.2", "nodes.1.type", "nodes.2.x",
        "connections.0.toNodeId",
    }  # fmt: skip


async def test_what_is_missing_and_what_never_comes_is_told_beside_what_the_schema_refuses(api: Api) -> None:
    call = {"url": "https://shop.example", "headers": {"Cookie": "a=b"}, "secretHeaders": {"X-Key": None}}
    body = {
        "name": 5,
        "accountId": new_id(),
        "trigger": {
            "type": "schedule",
            "config": {"segmentId": new_id(), "startAt": "2027-01-01T09:00:00Z", "recurrence": "FREQ=HOURLY;COUNT=x"},
        },
        "nodes": [
            {"id": "m", "type": "send_message", "config": {"templateId": new_id()}},
            {"id": "h", "type": "http_request", "config": call},
        ],
        "connections": [{"fromNodeId": "m", "toNodeId": "h"}],
    }
    assert set(await problems(api, body)) == {
        "name", "accountId", "trigger.config.segmentId", "trigger.config.recurrence", "nodes.0.config.templateId",
        "nodes.1.config.headers.Cookie", "nodes.1.config.secretHeaders.X-Key",
    }  # fmt: skip


async def test_all_that_is_wrong_with_a_change_is_told_at_once(api: Api) -> None:
    status, answer = await api.post(FLOWS, {"name": "Flow", "trigger": MANUAL, "nodes": ENDS})
    assert status == 200, answer
    path = f"{FLOWS}/{answer['data']['id']}"
    body = {
        "name": 5,
        "nodes": [{"id": "m", "type": "send_message", "config": {"templateId": new_id()}}],
        "connections": [{"fromNodeId": "m", "toNodeId": "gone"}],
    }
    status, answer = await api.put(path, body)
    assert status == 422
    found = {each["field"] for each in answer["details"]["errors"]}
    assert found == {"name", "nodes.0.config.templateId", "connections.0.toNodeId"}
    # What is there already is looked at where a part of it is replaced, and only then.
    status, answer = await api.put(path, {"name": 5, "connections": [{"fromNodeId": "x", "toNodeId": "gone"}]})
    found = {each["field"] for each in answer["details"]["errors"]}
    assert found == {"name", "connections.0.fromNodeId", "connections.0.toNodeId"}
    status, answer = await api.put(path, {"name": 5})
    assert [each["field"] for each in answer["details"]["errors"]] == ["name"]
    status, answer = await api.put(f"{FLOWS}/{new_id()}", {"name": 5})
    assert status == 404


async def test_a_part_that_does_not_fit_the_schema_is_told_once(api: Api) -> None:
    status, answer = await api.post(FLOWS, {"name": "", "trigger": "manual", "nodes": {}})
    assert status == 422
    assert sorted(each["field"] for each in answer["details"]["errors"]) == ["name", "nodes", "trigger"]


# --- the schema


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "n" * 10_000}, "name"),
        ({"name": {"$gt": ""}}, "name"),
        ({"trigger": None}, "trigger"),
        ({"trigger": "manual"}, "trigger"),
        ({"nodes": []}, "nodes"),
        ({"nodes": None}, "nodes"),
        ({"nodes": {"$gt": ""}}, "nodes"),
        ({"nodes": ENDS * 201}, "nodes"),
        ({"connections": None}, "connections"),
        ({"connections": {}}, "connections"),
        ({"reEntry": "never"}, "reEntry"),
        ({"reEntry": None}, "reEntry"),
        ({"accountId": {"$gt": ""}}, "accountId"),
        ({"accountId": ""}, "accountId"),
        ({"status": "active"}, "status"),
        ({"version": 7}, "version"),
        ({"merchantId": "another"}, "merchantId"),
        ({"_id": "mine"}, "_id"),
        ({"id": "mine"}, "id"),
        ({"activatedAt": "2026-01-18T10:00:00Z"}, "activatedAt"),
        ({"stats": {}}, "stats"),
        ({"foldedName": "x"}, "foldedName"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(api: Api, change: dict[str, object], field: str) -> None:
    found = await problems(api, {"name": "Flow", "trigger": MANUAL, "nodes": ENDS} | change)
    assert list(found) == [field]


@pytest.mark.parametrize("missing", ["name", "trigger", "nodes"])
async def test_what_must_be_given_is_named(api: Api, missing: str) -> None:
    body: dict[str, Any] = {"name": "Flow", "trigger": MANUAL, "nodes": ENDS}
    del body[missing]
    assert list(await problems(api, body)) == [missing]


async def test_what_is_no_json_is_refused_with_400(api: Api) -> None:
    status, answer = await api.call("POST", FLOWS, data=b"{", headers={"Content-Type": "application/json"})
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


async def test_a_name_may_have_200_characters(api: Api) -> None:
    assert (await flow(api, name="n" * 200))["name"] == "n" * 200


# --- the graph


async def test_every_problem_of_a_graph_is_listed_beside_what_does_not_exist(api: Api) -> None:
    body = {
        "name": "Flow",
        "accountId": "unknown",
        "trigger": {"type": "segment_entered", "config": {"segmentId": "unknown", "every": 5}},
        "nodes": [
            {"id": "a", "type": "send_message", "config": {"templateId": "unknown", "delay": -1}},
            {"id": "a", "type": "wait", "config": {"duration": 5}},
            {"id": "c", "type": "dance", "config": {}},
            {"id": "d", "type": "condition", "config": {"conditions": [{"field": "tags", "operator": "$where"}]}},
            "e",
        ],
        "connections": [
            {"fromNodeId": "a", "toNodeId": "nowhere"},
            {"fromNodeId": "c", "toNodeId": "d"},
            {"fromNodeId": "d", "toNodeId": "a"},
        ],
    }
    found = await problems(api, body)
    assert set(found) >= {
        "trigger.config.every",
        "nodes.0.config.delay",
        "nodes.1.id",
        "nodes.2.type",
        "nodes.3.config.conditions.0.operator",
        "nodes.4",
        "connections.0.toNodeId",
        "accountId",
        "trigger.config.segmentId",
        "nodes.0.config.templateId",
    }


@pytest.mark.parametrize(
    ("nodes", "connections", "field", "reason"),
    [
        (["end", "end"], [], "nodes.1", "is a second start"),
        (["add_tag", "remove_tag"], [(0, 1), (1, 0)], "nodes.0", "is in a cycle without a wait"),
        (["end", "end"], [(0, 1)], "connections.0.fromNodeId", "leads nowhere"),
        (["add_tag", "end", "end"], [(0, 1), (0, 2)], "connections.1.fromNodeId", "has another connection"),
    ],
)
async def test_a_graph_that_is_not_sound_is_refused(
    api: Api, nodes: list[str], connections: list[tuple[int, int]], field: str, reason: str
) -> None:
    body = {
        "name": "Flow",
        "trigger": MANUAL,
        "nodes": [
            {"id": f"n{index}", "type": kind, "config": {"tag": "vip"} if "tag" in kind else {}}
            for index, kind in enumerate(nodes)
        ],
        "connections": [{"fromNodeId": f"n{a}", "toNodeId": f"n{b}"} for a, b in connections],
    }
    assert reason in (await problems(api, body))[field]


async def test_a_change_is_checked_as_a_whole(api: Api) -> None:
    made = await flow(api)
    for change, field in (
        ({"nodes": [TAG, {"id": "b", "type": "end"}]}, "nodes.1"),
        ({"connections": [{"fromNodeId": "node-1", "toNodeId": "gone"}]}, "connections.0.toNodeId"),
        ({"trigger": {"type": "dance"}}, "trigger.type"),
        ({"nodes": []}, "nodes"),
        ({"name": "n" * 10_000}, "name"),
        ({"accountId": "unknown"}, "accountId"),
        ({"reEntry": "never"}, "reEntry"),
        ({"status": "active"}, "status"),
        ({"version": 9}, "version"),
        ({"merchantId": "another"}, "merchantId"),
    ):
        status, answer = await api.put(f"{FLOWS}/{made['id']}", change)
        assert (status, answer["details"]["field"]) == (422, field)
    shown = (await api.get(f"{FLOWS}/{made['id']}"))[1]["data"]
    assert {name: shown[name] for name in made} == made


async def test_only_public_addresses_are_called(api: Api) -> None:
    for url in ("http://127.0.0.1/", "http://169.254.169.254/latest", "file:///etc/passwd", "http://10.0.0.7/"):
        assert "nodes.0.config.url" in await problems(api, with_node("http_request", url=url))


# --- injected operators, in every field that names something


@pytest.mark.parametrize("value", INJECTED, ids=str)
@pytest.mark.parametrize(
    ("kind", "name", "given"),
    [
        ("send_message", "templateId", {}),
        ("add_tag", "tag", {}),
        ("remove_tag", "tag", {}),
        ("assign", "userId", {}),
        ("start_flow", "flowId", {}),
        ("http_request", "url", {}),
        ("http_request", "saveAs", {"url": "https://shop.example.com/hook"}),
        ("ai_reply", "instructions", {}),
        ("close_conversation", "reason", {}),
    ],
)
async def test_an_operator_is_no_value_of_a_node(
    api: Api, kind: str, name: str, given: dict[str, object], value: object
) -> None:
    assert f"nodes.0.config.{name}" in await problems(api, with_node(kind, **given, **{name: value}))


@pytest.mark.parametrize("value", INJECTED, ids=str)
@pytest.mark.parametrize(
    ("kind", "name", "given"),
    [
        ("segment_entered", "segmentId", {}),
        ("schedule", "segmentId", {"startAt": "2027-01-18T10:00:00Z"}),
        ("schedule", "startAt", {"segmentId": "s"}),
        ("campaign_replied", "campaignId", {}),
        ("tag_added", "tag", {}),
        ("message_received", "match", {"keywords": ["sale"]}),
    ],
)
async def test_an_operator_is_no_value_of_a_trigger(
    api: Api, kind: str, name: str, given: dict[str, object], value: object
) -> None:
    assert f"trigger.config.{name}" in await problems(api, with_trigger(kind, **given, **{name: value}))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (with_node("add_tag", **{"tag": "vip", "$set": {"merchantId": "x"}}), "nodes.0.config.$set"),
        (with_trigger("manual", **{"$where": "1"}), "trigger.config.$where"),
        (with_node("update_attributes", attributes={"$inc": 1}), "nodes.0.config.attributes.$inc"),
        (with_node("update_attributes", attributes={"a.b": 1}), "nodes.0.config.attributes.a.b"),
        (with_node("update_attributes", attributes={"a": {"$gt": 1}}), "nodes.0.config.attributes.a"),
        (with_node("split", weights={"a.b": 1}), "nodes.0.config.weights.a.b"),
        (with_node("condition", conditions={"$or": []}), "nodes.0.config.conditions"),
        (with_node("send_message", templateId="t", variables={"a": {"$gt": 1}}), "nodes.0.config.variables.a"),
        (with_node("wait", duration={"$gt": 1}), "nodes.0.config.duration"),
    ],
)
async def test_an_operator_is_no_field(api: Api, body: dict[str, Any], field: str) -> None:
    assert field in await problems(api, body)


async def test_the_names_of_headers_are_kept_as_they_are(api: Api) -> None:
    """They may have dots and dollars, which are letters like others to the database too."""
    headers = {"$x.y": "1", "X-Shop": "goodgo"}
    config = {"url": "https://shop.example.com/hook", "headers": headers}
    nodes = [{"id": "call", "type": "http_request", "config": config}]
    made = await flow(api, nodes=nodes)
    for change in ({"name": "Another"}, {"nodes": [*nodes, TAG], "connections": [link("call", "node-1")]}):
        status, answer = await api.put(f"{FLOWS}/{made['id']}", change)
        assert status == 200
        assert answer["data"]["nodes"][0]["config"]["headers"] == headers
    assert (await api.post(f"{FLOWS}/{made['id']}/activate"))[0] == 200


def link(source: str, target: str) -> dict[str, str]:
    return {"fromNodeId": source, "toNodeId": target}


# --- references


async def test_everything_that_does_not_exist_is_named(api: Api) -> None:
    asked = [{"field": f"campaign:{new_id()}", "operator": "equals", "value": "replied"}]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("send_message", {"templateId": "unknown"}),
        ("assign", {"userId": "unknown"}),
        ("start_flow", {"flowId": "unknown"}),
        ("condition", {"conditions": asked}),
    ]
    nodes = [{"id": f"n{index}", "type": kind, "config": config} for index, (kind, config) in enumerate(kinds)]
    body = {
        "name": "Flow",
        "accountId": "unknown",
        "trigger": {"type": "campaign_replied", "config": {"campaignId": "unknown"}},
        "nodes": nodes,
        "connections": [link(f"n{index}", f"n{index + 1}") for index in range(3)],
    }
    assert await problems(api, body) == {
        "accountId": "is no account of yours",
        "trigger.config.campaignId": "is no campaign of yours",
        "nodes.0.config.templateId": "is no template of yours",
        "nodes.1.config.userId": "is no user of yours",
        "nodes.2.config.flowId": "is no flow of yours",
        "nodes.3.config.conditions": "is no campaign of yours",
    }


async def everything(owner: Api) -> dict[str, Any]:
    """Return a flow that refers to one of each that its merchant has."""
    known = await campaign(owner)
    asked = [{"not": {"field": f"campaign:{known['id']}", "operator": "equals", "value": "replied"}}]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("send_message", {"templateId": await template(owner)}),
        ("assign", {"userId": await colleague(owner)}),
        ("assign", {"userId": None}),
        ("start_flow", {"flowId": (await flow(owner))["id"]}),
        ("condition", {"conditions": asked}),
    ]
    return {
        "name": "Flow",
        "accountId": await owner.account(),
        "trigger": {"type": "segment_entered", "config": {"segmentId": await segment(owner)}},
        "nodes": [{"id": f"n{index}", "type": kind, "config": config} for index, (kind, config) in enumerate(kinds)],
        "connections": [link(f"n{index}", f"n{index + 1}") for index in range(4)],
    }


async def test_what_exists_may_be_referred_to(api: Api) -> None:
    status, answer = await api.post(FLOWS, await everything(api))
    assert status == 200, answer
    assert (await api.post(f"{FLOWS}/{answer['data']['id']}/activate"))[0] == 200


async def test_what_another_merchant_has_does_not_exist(api: Api) -> None:
    theirs = await everything(api.other_merchant())
    assert set(await problems(api, theirs)) == {
        "accountId",
        "trigger.config.segmentId",
        "nodes.0.config.templateId",
        "nodes.1.config.userId",
        "nodes.3.config.flowId",
        "nodes.4.config.conditions",
    }


async def test_nobody_is_assigned_who_may_not_work(api: Api) -> None:
    user_id = await colleague(api, status="disabled")
    assert list(await problems(api, with_node("assign", userId=user_id))) == ["nodes.0.config.userId"]


async def test_a_flow_may_start_itself_once_it_exists(api: Api) -> None:
    made = await flow(api)
    nodes = [{"id": "again", "type": "start_flow", "config": {"flowId": made["id"]}}]
    assert (await api.put(f"{FLOWS}/{made['id']}", {"nodes": nodes}))[0] == 200


async def test_a_new_name_asks_for_nothing_that_is_gone_since(api: Api) -> None:
    body = seed_flow((await template(api), await template(api)))
    made = (await api.post(FLOWS, body))[1]["data"]
    await api.database["templates"].delete_many({"merchantId": api.merchant_id})
    assert (await api.put(f"{FLOWS}/{made['id']}", {"name": "Another", "reEntry": "once"}))[0] == 200
    status, answer = await api.put(f"{FLOWS}/{made['id']}", {"nodes": body["nodes"]})
    assert (status, len(answer["details"]["errors"])) == (422, 2)


# --- triggering


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"contactId": {"$gt": ""}}, "contactId"),
        ({"contactId": None}, "contactId"),
        ({"contactId": new_id()}, "contactId"),
        ({"variables": {"code": {"$gt": ""}}}, "variables.code"),
        ({"variables": {"$where": "1"}}, "variables.$where"),
        ({"version": 3}, "version"),
        ({"merchantId": "another"}, "merchantId"),
        ({"executionId": "mine"}, "executionId"),
    ],
)
async def test_a_flow_is_started_for_a_contact_that_exists_and_nothing_else(
    api: Api, change: dict[str, object], field: str
) -> None:
    made = await active_flow(api)
    contact_id = await api.contact(await api.account())
    status, answer = await api.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": contact_id} | change)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"].startswith(field)
    assert await api.database["flowEvents"].count_documents({"merchantId": api.merchant_id}) == 0
