"""The API of flows with the actors that really run them, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from actors.flow_executor import FlowExecutor
from actors.kinds import actor_factories
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from domain.clock import SystemClock
from domain.ids import new_id
from gateway.dependencies import Dependencies
from storage.client import Database
from tests.gateway.conftest import Api, serve
from tests.gateway.flows import TAG, active_flow, flow

FLOWS = "/automation/flows"
DAY: dict[str, Any] = {"id": "a-day", "type": "wait", "config": {"duration": 86400}}


@pytest.fixture
async def whole(deps: Dependencies, gateway_database: Database) -> AsyncIterator[Api]:
    host = ActorHost({})
    system = LocalActors(host)
    telling: set[asyncio.Future[object]] = set()

    def tell(kind: str, key: str, method: str, *args: object) -> None:
        told = asyncio.ensure_future(system.call(kind, key, method, args, {}, 30.0))
        telling.add(told)
        told.add_done_callback(telling.discard)

    async with aiohttp.ClientSession() as session:
        client = gateway_database.client
        host._factories = actor_factories(deps.settings, client, gateway_database, session, SystemClock(), 1, tell)
        await host.start()
        try:
            real = replace(deps, actors=system)
            async with serve(real) as http:
                yield Api(http, gateway_database, new_id(), new_id(), ["owner"], real)
        finally:
            await asyncio.gather(*telling, return_exceptions=True)
            await host.stop(0.1)


async def until(found: Callable[[], Awaitable[dict[str, Any]]], **fields: object) -> dict[str, Any]:
    """Return what is found once its fields are as expected."""
    async with asyncio.timeout(20):
        while True:
            data = await found()
            if {name: data[name] for name in fields} == fields:
                return data
            await asyncio.sleep(0.02)


async def triggered(api: Api, flow_id: str, contact_id: str) -> dict[str, Any]:
    status, answer = await api.post(f"{FLOWS}/{flow_id}/trigger", {"contactId": contact_id})
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


def reading(api: Api, path: str) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def read() -> dict[str, Any]:
        status, answer = await api.get(path)
        assert status == 200, answer
        data: dict[str, Any] = answer["data"]
        return data

    return read


async def test_an_execution_is_started_waits_and_is_cancelled(whole: Api) -> None:
    links = [{"fromNodeId": "node-1", "toNodeId": "a-day"}]
    made = await active_flow(whole, nodes=[TAG, DAY], connections=links)
    contact_id = await whole.contact(await whole.account())
    begun = await triggered(whole, made["id"], contact_id)
    assert (begun["status"], begun["version"], begun["contactId"]) == ("running", 1, contact_id)
    path = f"{FLOWS}/{made['id']}/executions/{begun['id']}"
    waits = await until(reading(whole, path), currentNodeId="a-day")
    assert [(each["node"], each["outcome"], each["error"]) for each in waits["history"]] == [
        ("node-1", "done", None),
        ("a-day", "waiting", None),
    ]
    assert (await whole.get(f"/contacts/{contact_id}"))[1]["data"]["tags"] == ["vip"]
    # By its rule the contact can't go in a second time now.
    status, answer = await whole.post(f"{FLOWS}/{made['id']}/trigger", {"contactId": contact_id})
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")

    status, answer = await whole.post(f"{path}/cancel")
    assert (status, answer["data"]["status"], answer["data"]["history"][-1]["outcome"]) == (
        200,
        "cancelled",
        "cancelled",
    )
    assert answer["data"]["completedAt"] is not None
    _, answer = await whole.get(f"{FLOWS}/{made['id']}")
    assert answer["data"]["stats"] == {"started": 1, "running": 0, "completed": 0, "failed": 0, "cancelled": 1}
    assert answer["data"]["nodeCounts"] == [
        {"nodeId": "node-1", "entered": 1, "done": 1, "failed": 0, "cancelled": 0},
        {"nodeId": "a-day", "entered": 1, "done": 0, "failed": 0, "cancelled": 1},
    ]


async def test_what_has_failed_goes_on_from_there_after_a_retry(whole: Api) -> None:
    other = await flow(whole)
    nodes = [TAG, {"id": "other", "type": "start_flow", "config": {"flowId": other["id"]}}]
    made = await active_flow(whole, nodes=nodes, connections=[{"fromNodeId": "node-1", "toNodeId": "other"}])
    contact_id = await whole.contact(await whole.account())
    begun = await triggered(whole, made["id"], contact_id)
    path = f"{FLOWS}/{made['id']}/executions/{begun['id']}"
    failed = await until(reading(whole, path), status="failed")
    assert (failed["currentNodeId"], failed["failure"]) == ("other", "flow_inactive")
    assert (await whole.post(f"{FLOWS}/{other['id']}/activate"))[0] == 200
    status, answer = await whole.post(f"{path}/retry")
    assert (status, answer["data"]["failure"]) == (200, None)
    done = await until(reading(whole, path), status="completed")
    assert [each["node"] for each in done["history"]].count("node-1") == 1
    _, answer = await whole.get(f"{FLOWS}/{other['id']}/executions?contactId={contact_id}")
    assert len(answer["data"]) == 1


async def test_deactivating_cancels_what_is_under_way_where_that_is_asked_for(whole: Api) -> None:
    made = await active_flow(whole, nodes=[DAY])
    account_id = await whole.account()
    contacts = [await whole.contact(account_id) for _ in range(3)]
    for contact_id in contacts:
        await triggered(whole, made["id"], contact_id)
    status, answer = await whole.post(f"{FLOWS}/{made['id']}/deactivate", {"runningExecutions": "cancel"})
    assert (status, answer["data"]["status"], answer["data"]["runningExecutions"]) == (200, "inactive", 3)
    events = whole.database["flowEvents"]
    async with asyncio.timeout(20):
        while await events.count_documents({"merchantId": whole.merchant_id, "kind": "cancel"}) < 3:
            await asyncio.sleep(0.02)
    for contact_id in contacts:
        # As the hosts do that look for what is there.
        await whole.deps.actors.ref(FlowExecutor, contact_id).take()
    _, answer = await whole.get(f"{FLOWS}/{made['id']}/executions?status=cancelled")
    assert {each["contactId"] for each in answer["data"]} == set(contacts)


async def test_a_simulation_takes_the_way_of_the_execution(whole: Api) -> None:
    vip = [{"field": "tags", "operator": "contains", "value": "vip"}]
    nodes = [
        TAG,
        {"id": "is_vip", "type": "condition", "config": {"conditions": vip}},
        {"id": "spread", "type": "split", "config": {"weights": {"a": 1, "b": 1, "c": 1}}},
        *({"id": each, "type": "update_attributes", "config": {"attributes": {"way": each}}} for each in "abc"),
    ]
    links = [
        {"fromNodeId": "node-1", "toNodeId": "is_vip"},
        {"fromNodeId": "is_vip", "toNodeId": "spread", "branch": "true"},
        *({"fromNodeId": "spread", "toNodeId": each, "branch": each} for each in "abc"),
    ]
    made = await active_flow(whole, nodes=nodes, connections=links)
    account_id = await whole.account()
    for _ in range(5):
        contact_id = await whole.contact(account_id)
        _, answer = await whole.post(f"{FLOWS}/{made['id']}/simulate", {"contactId": contact_id})
        simulated = [(each["node"], each["outcome"], each["branch"]) for each in answer["data"]["path"]]
        begun = await triggered(whole, made["id"], contact_id)
        done = await until(reading(whole, f"{FLOWS}/{made['id']}/executions/{begun['id']}"), status="completed")
        assert [(each["node"], each["outcome"], each["branch"]) for each in done["history"]] == simulated
