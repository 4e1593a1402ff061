"""Merging contacts over HTTP; what is moved, and how it survives being cut off, is storage's to test."""

from __future__ import annotations

from domain.ids import new_id
from tests.gateway.conftest import Api
from tests.gateway.test_contact_import import ended


async def two(api: Api) -> tuple[str, str]:
    account_id = await api.account()
    kept = await api.contact(account_id, tags=["vip"], attributes={"tier": "gold"})
    other = await api.contact(
        account_id,
        "john_at_work",
        tags=["work", "vip"],
        attributes={"tier": "silver", "city": "Hue"},
        consent={"state": "opted_out", "at": None, "source": "api"},
    )
    await api.inbound(await api.conversation(account_id, other), "from work")
    return kept, other


async def test_a_contact_takes_up_another_one(api: Api) -> None:
    kept, other = await two(api)
    status, answer = await api.post(f"/contacts/{kept}/merge", {"contactId": other})
    assert status == 200
    merged = answer["data"]
    assert (merged["id"], merged["tags"], merged["username"]) == (kept, ["vip", "work"], "customer_john")
    assert merged["attributes"] == {"tier": "gold", "city": "Hue"}
    assert (merged["consent"]["state"], merged["conversationCount"]) == ("opted_out", 2)
    assert (await api.get(f"/contacts/{kept}"))[1]["data"] == merged
    assert (await api.get(f"/contacts/{other}"))[0] == 404
    _, listed = await api.get("/contacts")
    assert [each["id"] for each in listed["data"]] == [kept]
    _, conversations = await api.get(f"/contacts/{kept}/conversations")
    assert [each["contactId"] for each in conversations["data"]] == [kept]
    _, exported = await api.get(f"/contacts/{kept}/export")
    assert [each["content"] for each in exported["data"]["messages"]] == ["from work"]
    _, trail = await api.get("/audit")
    assert trail["data"][0]["action"] == "POST /contacts/{contactId}/merge"
    assert trail["data"][0]["targets"] == {"contactId": kept}


async def test_the_same_request_again_answers_the_same(api: Api) -> None:
    kept, other = await two(api)
    headers = {"Idempotency-Key": new_id()}
    first = await api.post(f"/contacts/{kept}/merge", {"contactId": other}, headers=headers)
    assert first[0] == 200
    assert await api.post(f"/contacts/{kept}/merge", {"contactId": other}, headers=headers) == first
    status, again = await api.post(f"/contacts/{kept}/merge", {"contactId": other})
    assert (status, again["data"]) == (200, first[1]["data"])


async def test_what_can_not_be_merged_is_refused_with_its_field(api: Api) -> None:
    kept, other = await two(api)
    foreign = api.other_merchant()
    theirs = await foreign.contact(await foreign.account())
    for wrong in (kept, new_id(), theirs):
        status, answer = await api.post(f"/contacts/{kept}/merge", {"contactId": wrong})
        assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", "contactId")
    for body in ({}, {"contactId": 1}, {"contactId": other, "more": 1}):
        assert (await api.post(f"/contacts/{kept}/merge", body))[0] == 422
    assert (await api.post(f"/contacts/{new_id()}/merge", {"contactId": other}))[0] == 404
    assert (await foreign.post(f"/contacts/{kept}/merge", {"contactId": theirs}))[0] == 404
    await api.database["erasures"].insert_one({"_id": other, "merchantId": api.merchant_id})
    status, answer = await api.post(f"/contacts/{kept}/merge", {"contactId": other})
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    await api.database["erasures"].delete_many({})
    assert (await api.get(f"/contacts/{other}"))[0] == 200


async def test_what_another_merchant_has_is_not_there_for_itself_either(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    status, answer = await api.other_merchant().post(f"/contacts/{contact_id}/merge", {"contactId": contact_id})
    assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")


async def test_an_import_adds_to_the_contact_that_a_row_was_merged_into(api: Api) -> None:
    kept, other = await two(api)
    _, before = await api.get(f"/contacts/{other}")
    assert (await api.post(f"/contacts/{kept}/merge", {"contactId": other}))[0] == 200
    row = f"twitterUserId,tags\n{before['data']['twitterUserId']},imported\n"
    body = {"accountId": before["data"]["accountId"], "format": "csv", "content": row}
    _, job = await api.post("/contacts/import", body)
    done = await ended(api, job["data"]["id"])
    assert [(each["status"], each["contactId"]) for each in done["results"]] == [("updated", kept)]
    assert "imported" in (await api.get(f"/contacts/{kept}"))[1]["data"]["tags"]
