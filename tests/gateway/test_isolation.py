"""A merchant sees and changes only its own, asked of every operation that has an id in its path.

The operations come from the API description, so that none that is added later can be forgotten: an id that nobody here
knows how to make fails.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from domain.ids import new_id
from gateway.app import API_ROUTES
from gateway.openapi import build, short_path
from tests.gateway.campaigns import link, recipient
from tests.gateway.conftest import Api
from tests.gateway.flows import execution, flow
from tests.gateway.people import colleague
from tests.gateway.webhook_endpoints import delivery, endpoint

DOCUMENT = build(API_ROUTES, ["http://127.0.0.1:5000"])
NAME = re.compile(r"{(\w+)}")
LISTS = [
    path
    for path, operations in DOCUMENT["paths"].items()
    if not NAME.search(path) and operations.get("get", {"security": []}).get("security") != []
]
#: What asks for no token is nobody's own.
OPERATIONS = [
    (method.upper(), path)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if NAME.search(path) and operation.get("security") != []
]


async def an_account(owner: Api) -> str:
    return await owner.account()


async def a_contact(owner: Api) -> str:
    return await owner.contact(await owner.account(), tags=["vip"])


async def a_conversation(owner: Api) -> str:
    conversation_id = await owner.dialogue()
    await owner.inbound(conversation_id, "where is my order?")
    return conversation_id


async def an_import(owner: Api) -> str:
    _, answer = await owner.post(
        "/contacts/import",
        {"accountId": await owner.account(), "format": "jsonl", "content": '{"twitterUserId": "4711"}'},
    )
    import_id = str(answer["data"]["id"])
    await owner.deps.background.close()
    return import_id


async def a_template(owner: Api) -> str:
    _, answer = await owner.post("/templates", {"name": f"Template {new_id()}", "type": "text", "content": "Hello"})
    return str(answer["data"]["id"])


async def a_campaign(owner: Api) -> str:
    body = {"name": "January Promotion", "type": "promotional", "templateId": await a_template(owner)}
    _, answer = await owner.post("/campaigns", body)
    return str(answer["data"]["id"])


async def a_link(owner: Api) -> str:
    contact_id = await a_contact(owner)
    return await link(owner, await recipient(owner, new_id(), new_id(), contact_id), contact_id)


async def a_flow(owner: Api) -> str:
    return str((await flow(owner))["id"])


async def an_execution(owner: Api) -> str:
    """Return an execution of the flow that was made last: the one before it in the path."""
    last = await owner.database["flows"].find_one({"merchantId": owner.merchant_id}, sort=[("_id", -1)])
    assert last is not None
    return await execution(owner, last["_id"])


async def a_delivery(owner: Api) -> str:
    """Return a delivery to the endpoint that was made last: the one before it in the path."""
    last = await owner.database["webhookEndpoints"].find_one({"merchantId": owner.merchant_id}, sort=[("_id", -1)])
    assert last is not None
    return await delivery(owner, last["_id"])


async def an_erasure(owner: Api) -> str:
    contact_id = await a_contact(owner)
    assert (await owner.delete(f"/contacts/{contact_id}"))[0] == 200
    return contact_id


#: Makes what an id in a path stands for, for a merchant. What has a list that takes a POST with the example of the
#: description needs no entry here.
MAKERS: Mapping[str, Callable[[Api], Awaitable[str]]] = {
    "accountId": an_account,
    "contactId": a_contact,
    "conversationId": a_conversation,
    "userId": colleague,
    "importId": an_import,
    "templateId": a_template,
    "campaignId": a_campaign,
    "code": a_link,
    "flowId": a_flow,
    "executionId": an_execution,
    "endpointId": endpoint,
    "deliveryId": a_delivery,
    "erasureId": an_erasure,
}
#: Parts of a path that are no ids.
PLAIN = {"tagName": "vip"}

#: What is kept about requests, and no part of what a merchant has.
NOT_COMPARED = frozenset({"audit"})


def body_of(method: str, path: str) -> Any:
    content = DOCUMENT["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    return next((each.get("example") for each in content.values()), None)


async def made(owner: Api, name: str, path: str, above_it: Mapping[str, str]) -> str:
    """Return the id of something new that the merchant has; `above_it` are the ids before it in the path."""
    if name in MAKERS:
        return await MAKERS[name](owner)
    above = path[: path.index("{" + name)].rstrip("/")
    assert "post" in DOCUMENT["paths"].get(above, {}), f"nothing here makes a {name}: MAKERS needs an entry"
    status, answer = await owner.post(above.format(**above_it), body_of("POST", above))
    assert status == 200, f"the example of POST {above} makes no {name}: MAKERS needs an entry; {answer}"
    return str(answer["data"]["id"])


async def filled(owner: Api, path: str) -> str:
    """Return a path with ids of things that the merchant has."""
    values = dict(PLAIN)
    for name in NAME.findall(path):
        if name not in values:
            values[name] = await made(owner, name, path, values)
    return path.format(**values)


async def everything_of(owner: Api) -> dict[str, list[Any]]:
    """Return every document of the merchant, by collection."""
    names = set(await owner.database.list_collection_names()) - NOT_COMPARED
    found = {
        name: await owner.database[name].find({"merchantId": owner.merchant_id}).sort("_id").to_list()
        for name in sorted(names)
    }
    return {name: documents for name, documents in found.items() if documents}


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: short_path(str(value)))
async def test_another_merchants_id_is_unknown_and_nothing_changes(api: Api, method: str, path: str) -> None:
    existing = await filled(api, path)
    before = await everything_of(api)
    assert before
    stranger = api.other_merchant()
    for role in ("owner", "viewer"):
        status, answer = await stranger.as_role(role).call(method, existing, json=body_of(method, path))
        assert (status, answer["code"]) in {(404, "RESOURCE_NOT_FOUND"), (403, "FORBIDDEN")}
        assert role == "viewer" or status == 404
        assert api.merchant_id not in str(answer)
    assert await everything_of(api) == before
    assert await everything_of(stranger) == {}


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: short_path(str(value)))
async def test_the_merchant_itself_finds_it(api: Api, method: str, path: str) -> None:
    """Else the test above would pass for an id that nobody could use."""
    status, answer = await api.call(method, await filled(api, path), json=body_of(method, path))
    assert status not in {404, 405, 500}, answer


@pytest.mark.parametrize("path", LISTS, ids=short_path)
async def test_a_list_shows_nothing_of_another_merchant(api: Api, path: str) -> None:
    owned = [await a_conversation(api), await colleague(api)]
    stranger = api.other_merchant()
    status, answer = await stranger.get(path)
    assert status in {200, 400}
    assert api.merchant_id not in str(answer)
    assert not [each for each in owned if each in str(answer)]
    if status == 200 and "pagination" in answer:
        assert (answer["data"], answer["pagination"]["total"]) == ([], 0)


async def test_no_field_of_a_request_sets_the_merchant(api: Api) -> None:
    other = new_id()
    for method, path in OPERATIONS:
        body = body_of(method, path)
        if isinstance(body, dict):
            status, _ = await api.call(method, await filled(api, path), json=body | {"merchantId": other})
            assert status == 422, (method, path)
    names = await api.database.list_collection_names()
    assert not [name for name in names if await api.database[name].find_one({"merchantId": other})]
