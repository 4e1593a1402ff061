"""What people and programs do to contacts starts flows."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from domain.contact_fields import MOST_TAGS
from gateway.dependencies import Dependencies
from storage.client import Database, Document
from storage.flow_documents import FlowDocument
from tests.actors.desk import failing
from tests.gateway.conftest import Api
from tests.storage.flow_scenes import active_flow, add_flow, deactivate


async def flow(api: Api, database: Database, kind: str, **fields: Any) -> FlowDocument:
    return await active_flow(database, kind, merchant=api.merchant_id, **fields)


async def starts_of(database: Database, *flows: FlowDocument) -> list[Document]:
    query = {"flowId": {"$in": [each["_id"] for each in flows]}, "kind": "start"}
    return await database["flowEvents"].find(query).sort("at", 1).to_list()


def body_of(account_id: str, *tags: str) -> dict[str, Any]:
    return {"accountId": account_id, "twitterUserId": str(uuid4().int)[:15], "tags": list(tags)}


async def test_a_tag_that_is_added_starts_its_flow(api: Api, gateway_database: Database) -> None:
    vip = await flow(api, gateway_database, "tag_added", config={"tag": "vip"})
    any_tag = await flow(api, gateway_database, "tag_added")
    other = await flow(api, gateway_database, "tag_added", config={"tag": "other"})
    account_id = await api.account()
    contact_id = await api.contact(account_id, tags=["old"])
    status, _ = await api.post(f"/contacts/{contact_id}/tags", {"tags": ["VIP", "old", "new"]})
    assert status == 200
    starts = await starts_of(gateway_database, vip, any_tag, other)
    assert sorted(each["flowId"] for each in starts) == sorted([vip["_id"], any_tag["_id"]])
    assert {(each["contactId"], each["accountId"], each["depth"]) for each in starts} == {(contact_id, account_id, 0)}


async def test_a_tag_that_was_there_starts_nothing_and_one_that_comes_back_starts_again(
    api: Api, gateway_database: Database
) -> None:
    vip = await flow(api, gateway_database, "tag_added", config={"tag": "vip"})
    contact_id = await api.contact(await api.account())
    for _ in range(2):
        await api.post(f"/contacts/{contact_id}/tags", {"tags": ["vip"]})
    assert len(await starts_of(gateway_database, vip)) == 1
    await api.delete(f"/contacts/{contact_id}/tags/vip")
    await api.post(f"/contacts/{contact_id}/tags", {"tags": ["vip"]})
    assert len(await starts_of(gateway_database, vip)) == 2


async def test_many_who_add_a_tag_at_once_start_its_flow_once(api: Api, gateway_database: Database) -> None:
    vip = await flow(api, gateway_database, "tag_added", config={"tag": "vip"})
    contact_id = await api.contact(await api.account())
    answers = await asyncio.gather(*(api.post(f"/contacts/{contact_id}/tags", {"tags": ["vip"]}) for _ in range(8)))
    assert {status for status, _ in answers} == {200}
    assert len(await starts_of(gateway_database, vip)) == 1


async def test_a_tag_that_is_refused_starts_nothing(api: Api, gateway_database: Database) -> None:
    vip = await flow(api, gateway_database, "tag_added")
    contact_id = await api.contact(await api.account(), tags=[f"tag{number}" for number in range(MOST_TAGS)])
    status, _ = await api.post(f"/contacts/{contact_id}/tags", {"tags": ["vip"]})
    assert status == 422
    status, _ = await api.post("/contacts/unknown/tags", {"tags": ["vip"]})
    assert status == 404
    assert await starts_of(gateway_database, vip) == []


async def test_flows_of_others_of_other_accounts_and_of_nobody_start_nothing(
    api: Api, gateway_database: Database
) -> None:
    flows = [
        await active_flow(gateway_database, "tag_added", merchant="another"),
        await flow(api, gateway_database, "tag_added", accountId="another"),
        await add_flow(gateway_database, "tag_added", merchant=api.merchant_id),
        await deactivate(gateway_database, await flow(api, gateway_database, "tag_added")),
    ]
    contact_id = await api.contact(await api.account())
    await api.post(f"/contacts/{contact_id}/tags", {"tags": ["vip"]})
    assert await starts_of(gateway_database, *flows) == []


async def test_a_contact_that_is_made_starts_flows_by_itself_and_by_its_tags(
    api: Api, gateway_database: Database
) -> None:
    made = await flow(api, gateway_database, "new_contact")
    vip = await flow(api, gateway_database, "tag_added", config={"tag": "vip"})
    body, key = body_of(await api.account(), "vip"), {"Idempotency-Key": uuid4().hex}
    status, answer = await api.post("/contacts", body, headers=key)
    assert status == 200
    await api.post("/contacts", body, headers=key)
    starts = await starts_of(gateway_database, made, vip)
    assert sorted(each["flowId"] for each in starts) == sorted([made["_id"], vip["_id"]])
    assert {each["contactId"] for each in starts} == {answer["data"]["id"]}
    status, _ = await api.post("/contacts", body)
    assert status == 409
    assert len(await starts_of(gateway_database, made, vip)) == 2


async def test_a_contact_and_what_it_starts_are_written_both_or_neither(
    api: Api, deps: Dependencies, gateway_database: Database
) -> None:
    made = await flow(api, gateway_database, "new_contact")
    body = body_of(await api.account())
    async with failing(deps.database.client, ["update"], {"times": 1}, errorCode=11601):
        status, _ = await api.post("/contacts", body)
    assert status >= 500
    found = await gateway_database["contacts"].find_one({"twitterUserId": body["twitterUserId"]})
    assert found is None
    assert await starts_of(gateway_database, made) == []
    status, _ = await api.post("/contacts", body)
    assert status < 300
    assert len(await starts_of(gateway_database, made)) == 1


async def test_imported_rows_start_flows_once_each(api: Api, gateway_database: Database) -> None:
    made = await flow(api, gateway_database, "new_contact")
    vip = await flow(api, gateway_database, "tag_added", config={"tag": "vip"})
    account_id, known = await api.account(), str(uuid4().int)[:15]
    known_id = await api.contact(account_id, twitterUserId=known)
    had_id = await api.contact(account_id, twitterUserId=(had := str(uuid4().int)[:15]), tags=["vip"])
    rows = [f"{str(uuid4().int)[:15]},vip;new", f"{str(uuid4().int)[:15]},", f"{known},vip", f"{had},vip"]
    content = "\n".join(["twitterUserId,tags", *rows])
    _, answer = await api.post("/contacts/import", {"accountId": account_id, "format": "csv", "content": content})
    async with asyncio.timeout(30):
        while answer["data"]["status"] != "completed":
            await asyncio.sleep(0.02)
            _, answer = await api.get(f"/contacts/imports/{answer['data']['id']}")
    assert answer["data"]["counts"] == {"created": 2, "updated": 2, "failed": 0}
    first, second = (each["contactId"] for each in answer["data"]["results"][:2])
    assert {each["contactId"] for each in await starts_of(gateway_database, made)} == {first, second}
    assert sorted(each["contactId"] for each in await starts_of(gateway_database, vip)) == sorted([first, known_id])
    assert had_id not in {each["contactId"] for each in await starts_of(gateway_database, made, vip)}
