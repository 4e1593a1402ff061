"""Secret headers of flows' calls: kept sealed, never shown, and only for the host that they were given for."""

from __future__ import annotations

from typing import Any

import pytest

from domain.flow_graph import read_flow
from domain.flow_nodes import HttpRequest
from storage.encryption import CannotOpen
from tests.gateway.conftest import Api
from tests.gateway.flows import MANUAL, flow

SECRET = "Bearer planted-secret"  # what is looked for
URL = "https://api.shop.example/orders/{{ order }}"


def call(url: str = URL, node_id: str = "call", **config: object) -> dict[str, Any]:
    return {"id": node_id, "type": "http_request", "config": {"url": url, **config}}


def with_secret(url: str = URL, value: object = SECRET, node_id: str = "call") -> dict[str, Any]:
    return call(url, node_id, secretHeaders={"Authorization": value})


async def opened(api: Api, flow_id: str, node_id: str = "call") -> dict[str, str]:
    """Return the secrets that calls of a flow would be made with."""
    document = await api.database["flows"].find_one({"_id": flow_id})
    assert document is not None
    graph = read_flow(document["trigger"], document["nodes"], document["connections"]).graph
    config = graph.nodes[node_id].config
    assert isinstance(config, HttpRequest)
    return api.deps.repositories.flow_secrets.opened(api.merchant_id, node_id, config)


async def refused(api: Api, method: str, path: str, nodes: list[dict[str, Any]]) -> dict[str, str]:
    body: dict[str, Any] = {"name": "Flow", "trigger": MANUAL, "nodes": nodes}
    status, answer = await (api.post if method == "POST" else api.put)(path, body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR"), answer
    assert SECRET not in str(answer)
    return {each["field"]: each["reason"] for each in answer["details"]["errors"]}


async def test_a_secret_is_kept_sealed_and_never_shown(api: Api) -> None:
    made = await flow(api, nodes=[with_secret()])
    path = f"/automation/flows/{made['id']}"
    activated = (await api.post(f"{path}/activate"))[1]["data"]
    listed = (await api.get("/automation/flows"))[1]["data"][0]
    deactivated = (await api.post(f"{path}/deactivate", {}))[1]["data"]
    assert URL not in str(listed)
    for shown in (made, activated, (await api.get(path))[1]["data"], deactivated):
        assert shown["nodes"][0]["config"] == {"url": URL, "secretHeaders": {"Authorization": None}}
    for name in await api.database.list_collection_names():
        async for document in api.database[name].find():
            assert "planted-secret" not in str(document), name
    assert await opened(api, made["id"]) == {"Authorization": SECRET}


async def test_what_was_read_can_be_written_back(api: Api) -> None:
    made = await flow(api, nodes=[with_secret()])
    path = f"/automation/flows/{made['id']}"
    node = made["nodes"][0]
    node["config"] |= {"url": "https://API.shop.example/other", "saveAs": "order"}
    status, answer = await api.put(path, {"nodes": [node]})
    assert (status, answer["data"]["nodes"][0]["config"]["saveAs"]) == (200, "order")
    assert await opened(api, made["id"]) == {"Authorization": SECRET}
    # What is not changed is no other version.
    _, again = await api.put(path, {"nodes": [node]})
    assert again["data"]["version"] == answer["data"]["version"]
    _, renamed = await api.put(path, {"name": "Renamed"})
    assert renamed["data"]["version"] == answer["data"]["version"]
    assert await opened(api, made["id"]) == {"Authorization": SECRET}
    await api.put(path, {"nodes": [with_secret(value="other")]})
    assert await opened(api, made["id"]) == {"Authorization": "other"}
    await api.put(path, {"nodes": [call()]})
    assert await opened(api, made["id"]) == {}


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/", "http://api.shop.example/", "https://api.shop.example:80/", "https://x.{{ order }}/"],
)
async def test_a_secret_does_not_go_to_another_host(api: Api, url: str) -> None:
    made = await flow(api, nodes=[with_secret()])
    found = await refused(api, "PUT", f"/automation/flows/{made['id']}", [with_secret(url, None)])
    assert found["nodes.0.config.secretHeaders.Authorization"] == "must be given anew: it was for another host"
    document = await api.database["flows"].find_one({"_id": made["id"]})
    assert document is not None
    # Not even where somebody changes the documents.
    document["nodes"][0]["config"]["url"] = url.replace("{{ order }}", "example")
    await api.database["flows"].replace_one({"_id": made["id"]}, document)
    with pytest.raises(CannotOpen):
        await opened(api, made["id"])


async def test_a_secret_is_its_nodes_and_its_merchants(api: Api) -> None:
    made = await flow(api, nodes=[with_secret()])
    path = f"/automation/flows/{made['id']}"
    found = await refused(api, "PUT", path, [with_secret(value=None, node_id="another")])
    assert found == {"nodes.0.config.secretHeaders.Authorization": "must be given"}
    found = await refused(api, "PUT", path, [call(secretHeaders={"X-Other": None})])
    assert found == {"nodes.0.config.secretHeaders.X-Other": "must be given"}
    document = await api.database["flows"].find_one({"_id": made["id"]})
    assert document is not None
    config = read_flow(document["trigger"], document["nodes"], []).graph.nodes["call"].config
    assert isinstance(config, HttpRequest)
    with pytest.raises(CannotOpen):
        api.deps.repositories.flow_secrets.opened("another merchant", "call", config)


@pytest.mark.parametrize(
    ("node", "field", "reason"),
    [
        (with_secret(value=None), "secretHeaders.Authorization", "must be given"),
        (with_secret(value={"sealed": "v1.a.b.c"}), "secretHeaders.Authorization", "must be text"),
        (with_secret(value=7), "secretHeaders.Authorization", "must be text"),
        (with_secret(value=""), "secretHeaders.Authorization", "must be 1 to 1000 printable characters of ASCII"),
        (with_secret(value="a\r\nb"), "secretHeaders.Authorization", "must be 1 to 1000 printable characters of ASCII"),
        (
            with_secret(value="x" * 1001),
            "secretHeaders.Authorization",
            "must be 1 to 1000 printable characters of ASCII",
        ),
        (call(secretHeaders={"Host": "x"}), "secretHeaders.Host", "is no header that can be given"),
        (call(secretHeaders=["x"]), "secretHeaders", "must be an object of at most 10 entries"),
        (call(headers={"x-key": "a"}, secretHeaders={"X-Key": "b"}), "secretHeaders.X-Key", "is given twice"),
        (
            with_secret("https://{{ order }}.example/"),
            "url",
            "must name its host as it is where there are secretHeaders",
        ),
        (
            call(headers={"authorization": "Bearer x"}),
            "headers.authorization",
            "would be shown to everybody who reads flows: give it in secretHeaders",
        ),
    ],
)
async def test_what_is_wrong_with_a_secret_is_said(api: Api, node: dict[str, Any], field: str, reason: str) -> None:
    found = await refused(api, "POST", "/automation/flows", [node])
    assert found == {f"nodes.0.config.{field}": reason}


async def test_a_flow_from_before_with_a_secret_in_the_open_still_runs(api: Api) -> None:
    made = await flow(api, nodes=[call(headers={"X-Old": "1"})])
    changed = {"$set": {"nodes.0.config.headers": {"Authorization": "Bearer old"}}}
    await api.database["flows"].update_one({"_id": made["id"]}, changed)
    status, _ = await api.post(f"/automation/flows/{made['id']}/activate")
    assert status == 200
