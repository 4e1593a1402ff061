from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from config.settings import Settings
from domain.clock import SystemClock
from domain.errors import Unavailable
from domain.ids import new_id
from storage.client import Client, Database
from storage.contact_merge import ContactMerges
from storage.encryption import key_ring
from storage.flow_orders import FlowOrders
from storage.flow_secrets import FlowSecrets
from tests.actors.campaign_stage import MERCHANT
from tests.actors.flow_stage import FlowStage, open_flow_stage
from tests.domain.flow_bodies import CONDITIONS, link, node


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[FlowStage]:
    async with open_flow_stage(client, database, settings) as stage:
        await stage.account()
        yield stage


async def somebody(stage: FlowStage, **fields: Any) -> str:
    return (await stage.contacts(stage.accounts[0], 1, **fields))[0]


# --- messages and waits


async def test_the_example_of_the_seed_is_sent_once_each_and_counted(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(
        node("node-1", "send_message", templateId=await stage.template("Welcome {{ username }}")),
        node("node-2", "wait", duration=1),
        node("node-3", "send_message", templateId=await stage.template("Still there, {{ order }}?")),
    )
    execution_id = await stage.begin(flow, contact_id, order="A-17")
    found = await stage.until_execution(execution_id, "completed")
    assert list(stage.in_x().values()) == [1, 1]
    assert {text for _, text in stage.in_x()} == {"Welcome user1", "Still there, A-17?"}
    assert await stage.path(execution_id) == [
        ("node-1", "done", "next"),
        ("node-2", "waiting", None),
        ("node-2", "done", "next"),
        ("node-3", "done", "next"),
    ]
    assert (found["currentNodeId"], found["completedAt"]) == (None, found["updatedAt"])
    assert await stage.node_counts(flow["_id"]) == {
        name: {"entered": 1, "done": 1} for name in ("node-1", "node-2", "node-3")
    }
    assert await stage.left_over() == []
    assert await stage.database["reminders"].count_documents({}) == 0
    messages = await stage.database["messages"].find({}).to_list()
    assert {(each["source"], each["priority"], each["status"]) for each in messages} == {("flow", 2, "sent")}
    assert [each["flow"]["visit"] for each in messages] == [1, 3]
    contact = await stage.contact(contact_id)
    assert (contact["messagesSent"], contact["conversationCount"]) == (2, 1)


async def test_a_message_goes_into_the_conversation_that_is_open(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(node("a", "send_message", templateId=await stage.template()), reEntry="always")
    for _ in range(2):
        await stage.until_execution(await stage.begin(flow, contact_id), "completed")
    conversations = await stage.database["conversations"].find({}).to_list()
    assert [each["messageCount"] for each in conversations] == [2]


@pytest.mark.parametrize(
    ("fields", "account", "content", "reason"),
    [
        ({"consent": {"state": "opted_out", "at": None, "source": None}}, {}, "Hi", "opted_out"),
        ({"suppression": {"reason": "blocked", "at": SystemClock().now()}}, {}, "Hi", "blocked"),
        ({}, {"requireConsent": True}, "Hi", "no_consent"),
        ({}, {"connected": False}, "Hi", "closed_account"),
        ({}, {}, "Hi {{ order }}", "missing_variable"),
        ({}, {}, "{{ username | divided_by: 2 }}", "unrenderable"),
    ],
)
async def test_a_message_that_may_not_be_sent_fails_for_good_and_takes_the_branch_for_errors(
    stage: FlowStage, fields: dict[str, Any], account: dict[str, Any], content: str, reason: str
) -> None:
    stage.start()
    contact_id = await somebody(stage, **fields)
    if account:
        await stage.database["accounts"].update_one({}, {"$set": account})
    template_id = await stage.template(content)
    flow = await stage.flow(
        node("a", "send_message", templateId=template_id),
        node("b", "add_tag", tag="unreached"),
        links=[link("a", "b", "error")],
    )
    execution_id = await stage.begin(flow, contact_id)
    await stage.until_execution(execution_id, "completed")
    [failed, _] = (await stage.execution(execution_id))["history"]
    assert (failed["outcome"], failed["branch"], failed["error"]) == ("failed", "error", reason)
    assert (await stage.contact(contact_id))["tags"] == ["unreached"]
    assert not stage.in_x()


async def test_a_template_that_is_gone_fails_the_execution_visibly(stage: FlowStage) -> None:
    stage.start()
    flow = await stage.flow(node("a", "send_message", templateId="gone"))
    execution_id = await stage.begin(flow, await somebody(stage))
    found: Any = await stage.until_execution(execution_id, "failed")
    assert (found["state"]["failure"], found["currentNodeId"]) == ("template_missing", "a")
    assert await stage.node_counts(flow["_id"]) == {"a": {"entered": 1, "failed": 1}}


async def test_what_x_refuses_fails_the_node_and_is_not_sent_again(stage: FlowStage) -> None:
    stage.start()
    stage.fault("error", error="NoPermissionToMessage")
    flow = await stage.flow(node("a", "send_message", templateId=await stage.template()))
    execution_id = await stage.begin(flow, await somebody(stage))
    found: Any = await stage.until_execution(execution_id, "failed")
    assert found["state"]["failure"] == "recipient_refuses_messages"
    assert await stage.database["messages"].count_documents({}) == 1


async def test_who_opts_out_while_a_message_is_queued_does_not_get_it(stage: FlowStage) -> None:
    stage.start(x_messages_per_day=1, x_reserve_for_people=0.0)
    first, second = await stage.contacts(stage.accounts[0], 2)
    flow = await stage.flow(node("a", "send_message", templateId=await stage.template()))
    await stage.until_execution(await stage.begin(flow, first), "completed")
    execution_id = await stage.begin(flow, second)

    async def queued() -> bool:
        return await stage.database["messages"].count_documents({"contactId": second, "status": "queued"}) == 1

    await stage.until(queued)
    opted_out = {"consent.state": "opted_out"}
    await stage.database["contacts"].update_one({"_id": second}, {"$set": opted_out})
    await stage.crash()
    stage.start()
    await stage.resume_everything()
    found: Any = await stage.until_execution(execution_id, "failed")
    assert found["state"]["failure"] == "opted_out"
    assert len(stage.in_x()) == 1


async def test_a_delay_is_waited_for(stage: FlowStage) -> None:
    stage.start()
    flow = await stage.flow(node("a", "send_message", templateId=await stage.template(), delay=1))
    execution_id = await stage.begin(flow, await somebody(stage))
    assert not stage.in_x()
    await stage.until_execution(execution_id, "completed")
    assert await stage.path(execution_id) == [("a", "waiting", None), ("a", "done", "next")]


# --- replies


async def test_a_reply_is_kept_and_fills_what_follows(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(
        node("ask", "send_message", templateId=await stage.template("Which colour?")),
        node("wait", "wait_for_reply", saveAs="colour"),
        node("thank", "send_message", templateId=await stage.template("{{ colour }} it is")),
    )
    execution_id = await stage.begin(flow, contact_id)
    found: Any = await stage.until_execution(execution_id, node="wait")
    assert found["listening"] is True
    await stage.say(contact_id, "blue")
    found = await stage.until_execution(execution_id, "completed")
    assert "listening" not in found
    assert {text for _, text in stage.in_x()} == {"Which colour?", "blue it is"}
    assert await stage.database["reminders"].count_documents({}) == 0


async def test_a_reply_before_the_send_is_known_counts_and_one_that_was_there_before_does_not(
    stage: FlowStage,
) -> None:
    stage.start(x_messages_per_day=1, x_reserve_for_people=0.0)
    blocker, contact_id = await stage.contacts(stage.accounts[0], 2)
    ask = node("ask", "send_message", templateId=await stage.template())
    flow = await stage.flow(ask, node("wait", "wait_for_reply", saveAs="answer"))
    await stage.until_execution(await stage.begin(flow, blocker), node="wait")
    await stage.say(contact_id, "before")
    execution_id = await stage.begin(flow, contact_id)
    await stage.say(contact_id, "meanwhile")
    assert (await stage.execution(execution_id))["currentNodeId"] == "ask"
    await stage.crash()
    stage.start()
    await stage.resume_everything()
    found: Any = await stage.until_execution(execution_id, "completed")
    assert found["state"]["variables"] == {"answer": "meanwhile"}


async def test_without_a_reply_it_goes_on_by_the_timeout(stage: FlowStage) -> None:
    stage.start()
    flow = await stage.flow(
        node("wait", "wait_for_reply", timeout=1),
        node("late", "add_tag", tag="silent"),
        links=[link("wait", "late", "timeout")],
    )
    contact_id = await somebody(stage)
    await stage.until_execution(await stage.begin(flow, contact_id), "completed")
    assert (await stage.contact(contact_id))["tags"] == ["silent"]


async def test_a_reply_that_was_erased_is_none(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    execution_id = await stage.begin(await stage.flow(node("wait", "wait_for_reply")), contact_id)
    await stage.hear(contact_id, "gone")
    await stage.executor(contact_id).take()
    assert (await stage.execution(execution_id))["status"] == "running"
    assert await stage.left_over() == []


# --- what is changed


async def test_each_node_that_changes_something_does(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage, tags=["old"], attributes={"old": 1, "kept": 2})
    await stage.database["users"].insert_one(
        {"_id": "anna", "merchantId": MERCHANT, "email": "a@example.com", "status": "active"}
    )
    flow = await stage.flow(
        node("m", "send_message", templateId=await stage.template()),
        node("a", "add_tag", tag="vip"),
        node("b", "remove_tag", tag="old"),
        node("c", "update_attributes"),
        node("d", "assign", userId="anna"),
    )
    execution_id = await stage.begin(flow, contact_id)
    await stage.until_execution(execution_id, "completed")
    contact = await stage.contact(contact_id)
    assert (contact["tags"], contact["attributes"]) == (["vip"], {"tier": "gold", "kept": 2})
    [conversation] = await stage.database["conversations"].find({}).to_list()
    assert conversation["assignedToUserId"] == "anna"
    closing = await stage.flow(node("d", "assign", userId=None), node("e", "close_conversation", reason="done"))
    await stage.until_execution(await stage.begin(closing, contact_id), "completed")
    [conversation] = await stage.database["conversations"].find({}).to_list()
    assert (conversation["status"], conversation["closeReason"]) == ("closed", "done")
    assert conversation["assignedToUserId"] is None


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (node("a", "assign", userId="nobody"), "user_missing"),
        (node("a", "assign", userId=None), "no_conversation"),
        (node("a", "ai_reply"), "no_conversation"),
        (node("a", "add_tag", tag="one-more"), "too_many_tags"),
        (node("a", "update_attributes", attributes={"more": 1}), "too_many_attributes"),
        (node("a", "start_flow", flowId="gone"), "flow_inactive"),
    ],
)
async def test_what_can_not_be_changed_fails_for_good(stage: FlowStage, one: dict[str, Any], reason: str) -> None:
    stage.start()
    full = {"tags": [f"t{n}" for n in range(100)], "attributes": {f"a{n}": n for n in range(200)}}
    execution_id = await stage.begin(await stage.flow(one), await somebody(stage, **full))
    found: Any = await stage.until_execution(execution_id, "failed")
    assert found["state"]["failure"] == reason


async def test_closing_what_is_not_open_is_no_failure(stage: FlowStage) -> None:
    stage.start()
    execution_id = await stage.begin(await stage.flow(node("a", "close_conversation")), await somebody(stage))
    await stage.until_execution(execution_id, "completed")


async def test_a_condition_sees_what_the_flow_has_changed(stage: FlowStage) -> None:
    stage.start()
    flow = await stage.flow(
        node("before", "condition"),
        node("tag", "add_tag"),
        node("after", "condition", conditions=CONDITIONS),
        node("end", "end"),
        links=[link("before", "tag", "false"), link("tag", "after"), link("after", "end", "true")],
    )
    execution_id = await stage.begin(flow, await somebody(stage))
    await stage.until_execution(execution_id, "completed")
    assert [name for name, _, _ in await stage.path(execution_id)] == ["before", "tag", "after", "end"]


async def test_a_tag_that_a_flow_adds_starts_others_once(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    by_tag = {"type": "tag_added", "config": {"tag": "vip"}}
    started = await stage.flow(node("x", "end"), trigger=by_tag, reEntry="always")
    flow = await stage.flow(node("a", "add_tag", tag="vip"), node("b", "add_tag", tag="vip"))
    await stage.until_execution(await stage.begin(flow, contact_id), "completed")

    async def once() -> bool:
        return await stage.database["flowExecutions"].count_documents({"flowId": started["_id"]}) == 1

    await stage.until(once)
    [execution] = await stage.database["flowExecutions"].find({"flowId": started["_id"]}).to_list()
    assert (execution["status"], execution["state"]["depth"]) == ("completed", 1)
    assert await stage.left_over() == []


async def test_flows_start_one_another_with_what_they_remember_and_only_so_deep(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    other = await stage.flow(node("x", "send_message", templateId=await stage.template("Order {{ order }}")))
    flow = await stage.flow(node("a", "start_flow", flowId=other["_id"]))
    await stage.until_execution(await stage.begin(flow, contact_id, order=5), "completed")

    async def sent() -> bool:
        return bool(stage.in_x())

    await stage.until(sent)
    assert [text for _, text in stage.in_x()] == ["Order 5"]


async def test_a_flow_that_starts_itself_ends(stage: FlowStage) -> None:
    stage.start()
    by_tag: dict[str, Any] = {"type": "tag_added", "config": {"tag": "round"}}
    flow = await stage.flow(
        node("a", "remove_tag", tag="round"), node("b", "add_tag", tag="round"), trigger=by_tag, reEntry="always"
    )
    await stage.begin(flow, await somebody(stage))

    async def quiet() -> bool:
        running = await stage.database["flowExecutions"].count_documents({"status": "running"})
        begun = await stage.database["flowExecutions"].count_documents({})
        return not running and begun > 1 and not await stage.left_over()

    await stage.until(quiet)
    assert await stage.database["flowExecutions"].count_documents({}) == 11


async def test_a_flow_of_another_account_is_not_started(stage: FlowStage) -> None:
    stage.start()
    second = await stage.account()
    other = await stage.flow(node("x", "end"), accountId=second.id)
    execution_id = await stage.begin(
        await stage.flow(node("a", "start_flow", flowId=other["_id"])), await somebody(stage)
    )
    found: Any = await stage.until_execution(execution_id, "failed")
    assert found["state"]["failure"] == "flow_of_another_account"


# --- calls


async def test_a_call_is_filled_made_once_and_its_answer_kept(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    call = node(
        "a",
        "http_request",
        url=f"{stage.shop.url}/orders/{{{{ order }}}}?by={{{{ username }}}}",
        method="POST",
        headers={"X-Order": "{{ order }}"},
        body='{"order": "{{ order }}", "who": "{{ username }}"}',
        saveAs="number",
    )
    tell = node("b", "send_message", templateId=await stage.template("Your order is {{ number }}"))
    execution_id = await stage.begin(await stage.flow(call, tell), contact_id, order='a/b"?')
    found: Any = await stage.until_execution(execution_id, "failed", "completed")
    assert found["state"]["failure"] is None
    [(method, url, headers, body)] = stage.shop.calls
    assert (method, url) == ("POST", "/orders/a%2Fb%22%3F?by=user1")
    assert (headers["x-order"], headers["content-type"]) == ('a/b"?', "application/json")
    assert headers["idempotency-key"] == f"{execution_id}:a:1"
    assert body == '{"order": "a/b\\"?", "who": "user1"}'
    assert [text for _, text in stage.in_x()] == ["Your order is A-17"]


def secret_call(stage: FlowStage, settings: Settings, **config: Any) -> dict[str, Any]:
    """Return a node that calls with a secret, which was sealed under these settings."""
    given = {"url": f"{stage.shop.url}/x", "secretHeaders": {"X-Key": "planted"}} | config
    (kept,) = FlowSecrets(key_ring(settings)).sealed(MERCHANT, [node("a", "http_request", **given)])
    assert "planted" not in str(kept)
    return kept


async def test_a_secret_goes_with_the_call_and_nowhere_else(stage: FlowStage) -> None:
    stage.start()
    flow = await stage.flow(secret_call(stage, stage.settings, saveAs="order"))
    execution_id = await stage.begin(flow, await somebody(stage))
    await stage.until_execution(execution_id, "completed")
    [(_, _, headers, _)] = stage.shop.calls
    assert headers["x-key"] == "planted"
    for name in await stage.database.list_collection_names():
        async for document in stage.database[name].find():
            assert "planted" not in str(document), name


async def test_a_secret_that_was_sealed_with_a_former_key_is_still_opened(stage: FlowStage) -> None:
    former = stage.settings.encryption_key.get_secret_value()
    flow = await stage.flow(secret_call(stage, stage.settings))
    anew = base64.b64encode(b"another key of thirty-two bytes.").decode()
    stage.start(encryption_key=SecretStr(anew), encryption_keys_old=SecretStr(former))
    await stage.until_execution(await stage.begin(flow, await somebody(stage)), "completed")
    assert [headers["x-key"] for _, _, headers, _ in stage.shop.calls] == ["planted"]


async def test_a_secret_whose_key_is_gone_fails_the_call_for_good(stage: FlowStage) -> None:
    flow = await stage.flow(secret_call(stage, stage.settings))
    stage.start(encryption_key=SecretStr(base64.b64encode(b"another key of thirty-two bytes.").decode()))
    found: Any = await stage.until_execution(await stage.begin(flow, await somebody(stage)), "failed")
    assert found["state"]["failure"] == "secret_unreadable"
    assert stage.shop.calls == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_secret_does_not_follow_a_redirect(stage: FlowStage, method: str) -> None:
    stage.start()
    stage.shop.answers = [web.Response(status=302, headers={"Location": f"{stage.shop.url}/elsewhere"})]
    flow = await stage.flow(secret_call(stage, stage.settings, method=method))
    found: Any = await stage.until_execution(await stage.begin(flow, await somebody(stage)), "failed")
    assert found["state"]["failure"] == {"GET": "redirected", "POST": "http_302"}[method]
    assert [path for _, path, _, _ in stage.shop.calls] == ["/x"]


async def test_a_call_that_is_put_off_is_made_again_when_the_server_wants_it(stage: FlowStage) -> None:
    stage.start()
    stage.shop.answers = [web.Response(status=429, headers={"Retry-After": "40"})]
    flow = await stage.flow(node("a", "http_request", url=f"{stage.shop.url}/x"))
    execution_id = await stage.begin(flow, await somebody(stage))

    async def waits() -> bool:
        return (await stage.path(execution_id)) == [("a", "retrying", "http_429")]

    await stage.until(waits)
    found: Any = await stage.execution(execution_id)
    waiting = found["state"]["waiting"]
    assert waiting["reason"] == "retry"
    assert timedelta(seconds=40) <= waiting["until"] - found["updatedAt"]
    # As if that time were over.
    past = stage.clock.now() - timedelta(seconds=1)
    changed = {"$set": {"state.waiting.until": past}}
    await stage.database["flowExecutions"].update_one({"_id": execution_id}, changed)
    await stage.executor(found["contactId"]).on_reminder(execution_id, {})
    await stage.until_execution(execution_id, "completed")
    assert list(stage.shop.keys.values()) == [2]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web.Response(status=404), "http_404"),
        (web.Response(status=302, headers={"Location": "ftp://example.com"}), "http_302"),
        (web.Response(body=b"x" * 300_000), "answer_unreadable"),
        (web.Response(body=b"x", headers={"Content-Encoding": "gzip"}), "answer_compressed"),
    ],
)
async def test_a_call_that_is_refused_fails_for_good(stage: FlowStage, answer: web.Response, reason: str) -> None:
    stage.start()
    stage.shop.answers = [answer]
    call = node("a", "http_request", url=f"{stage.shop.url}/x", method="POST")
    execution_id = await stage.begin(await stage.flow(call), await somebody(stage))
    found: Any = await stage.until_execution(execution_id, "failed")
    assert found["state"]["failure"] == reason
    assert len(stage.shop.calls) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"url": "https://example.com/{{ missing }}"}, "missing_variable"),
        ({"headers": {"X-A": "{{ lines }}"}}, "unrenderable"),
        ({"url": "http://127.0.0.1/x"}, "address_refused"),
    ],
)
async def test_a_call_that_can_not_be_made_is_not_made(stage: FlowStage, changes: dict[str, Any], reason: str) -> None:
    stage.start(fetch_private_addresses=False)
    call = node("a", "http_request", **{"url": "https://example.com/x"} | changes)
    execution_id = await stage.begin(await stage.flow(call), await somebody(stage), lines="a\r\nX-Evil: 1")
    found: Any = await stage.until_execution(execution_id, "failed")
    assert found["state"]["failure"] == reason
    assert stage.shop.calls == []


# --- the chatbot


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ("answered", [("a", "done", "next"), ("yes", "done", None)]),
        ("escalated", [("a", "done", "escalated"), ("people", "done", None)]),
        ("failed", [("a", "retrying", "ai_unavailable")]),
    ],
)
async def test_the_chatbot_answers_or_hands_over(stage: FlowStage, answer: str, path: list[Any]) -> None:
    stage.start()
    contact_id = await somebody(stage)
    greet = await stage.flow(node("m", "send_message", templateId=await stage.template()))
    await stage.until_execution(await stage.begin(greet, contact_id), "completed")
    stage.ai = [answer]
    flow = await stage.flow(
        node("a", "ai_reply", instructions="Be brief"),
        node("yes", "end"),
        node("people", "end"),
        links=[link("a", "yes"), link("a", "people", "escalated")],
    )
    execution_id = await stage.begin(flow, contact_id)

    async def arrived() -> bool:
        return (await stage.path(execution_id)) == path

    await stage.until(arrived)
    [conversation] = await stage.database["conversations"].find({}).to_list()
    assert stage.asked == [("conversation", conversation["_id"], "reply_for_flow", f"{execution_id}:a:1", "Be brief")]


async def test_an_answer_that_is_not_known_is_asked_for_again_under_the_same_key(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    greet = node("m", "send_message", templateId=await stage.template())
    stage.ai = [Unavailable("not now")]
    execution_id = await stage.begin(await stage.flow(greet, node("a", "ai_reply")), contact_id)
    await stage.until_execution(execution_id, "completed")
    assert len(stage.asked) == 2
    assert len(set(stage.asked)) == 1


# --- who may enter, and who is over


@pytest.mark.parametrize(("rule", "executions"), [("always", 3), ("after_completed", 2), ("once", 1)])
async def test_a_contact_enters_as_often_as_the_rule_lets_it(stage: FlowStage, rule: str, executions: int) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(node("a", "wait_for_reply"), reEntry=rule)
    await stage.order(flow, contact_id)
    await stage.order(flow, contact_id)
    await stage.executor(contact_id).take()
    await stage.say(contact_id, "over")
    await stage.begin(flow, contact_id)
    assert await stage.database["flowExecutions"].count_documents({}) == executions
    assert await stage.left_over() == []


async def test_a_start_of_a_flow_that_is_no_longer_active_is_dropped(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(node("a", "end"))
    await stage.database["flows"].update_one({"_id": flow["_id"]}, {"$set": {"status": "inactive"}})
    await stage.begin(flow, contact_id)
    assert await stage.database["flowExecutions"].count_documents({}) == 0
    assert await stage.left_over() == []


async def test_an_execution_whose_flow_was_deleted_is_over(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(node("a", "wait_for_reply"))
    execution_id = await stage.begin(flow, contact_id)
    await stage.crash()
    await stage.database["flowVersions"].delete_many({})
    stage.start()
    await stage.say(contact_id, "hello")
    found: Any = await stage.until_execution(execution_id, "cancelled")
    assert found["state"]["failure"] == "flow_deleted"
    assert await stage.database["reminders"].count_documents({}) == 0


async def test_a_start_for_somebody_who_was_erased_leaves_nothing(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    flow = await stage.flow(node("a", "wait"))
    await stage.order(flow, contact_id)
    await stage.database["contacts"].delete_one({"_id": contact_id})
    await stage.executor(contact_id).take()
    assert await stage.database["flowExecutions"].count_documents({}) == 0
    assert await stage.left_over() == []


# --- people's orders


async def test_a_cancelled_execution_ends_and_its_message_is_withdrawn(stage: FlowStage) -> None:
    stage.start(x_messages_per_day=1, x_reserve_for_people=0.0)
    first, second = await stage.contacts(stage.accounts[0], 2)
    flow = await stage.flow(node("a", "send_message", templateId=await stage.template()), node("b", "add_tag"))
    await stage.until_execution(await stage.begin(flow, first), "completed")
    execution_id = await stage.begin(flow, second)

    async def queued() -> bool:
        return await stage.database["messages"].count_documents({"status": "queued"}) == 1

    await stage.until(queued)
    await stage.cancel(execution_id)
    found: Any = await stage.execution(execution_id)
    assert (found["status"], found["currentNodeId"]) == ("cancelled", "a")
    assert await stage.path(execution_id) == [("a", "cancelled", None)]
    message: Any = await stage.database["messages"].find_one({"contactId": second})
    assert (message["status"], message["failure"]["reason"]) == ("failed", "cancelled")
    await stage.crash()
    stage.start()
    await stage.resume_everything()
    await stage.cancel(execution_id)
    assert len(stage.in_x()) == 1
    assert (await stage.node_counts(flow["_id"]))["a"] == {"entered": 2, "done": 1, "cancelled": 1}


async def test_a_waiting_execution_that_is_cancelled_is_not_woken(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    execution_id = await stage.begin(await stage.flow(node("a", "wait", duration=3600)), contact_id)
    assert await stage.database["reminders"].count_documents({}) == 1
    await stage.cancel(execution_id)
    assert await stage.database["reminders"].count_documents({}) == 0
    assert (await stage.execution(execution_id))["status"] == "cancelled"


async def test_a_failed_execution_goes_on_from_where_it_failed(stage: FlowStage) -> None:
    stage.start()
    contact_id = await somebody(stage)
    template_id = await stage.template("Order {{ attributes.order }}")
    flow = await stage.flow(node("t", "add_tag"), node("a", "send_message", templateId=template_id, delay=1))
    execution_id = await stage.begin(flow, contact_id)
    await stage.until_execution(execution_id, "failed")
    await stage.database["contacts"].update_one({"_id": contact_id}, {"$set": {"attributes.order": "A-17"}})
    await stage.retry(execution_id)
    found: Any = await stage.until_execution(execution_id, "completed")
    assert found["state"]["failure"] is None
    assert [text for _, text in stage.in_x()] == ["Order A-17"]
    assert (await stage.path(execution_id))[-2:] == [("a", "failed", "missing_variable"), ("a", "done", "next")]
    await stage.retry(execution_id)
    assert len(stage.in_x()) == 1
    assert (await stage.node_counts(flow["_id"]))["a"] == {"entered": 2, "done": 1, "failed": 1}


async def test_a_message_x_refused_is_sent_anew_by_a_retry(stage: FlowStage) -> None:
    stage.start()
    stage.fault("error", error="NoPermissionToMessage")
    contact_id = await somebody(stage)
    flow = await stage.flow(node("a", "send_message", templateId=await stage.template()))
    execution_id = await stage.begin(flow, contact_id)
    await stage.until_execution(execution_id, "failed")
    await stage.database["contacts"].update_one({"_id": contact_id}, {"$set": {"suppression": None}})
    await stage.retry(execution_id)
    await stage.until_execution(execution_id, "completed")
    assert list(stage.in_x().values()) == [1]


# --- merged contacts


async def test_executions_follow_a_contact_into_the_one_it_is_merged_with(stage: FlowStage) -> None:
    stage.start()
    kept, other = await stage.contacts(stage.accounts[0], 2)
    flow = await stage.flow(
        node("m", "send_message", templateId=await stage.template("One")),
        node("a", "wait", duration=2),
        node("b", "send_message", templateId=await stage.template("Two")),
        node("c", "wait_for_reply", saveAs="said"),
    )
    execution_id = await stage.begin(flow, other)
    await stage.until_execution(execution_id, node="a")
    await ContactMerges(stage.database).merge(MERCHANT, kept, other, "anna", stage.clock.now())
    assert (await stage.execution(execution_id))["contactId"] == kept
    await stage.until_execution(execution_id, node="c")
    await stage.say(kept, "here I am")
    found: Any = await stage.until_execution(execution_id, "completed")
    assert found["state"]["variables"] == {"said": "here I am"}
    assert Counter(text for _, text in stage.in_x()) == {"One": 1, "Two": 1}
    assert await stage.database["reminders"].count_documents({}) == 0


async def test_what_is_told_of_a_contact_that_was_merged_reaches_the_kept_one(stage: FlowStage) -> None:
    stage.start()
    kept, other = await stage.contacts(stage.accounts[0], 2)
    execution_id = await stage.begin(await stage.flow(node("a", "wait", duration=3600)), other)
    before: Any = await stage.execution(execution_id)
    await ContactMerges(stage.database).merge(MERCHANT, kept, other, "anna", stage.clock.now())
    await FlowOrders(stage.database).cancel(before, stage.clock.now())
    await stage.until_execution(execution_id, "cancelled")


async def test_a_contact_that_is_being_merged_is_waited_for(stage: FlowStage) -> None:
    stage.start()
    kept, other = await stage.contacts(stage.accounts[0], 2)
    execution_id = await stage.begin(await stage.flow(node("a", "wait_for_reply")), other)
    merge = {"_id": other, "merchantId": MERCHANT, "intoContactId": kept, "conversationIds": []}
    await stage.database["contactMerges"].insert_one(merge)
    await stage.say(other, "hello", tell=False)
    await stage.database["contacts"].delete_one({"_id": other})
    with pytest.raises(Unavailable):
        await stage.executor(other).take()
    with pytest.raises(Unavailable):
        await stage.executor(other).on_reminder(execution_id, {})
    assert (await stage.execution(execution_id))["status"] == "running"
    await ContactMerges(stage.database).complete(other)
    await stage.until_execution(execution_id, "completed")


async def test_an_unknown_execution_is_nobodys(stage: FlowStage) -> None:
    stage.start()
    await stage.executor(await somebody(stage)).on_reminder(new_id(), {})
    assert await stage.left_over() == []
