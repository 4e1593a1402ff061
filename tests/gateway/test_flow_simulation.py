"""`POST …/flows/{id}/simulate`: the way through a flow on a virtual clock, with nothing sent and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from domain.ids import new_id
from tests.gateway.campaigns import campaign, recipient, template
from tests.gateway.conftest import Actors, Api
from tests.gateway.flows import active_flow, flow, seed_flow
from tests.gateway.test_isolation import everything_of

FLOWS = "/automation/flows"
START = "2026-01-18T09:00:00Z"


async def simulated(api: Api, flow_id: str, **body: object) -> dict[str, Any]:
    status, answer = await api.post(f"{FLOWS}/{flow_id}/simulate", {"startAt": START} | body)
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


def nodes_of(found: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(each["node"], each["outcome"], each["branch"]) for each in found["path"]]


def link(source: str, target: str, branch: str | None = None) -> dict[str, str]:
    return {"fromNodeId": source, "toNodeId": target} | ({} if branch is None else {"branch": branch})


async def greeting(api: Api, content: str = "Hi {{name}}", **fields: object) -> dict[str, Any]:
    """Return a flow that sends one message."""
    nodes = [{"id": "hello", "type": "send_message", "config": {"templateId": await template(api, content)}}]
    return await flow(api, nodes=nodes, **fields)


async def test_the_example_of_the_api_document_takes_a_day_and_says_what_it_would_send(api: Api) -> None:
    body = seed_flow((await template(api, "Hi {{name}}"), await template(api, "Still there, {{name}}?")))
    made = (await api.post(FLOWS, body))[1]["data"]
    found = await simulated(api, made["id"])
    assert (found["status"], found["failure"], found["currentNodeId"]) == ("completed", None, None)
    assert (found["startedAt"], found["endedAt"]) == (START, "2026-01-19T09:00:00Z")
    assert nodes_of(found) == [
        ("node-1", "done", "next"),
        ("node-2", "waiting", None),
        ("node-2", "done", "next"),
        ("node-3", "done", "next"),
    ]
    assert found["effects"] == [
        {"at": START, "node": "node-1", "type": "send_message", "attempt": 1, "text": "Hi John Doe"},
        {
            "at": "2026-01-19T09:00:00Z",
            "node": "node-3",
            "type": "send_message",
            "attempt": 1,
            "text": "Still there, John Doe?",
        },
    ]


async def test_nothing_is_sent_and_nothing_is_changed(api: Api, actors: Actors) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    nodes = [
        {"id": "hello", "type": "send_message", "config": {"templateId": await template(api, "Hi")}},
        {"id": "tag", "type": "add_tag", "config": {"tag": "greeted"}},
        {"id": "tier", "type": "update_attributes", "config": {"attributes": {"tier": "gold"}}},
        {"id": "call", "type": "http_request", "config": {"url": "https://shop.example.com/hook"}},
    ]
    made = await active_flow(
        api, nodes=nodes, connections=[link("hello", "tag"), link("tag", "tier"), link("tier", "call")]
    )
    actors.calls.clear()
    before = await everything_of(api)
    found = await simulated(api, made["id"], contactId=contact_id)
    assert [each["type"] for each in found["effects"]] == [each["type"] for each in nodes]
    assert await everything_of(api) == before
    assert actors.calls == []


async def test_a_simulation_without_a_body_begins_now(api: Api) -> None:
    made = await flow(api)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/simulate")
    assert (status, answer["data"]["status"]) == (200, "completed")
    assert answer["data"]["startedAt"] >= made["createdAt"]


async def test_the_contact_decides_and_what_it_answers_is_kept(api: Api) -> None:
    vip = [{"field": "tags", "operator": "contains", "value": "vip"}]
    gold = [{"field": "attributes.tier", "operator": "equals", "value": "gold"}]
    nodes = [
        {"id": "ask", "type": "wait_for_reply", "config": {"timeout": 3600, "saveAs": "answer"}},
        {"id": "is_vip", "type": "condition", "config": {"conditions": vip}},
        {"id": "is_gold", "type": "condition", "config": {"conditions": gold}},
        {"id": "tag", "type": "add_tag", "config": {"tag": "lost"}},
    ]
    links = [link("ask", "is_vip", "reply"), link("ask", "tag", "timeout"), link("is_vip", "is_gold", "true")]
    made = await flow(api, nodes=nodes, connections=links)
    contact = {"tags": ["VIP"], "attributes": {"tier": "gold"}}
    found = await simulated(api, made["id"], contact=contact, replies=[{"text": "yes", "after": 60}])
    assert found["variables"] == {"answer": "yes"}
    assert found["endedAt"] == "2026-01-18T09:01:00Z"
    assert nodes_of(found)[1:] == [("ask", "done", "reply"), ("is_vip", "done", "true"), ("is_gold", "done", "true")]
    found = await simulated(api, made["id"], replies=[{"text": "no"}])
    assert nodes_of(found)[1:] == [("ask", "done", "reply"), ("is_vip", "done", "false")]
    for silent in ([], [None], [{"text": "late", "after": 3600}]):
        found = await simulated(api, made["id"], contact=contact, replies=silent)
        assert nodes_of(found)[1:] == [("ask", "done", "timeout"), ("tag", "done", "next")]


async def test_a_contact_that_exists_is_asked_as_it_is(api: Api) -> None:
    known = await campaign(api)
    asked = [{"field": f"campaign:{known['id']}", "operator": "equals", "value": "replied"}]
    nodes = [{"id": "has_replied", "type": "condition", "config": {"conditions": asked}}]
    made = await flow(api, nodes=nodes)
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    recipient_id = await recipient(api, known["id"], new_id(), contact_id)
    found = await simulated(api, made["id"], contactId=contact_id)
    assert nodes_of(found) == [("has_replied", "done", "false")]
    replied = {"$set": {"repliedAt": api.deps.clock.now()}}
    await api.database["campaignRecipients"].update_one({"_id": recipient_id}, replied)
    found = await simulated(api, made["id"], contactId=contact_id)
    assert nodes_of(found) == [("has_replied", "done", "true")]
    other = await simulated(api, made["id"], contactId=await api.contact(account_id))
    assert nodes_of(other) == [("has_replied", "done", "false")]


async def test_a_message_is_filled_from_contact_account_and_variables(api: Api) -> None:
    content = "{{username}} {{attributes.tier}} {{code}}"
    made = await greeting(api, content)
    contact_id = await api.contact(await api.account(), attributes={"tier": "gold"})
    for contact in ({"contactId": contact_id}, {"contact": {"attributes": {"tier": "gold"}}}):
        found = await simulated(api, made["id"], variables={"code": "SUMMER10"}, **contact)
        assert [each["text"] for each in found["effects"]] == ["customer_john gold SUMMER10"]


@pytest.mark.parametrize(
    ("content", "contact", "reason"),
    [
        ("Hi {{code}}", {}, "missing_variable"),
        ("Hi {{name | divided_by: 0}}", {}, "unrenderable"),
        ("Hi", {"consent": "opted_out"}, "opted_out"),
    ],
)
async def test_what_could_not_be_sent_fails_as_it_would(
    api: Api, content: str, contact: dict[str, object], reason: str
) -> None:
    made = await greeting(api, content)
    found = await simulated(api, made["id"], contact=contact)
    assert (found["status"], found["failure"], found["currentNodeId"]) == ("failed", reason, "hello")
    assert [(each["outcome"], each["error"]) for each in found["path"]] == [("failed", reason)]
    assert [each["text"] for each in found["effects"]] == [None]


async def test_consent_is_asked_for_where_the_account_does(api: Api) -> None:
    account_id = await api.account(requireConsent=True)
    made = await greeting(api, accountId=account_id)
    assert (await simulated(api, made["id"], contact={"consent": "none"}))["failure"] == "no_consent"
    assert (await simulated(api, made["id"], contact={"consent": "inbound"}))["failure"] is None


async def test_nothing_is_sent_by_an_account_that_is_not_connected(api: Api) -> None:
    made = await greeting(api)
    contact_id = await api.contact(await api.account(connected=False, status="inactive"))
    assert (await simulated(api, made["id"], contactId=contact_id))["failure"] == "closed_account"


async def test_a_template_that_is_gone_fails(api: Api) -> None:
    made = await greeting(api)
    await api.database["templates"].delete_many({"merchantId": api.merchant_id})
    assert (await simulated(api, made["id"]))["failure"] == "template_missing"


async def test_failures_and_results_are_by_node(api: Api) -> None:
    nodes = [
        {"id": "call", "type": "http_request", "config": {"url": "https://shop.example.com/hook", "saveAs": "order"}},
        {"id": "sorry", "type": "add_tag", "config": {"tag": "sorry"}},
    ]
    made = await flow(api, nodes=nodes, connections=[link("call", "sorry", "error")])
    found = await simulated(api, made["id"], results={"call": "shipped"})
    assert (found["variables"], nodes_of(found)) == ({"order": "shipped"}, [("call", "done", "next")])
    found = await simulated(api, made["id"], failures={"call": {"reason": "timeout", "attempts": 2}})
    assert [each["outcome"] for each in found["path"]] == ["retrying", "retrying", "done"]
    assert [each["attempt"] for each in found["effects"]] == [1, 2, 3]
    found = await simulated(api, made["id"], failures={"call": {"reason": "refused", "final": True}})
    assert nodes_of(found) == [("call", "failed", "error"), ("sorry", "done", "next")]
    assert found["path"][0]["error"] == "refused"


async def test_a_flow_that_goes_round_for_ever_ends_at_the_bounds_of_a_simulation(api: Api) -> None:
    template_id = await template(api, "Hi")
    nodes = [
        {"id": "hello", "type": "send_message", "config": {"templateId": template_id}},
        {"id": "wait", "type": "wait", "config": {"duration": 1}},
    ]
    made = await flow(
        api,
        nodes=nodes,
        connections=[link("hello", "wait"), link("wait", "hello")],
    )
    found = await simulated(api, made["id"])
    assert found["status"] == "running"
    assert 100 < len(found["effects"]) <= 1_000
    assert [each["text"] for each in found["effects"][100:]] == [None] * (len(found["effects"]) - 100)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"contactId": "unknown"}, "contactId"),
        ({"contactId": {"$gt": ""}}, "contactId"),
        ({"contactId": "a", "contact": {}}, "body"),
        ({"contact": {"tags": [""]}}, "contact.tags.0"),
        ({"contact": {"attributes": {"$where": 1}}}, "contact.attributes.$where"),
        ({"contact": {"consent": "given"}}, "contact.consent"),
        ({"contact": {"_id": "mine"}}, "contact._id"),
        ({"startAt": "tomorrow"}, "startAt"),
        ({"replies": [{"after": 5}]}, "replies.0.text"),
        ({"replies": [{"text": "a", "after": -1}]}, "replies.0.after"),
        ({"replies": [None] * 101}, "replies"),
        ({"failures": {"unknown": {}}}, "failures.unknown"),
        ({"failures": {"node-1": {"attempts": 6}}}, "failures.node-1.attempts"),
        ({"results": {"unknown": "a"}}, "results.unknown"),
        ({"results": {"node-1": {"$gt": ""}}}, "results.node-1"),
        ({"variables": {"a": {"$gt": ""}}}, "variables.a"),
        ({"merchantId": "another"}, "merchantId"),
    ],
)
async def test_what_makes_no_simulation_is_refused_by_name(api: Api, body: dict[str, object], field: str) -> None:
    made = await flow(api)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/simulate", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"].startswith(field)


async def test_nobody_elses_contact_is_simulated(api: Api) -> None:
    made, stranger = await flow(api), api.other_merchant()
    theirs = await stranger.contact(await stranger.account())
    status, answer = await api.post(f"{FLOWS}/{made['id']}/simulate", {"contactId": theirs})
    assert (status, answer["details"]["field"]) == (422, "contactId")


async def test_a_viewer_may_simulate(api: Api) -> None:
    made = await flow(api)
    status, _ = await api.as_role("viewer").post(f"{FLOWS}/{made['id']}/simulate", {})
    assert status == 200
