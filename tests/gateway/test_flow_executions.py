"""Executions: the API document's list of them, and what the contract adds: one, retry, cancel, start by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import Unavailable
from domain.flow_triggers import TRIGGER_TYPES
from domain.ids import new_id
from gateway.events.kinds import KINDS
from gateway.models.flow_executions import ExecutionState
from storage.flow_documents import flow_event_id
from storage.indexes import EXECUTIONS_BY_FLOW, EXECUTIONS_BY_STATUS, EXECUTIONS_RUNNING
from tests.gateway.campaigns import campaign, segment
from tests.gateway.conftest import Actors, Api
from tests.gateway.flows import MANUAL, STARTED, STATE, active_flow, execution, flow

FLOWS = "/automation/flows"
#: What the API document's example of an execution has.
OF_THE_EXAMPLE = {"id", "flowId", "contactId", "status", "currentNodeId", "startedAt", "completedAt"}
DONE = {
    "nodeId": "node-1",
    "visit": 1,
    "outcome": "done",
    "at": STARTED,
    "branch": "next",
    "error": None,
}
FAILED = DONE | {"nodeId": "node-2", "visit": 2, "outcome": "failed", "branch": None, "error": "opted_out"}


def path_to(flow_id: str, execution_id: str = "", action: str = "") -> str:
    return f"{FLOWS}/{flow_id}/executions" + "".join(f"/{each}" for each in (execution_id, action) if each)


async def waiting(api: Api) -> list[dict[str, Any]]:
    """Return what the executors of the merchant's contacts have yet to take."""
    return await api.database["flowEvents"].find({"merchantId": api.merchant_id}).to_list()


# --- Get Flow Executions


async def test_get_flow_executions_as_the_api_document_has_it(api: Api) -> None:
    made, contact_id = await flow(api), new_id()
    execution_id = await execution(
        api,
        made["id"],
        contact_id,
        status="completed",
        currentNodeId=None,
        completedAt=STARTED + timedelta(days=1),
        history=[DONE],
        state=STATE | {"variables": {"answer": "my secret"}, "unheard": {"text": "my secret"}},
    )
    status, answer = await api.get(path_to(made["id"]))
    assert status == 200
    assert answer["data"] == [
        {
            "id": execution_id,
            "flowId": made["id"],
            "contactId": contact_id,
            "status": "completed",
            "currentNodeId": None,
            "startedAt": "2026-01-18T09:00:00Z",
            "completedAt": "2026-01-19T09:00:00Z",
            "history": [
                {
                    "node": "node-1",
                    "outcome": "done",
                    "at": "2026-01-18T09:00:00Z",
                    "error": None,
                    "branch": "next",
                    "visit": 1,
                }
            ],
        }
    ]
    assert set(answer["data"][0]) == OF_THE_EXAMPLE | {"history"}
    assert answer["pagination"] == {"page": 1, "limit": 20, "total": 1, "totalPages": 1}


async def test_get_flow_executions_newest_first_by_status_and_contact(api: Api) -> None:
    made = await flow(api)
    contact_id = new_id()
    oldest = await execution(api, made["id"], contact_id, status="failed", startedAt=STARTED - timedelta(hours=1))
    newest = await execution(api, made["id"], startedAt=STARTED + timedelta(hours=1))
    between = await execution(api, made["id"], contact_id, status="cancelled")
    completed = await execution(api, made["id"], status="completed", startedAt=STARTED - timedelta(days=1))
    await execution(api, (await flow(api))["id"], contact_id)
    for query, expected in (
        ("", [newest, between, oldest, completed]),
        ("?status=running", [newest]),
        ("?status=completed", [completed]),
        ("?status=failed", [oldest]),
        ("?status=cancelled", [between]),
        (f"?contactId={contact_id}", [between, oldest]),
        (f"?contactId={contact_id}&status=failed", [oldest]),
        (f"?contactId={new_id()}", []),
        ("?skip=1&take=2", [between, oldest]),
    ):
        status, answer = await api.get(path_to(made["id"]) + query)
        assert status == 200
        assert [each["id"] for each in answer["data"]] == expected, query
    assert answer["pagination"] == {"page": 1, "limit": 2, "total": 4, "totalPages": 2}


@pytest.mark.parametrize("query", ["status=waiting", "take=0", "take=101", "skip=-1", "colour=red"])
async def test_get_flow_executions_with_an_unknown_filter(api: Api, query: str) -> None:
    made = await flow(api)
    status, answer = await api.get(f"{path_to(made['id'])}?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


# --- one execution


async def test_an_execution_by_itself_says_what_it_runs_and_why_it_has_failed(api: Api) -> None:
    made = await flow(api)
    execution_id = await execution(
        api,
        made["id"],
        status="failed",
        currentNodeId="node-2",
        version=3,
        history=[DONE, FAILED],
        state=STATE | {"failure": "opted_out", "variables": {"answer": "my secret"}},
    )
    status, answer = await api.get(path_to(made["id"], execution_id))
    data = answer["data"]
    assert status == 200
    assert (data["status"], data["version"], data["failure"]) == ("failed", 3, "opted_out")
    assert (data["accountId"], data["currentNodeId"]) == ("an-account", "node-2")
    assert [(each["node"], each["outcome"], each["error"]) for each in data["history"]] == [
        ("node-1", "done", None),
        ("node-2", "failed", "opted_out"),
    ]
    assert "my secret" not in str(answer)


@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("POST", "retry"), ("POST", "cancel")])
async def test_an_execution_is_found_under_its_own_flow_only(api: Api, method: str, action: str) -> None:
    made, other = await flow(api), await flow(api)
    execution_id = await execution(api, made["id"], status="failed" if action == "retry" else "running")
    for path in (path_to(other["id"], execution_id, action), path_to(made["id"], new_id(), action)):
        status, answer = await api.call(method, path)
        assert (status, answer["code"], answer["error"]) == (404, "RESOURCE_NOT_FOUND", "Execution not found")
    assert await waiting(api) == []


# --- retry and cancel


@pytest.mark.parametrize(
    ("action", "before", "after"), [("retry", "failed", "running"), ("cancel", "running", "cancelled")]
)
async def test_the_executor_is_told_and_what_came_of_it_is_answered(
    api: Api, actors: Actors, action: str, before: str, after: str
) -> None:
    made, contact_id = await flow(api), new_id()
    execution_id = await execution(api, made["id"], contact_id, status=before)
    status, answer = await api.post(path_to(made["id"], execution_id, action))
    assert (status, answer["data"]["id"], answer["data"]["status"]) == (200, execution_id, after)
    assert actors.calls == [("take", contact_id)]


@pytest.mark.parametrize(("action", "state"), [("retry", "failed"), ("cancel", "running")])
async def test_what_is_asked_waits_for_an_executor_that_can_t_be_reached(
    api: Api, actors: Actors, action: str, state: str
) -> None:
    actors.flows_fail = Unavailable("The actors are not to be reached")
    made, contact_id = await flow(api), new_id()
    execution_id = await execution(api, made["id"], contact_id, status=state)
    for _ in range(2):
        status, answer = await api.post(path_to(made["id"], execution_id, action))
        assert (status, answer["data"]["status"]) == (200, state)
    (event,) = await waiting(api)
    assert event["_id"] == flow_event_id(contact_id, f"{action}|{execution_id}")
    assert (event["kind"], event["executionId"], event["contactId"]) == (action, execution_id, contact_id)
    assert (event["accountId"], event["flowId"]) == ("an-account", made["id"])


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("retry", "running"),
        ("retry", "completed"),
        ("retry", "cancelled"),
        ("cancel", "completed"),
        ("cancel", "failed"),
        ("cancel", "cancelled"),
    ],
)
async def test_only_what_has_failed_is_retried_and_only_what_runs_is_cancelled(
    api: Api, actors: Actors, action: str, state: str
) -> None:
    made = await flow(api)
    execution_id = await execution(api, made["id"], status=state)
    status, answer = await api.post(path_to(made["id"], execution_id, action))
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert state in answer["error"]
    assert (await waiting(api), actors.calls) == ([], [])


# --- start by hand


async def test_a_flow_is_started_for_one_contact(api: Api, actors: Actors) -> None:
    made = await active_flow(api)
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    actors.calls.clear()
    body = {"contactId": contact_id, "variables": {"code": "SUMMER10", "percent": 10, "is_new": True}}
    status, answer = await api.post(f"{FLOWS}/{made['id']}/trigger", body)
    data = answer["data"]
    assert (status, data["status"], data["flowId"], data["contactId"]) == (200, "running", made["id"], contact_id)
    assert (data["accountId"], data["version"], data["history"][0]["outcome"]) == (account_id, 1, "waiting")
    assert actors.calls == [("take", contact_id)]
    known = await api.database["flowExecutions"].find_one({"_id": data["id"]})
    assert known is not None
    assert known["state"]["variables"] == body["variables"]


async def test_what_is_to_start_waits_for_an_executor_that_can_t_be_reached(api: Api, actors: Actors) -> None:
    made = await active_flow(api)
    contact_id = await api.contact(await api.account())
    actors.flows_fail = Unavailable("The actors are not to be reached")
    status, answer = await api.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": contact_id})
    data = answer["data"]
    assert (status, data["status"], data["history"], data["currentNodeId"]) == (200, "running", [], None)
    (event,) = await waiting(api)
    assert event["_id"].startswith(flow_event_id(contact_id, f"start|{made['id']}|manual|"))
    assert {name: event[name] for name in ("kind", "flowId", "version", "executionId", "depth", "variables")} == {
        "kind": "start",
        "flowId": made["id"],
        "version": 1,
        "executionId": data["id"],
        "depth": 0,
        "variables": {},
    }


async def test_a_start_that_the_executor_refuses_is_refused(api: Api, actors: Actors) -> None:
    """Somebody else was faster: the rule is the executor's to keep."""
    made = await active_flow(api)
    contact_id = await api.contact(await api.account())
    actors.refuses_starts = True
    status, answer = await api.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": contact_id})
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert "after_completed" in answer["error"]
    assert await waiting(api) == []


async def test_the_same_key_starts_it_once(api: Api) -> None:
    made = await active_flow(api)
    body = {"contactId": await api.contact(await api.account())}
    key = {"Idempotency-Key": new_id()}
    _, first = await api.post(f"{FLOWS}/{made['id']}/trigger", body, headers=key)
    # As if the gateway had died before it could keep the answer.
    lost = {"status": None, "body": None, "reservedAt": None}
    await api.database["idempotencyKeys"].update_one({"merchantId": api.merchant_id}, {"$set": lost})
    status, again = await api.post(f"{FLOWS}/{made['id']}/trigger", body, headers=key)
    assert (status, again) == (200, first)
    assert await api.database["flowExecutions"].count_documents({"flowId": made["id"]}) == 1


@pytest.mark.parametrize("state", ["draft", "inactive"])
async def test_only_an_active_flow_is_started(api: Api, state: str) -> None:
    made = await flow(api) if state == "draft" else await active_flow(api)
    await api.post(f"{FLOWS}/{made['id']}/deactivate")
    status, answer = await api.post(
        f"{FLOWS}/{made['id']}/trigger", {"contactId": await api.contact(await api.account())}
    )
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert state in answer["error"]
    assert await waiting(api) == []


@pytest.mark.parametrize("kind", TRIGGER_TYPES)
async def test_a_flow_is_started_by_hand_whatever_its_trigger_is(api: Api, kind: str) -> None:
    configs: dict[str, dict[str, Any]] = {
        "segment_entered": {"segmentId": await segment(api)},
        "schedule": {"segmentId": await segment(api), "startAt": "2027-01-18T10:00:00Z"},
        "campaign_replied": {"campaignId": (await campaign(api))["id"]},
    }
    made = await active_flow(api, trigger={"type": kind, "config": configs.get(kind, {})})
    contact_id = await api.contact(await api.account())
    assert (await api.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": contact_id}))[0] == 200


@pytest.mark.parametrize(
    ("rule", "earlier", "expected"),
    [
        ("always", "running", 200),
        ("always", "completed", 200),
        ("once", "running", 409),
        ("once", "completed", 409),
        ("once", "cancelled", 409),
        ("after_completed", "running", 409),
        ("after_completed", "completed", 200),
        ("after_completed", "failed", 200),
        ("after_completed", "cancelled", 200),
    ],
)
async def test_a_contact_goes_into_a_flow_again_as_its_rule_says(
    api: Api, rule: str, earlier: str, expected: int
) -> None:
    made = await active_flow(api, reEntry=rule)
    contact_id = await api.contact(await api.account())
    await execution(api, made["id"], contact_id, status=earlier)
    await execution(api, (await flow(api))["id"], contact_id)
    status, answer = await api.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": contact_id})
    assert status == expected, answer
    assert status == 200 or rule in answer["error"]


async def test_a_flow_of_one_account_is_started_for_its_contacts_only(api: Api) -> None:
    account_id = await api.account()
    made = await active_flow(api, accountId=account_id, trigger=MANUAL)
    path = f"{FLOWS}/{made['id']}/trigger"
    assert (await api.post(path, {"contactId": await api.contact(account_id)}))[0] == 200
    status, answer = await api.post(path, {"contactId": await api.contact(await api.account())})
    assert (status, answer["details"]["field"]) == (422, "contactId")


async def test_nobody_elses_contact_is_started(api: Api) -> None:
    made, stranger = await active_flow(api), api.other_merchant()
    theirs = await stranger.contact(await stranger.account())
    status, answer = await api.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": theirs})
    assert (status, answer["details"]["field"]) == (422, "contactId")


# --- what it costs, and what is told of it


async def test_lists_and_numbers_are_read_from_indexes_of_their_own(api: Api) -> None:
    made = await flow(api)
    await execution(api, made["id"])
    of_it = {"merchantId": api.merchant_id, "flowId": made["id"]}
    running = of_it | {"status": "running"}
    collection = api.database["flowExecutions"]
    newest = [("startedAt", -1), ("_id", -1)]
    for query, index in ((of_it, EXECUTIONS_BY_FLOW), (running, EXECUTIONS_BY_STATUS)):
        plan = await collection.find(query).sort(newest).limit(20).hint(index).explain()
        assert "SORT" not in stages(plan["queryPlanner"]["winningPlan"])
    for query, index in (
        (running, EXECUTIONS_BY_STATUS),
        (running, EXECUTIONS_RUNNING),
        (running | {"version": {"$lt": 2}}, EXECUTIONS_RUNNING),
    ):
        command = {"count": "flowExecutions", "query": query, "hint": index}
        explained = await api.database.command("explain", command, verbosity="executionStats")
        assert explained["executionStats"]["totalDocsExamined"] == 0, index


def stages(plan: dict[str, Any]) -> list[str]:
    inner = plan.get("inputStage") or plan.get("queryPlan")
    return [*([plan["stage"]] if "stage" in plan else []), *(stages(inner) if inner else [])]


async def test_where_an_execution_is_can_be_told_from_its_document(api: Api) -> None:
    made = await flow(api)
    execution_id = await execution(api, made["id"], history=[DONE])
    document = await api.database["flowExecutions"].find_one({"_id": execution_id})
    assert document is not None
    told = ExecutionState.model_validate(document).model_dump(by_alias=True)
    assert set(told) == OF_THE_EXAMPLE
    assert told["id"] == execution_id


def test_each_end_of_an_execution_is_an_event_of_its_own() -> None:
    kind = KINDS["flowExecutions"]
    ends = ("execution.completed", "execution.failed", "execution.cancelled")
    assert kind.events == ("execution.started", *ends, "execution.resumed")
