from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import Conflict
from domain.ids import new_id
from tests.gateway.conftest import NOW, Api

IS_VIP = {"field": "tags", "operator": "contains", "value": "vip"}
VIP: dict[str, Any] = {
    "name": "VIP Customers",
    "conditions": [
        IS_VIP,
        {"field": "attributes.purchaseCount", "operator": "greaterThan", "value": 5},
        {"field": "lastInteractionAt", "operator": "after", "value": "2026-01-01T00:00:00Z"},
    ],
}


async def created(api: Api, *conditions: object, name: str = "A segment") -> dict[str, Any]:
    status, answer = await api.post("/segments", {"name": name, "conditions": list(conditions)})
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def vips(api: Api, count: int) -> list[str]:
    account_id = await api.account()
    attributes = {"purchaseCount": 8}
    return [await api.contact(account_id, f"john{n}", tags=["vip"], attributes=attributes) for n in range(count)]


async def test_a_segment_is_made_as_the_api_document_has_it(api: Api) -> None:
    await vips(api, 2)
    await api.contact(await api.account(), "ann", tags=["vip"], attributes={"purchaseCount": 5})
    await vips(api.other_merchant(), 1)
    status, answer = await api.post("/segments", VIP)
    assert status == 200
    data = answer["data"]
    assert (data["name"], data["conditions"], data["contactCount"]) == ("VIP Customers", VIP["conditions"], 2)
    assert data["merchantId"] == api.merchant_id
    assert data["createdAt"] == data["countedAt"]
    _, again = await api.get(f"/segments/{data['id']}")
    assert again["data"] == data


async def test_a_preview_shows_contacts_as_the_api_document_has_them(api: Api) -> None:
    ids = await vips(api, 3)
    segment = await created(api, IS_VIP)
    status, answer = await api.post(f"/segments/{segment['id']}/preview?limit=2")
    assert status == 200
    assert answer["data"]["totalMatches"] == 3
    assert [each["id"] for each in answer["data"]["preview"]] == [ids[2], ids[1]]
    assert answer["data"]["preview"][0] == {
        "id": ids[2],
        "username": "john2",
        "displayName": "John Doe",
        "tags": ["vip"],
        "attributes": {"purchaseCount": 8},
    }


async def test_a_preview_shows_ten_and_fifty_at_most(api: Api) -> None:
    await vips(api, 12)
    segment = await created(api, IS_VIP)
    _, answer = await api.post(f"/segments/{segment['id']}/preview")
    assert (answer["data"]["totalMatches"], len(answer["data"]["preview"])) == (12, 10)
    for wrong in ("0", "51", "ten", "-1"):
        status, _ = await api.post(f"/segments/{segment['id']}/preview?limit={wrong}")
        assert status == 400


async def test_segments_are_listed_newest_first(api: Api) -> None:
    for number in range(3):
        await created(api, name=f"Segment {number}")
    _, answer = await api.get("/segments?skip=1&take=1")
    assert [each["name"] for each in answer["data"]] == ["Segment 1"]
    assert answer["pagination"] == {"page": 2, "limit": 1, "total": 3, "totalPages": 3}


async def test_a_name_is_given_once_a_merchant(api: Api) -> None:
    await created(api, name="VIP")
    status, answer = await api.post("/segments", {"name": " VIP ", "conditions": []})
    assert (status, answer["code"], answer["details"]["field"]) == (409, "DUPLICATE_RESOURCE", "name")
    other = await created(api, name="Another")
    status, _ = await api.put(f"/segments/{other['id']}", {"name": "VIP"})
    assert status == 409
    await created(api.other_merchant(), name="VIP")


async def test_a_change_leaves_what_it_is_not_given_and_counts_anew(api: Api) -> None:
    segment = await created(api, IS_VIP)
    await vips(api, 2)
    _, answer = await api.put(f"/segments/{segment['id']}", {"name": "Renamed"})
    assert (answer["data"]["name"], answer["data"]["conditions"]) == ("Renamed", [IS_VIP])
    assert answer["data"]["contactCount"] == 2
    _, answer = await api.put(f"/segments/{segment['id']}", {"conditions": [{"not": IS_VIP}]})
    assert (answer["data"]["name"], answer["data"]["contactCount"]) == ("Renamed", 0)


async def test_a_count_of_over_a_minute_ago_is_made_anew(api: Api) -> None:
    segment = await created(api, IS_VIP)
    await vips(api, 2)
    _, answer = await api.get(f"/segments/{segment['id']}")
    assert answer["data"]["contactCount"] == 0
    old = {"$set": {"countedAt": NOW - timedelta(minutes=2)}}
    await api.database["segments"].update_one({"_id": segment["id"]}, old)
    _, answer = await api.get(f"/segments/{segment['id']}")
    assert answer["data"]["contactCount"] == 2
    assert answer["data"]["countedAt"] > "2026-01-18T10:00:00Z"
    assert answer["data"]["updatedAt"] == segment["updatedAt"]


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ({"field": "tags", "operator": "greaterThan", "value": 5}, "conditions.0.operator"),
        ({"field": "messagesSent", "operator": "greaterThan", "value": "5"}, "conditions.0.value"),
        ({"field": "password", "operator": "equals", "value": "x"}, "conditions.0.field"),
        ({"field": "tags", "operator": "contains", "value": {"$ne": None}}, "conditions.0.value"),
        ({"$where": "sleep(1000)"}, "conditions.0.$where"),
        ({"any": [IS_VIP, {"not": {"field": "x", "operator": "equals"}}]}, "conditions.0.any.1.not.field"),
        ({"field": f"campaign:{new_id()}", "operator": "equals", "value": "opened"}, "conditions"),
    ],
)
async def test_what_is_wrong_with_a_condition_is_named_by_its_path(
    api: Api, condition: dict[str, Any], path: str
) -> None:
    segment = await created(api)
    for status, answer in (
        await api.post("/segments", {"name": "Wrong", "conditions": [condition]}),
        await api.put(f"/segments/{segment['id']}", {"conditions": [condition]}),
    ):
        assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", path)


@pytest.mark.parametrize(
    "body", [{}, {"name": "x"}, {"conditions": []}, {"name": " ", "conditions": []}, VIP | {"x": 1}]
)
async def test_a_segment_has_a_name_and_conditions(api: Api, body: dict[str, Any]) -> None:
    status, answer = await api.post("/segments", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("field", "value"),
    [("displayName", "k" * 100), ("displayName", "т" * 100), ("source", "." * 2_000), ("attributes.a", "日" * 2_000)],
)
async def test_the_longest_text_can_be_asked_for(api: Api, field: str, value: str) -> None:
    await vips(api, 1)
    for operator in ("equals", "contains", "startsWith", "endsWith"):
        condition = {"field": field, "operator": operator, "value": value}
        assert (await created(api, condition, name=operator))["contactCount"] == 0


async def test_what_became_of_a_campaign_can_be_asked(api: Api) -> None:
    opened, sent = await vips(api, 2)
    campaign_id = new_id()
    await api.database["campaigns"].insert_one(
        {"_id": campaign_id, "merchantId": api.merchant_id, "status": "completed"}
    )
    for contact_id, fields in ((opened, {"openedAt": NOW}), (sent, {"openedAt": None})):
        recipient = {"_id": new_id(), "merchantId": api.merchant_id, "campaignId": campaign_id, "contactId": contact_id}
        await api.database["campaignRecipients"].insert_one(recipient | {"sentAt": NOW} | fields)
    for value, count in (("opened", 1), ("received", 2), ("clicked", 0)):
        condition = {"field": f"campaign:{campaign_id}", "operator": "equals", "value": value}
        assert (await created(api, condition, name=value))["contactCount"] == count
    status, _ = await api.other_merchant().post("/segments", {"name": "x", "conditions": [condition]})
    assert status == 422


@pytest.mark.parametrize("field", ["segmentIds", "excludeSegmentIds"])
@pytest.mark.parametrize("status", ["draft", "scheduled", "running", "paused"])
async def test_a_segment_that_a_campaign_uses_stays(api: Api, field: str, status: str) -> None:
    segment_id = (await created(api))["id"]
    campaign = {"_id": new_id(), "merchantId": api.merchant_id, "status": status, field: [new_id(), segment_id]}
    await api.database["campaigns"].insert_one(campaign)
    answered, answer = await api.delete(f"/segments/{segment_id}")
    assert (answered, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    await api.database["campaigns"].update_one({"_id": campaign["_id"]}, {"$set": {"status": "cancelled"}})
    assert await api.delete(f"/segments/{segment_id}") == (200, {"success": True, "data": None})
    assert (await api.get(f"/segments/{segment_id}"))[0] == 404


async def test_a_change_meanwhile_is_not_overwritten(api: Api) -> None:
    segment_id = (await created(api))["id"]
    segments = api.deps.repositories.segments
    known = await segments.get(api.merchant_id, segment_id)
    assert known is not None
    await api.put(f"/segments/{segment_id}", {"name": "First"})
    with pytest.raises(Conflict):
        await segments.change(known, "Second", [], 0, NOW)
    await segments.counted(known, 7, NOW)
    _, answer = await api.get(f"/segments/{segment_id}")
    assert (answer["data"]["name"], answer["data"]["contactCount"]) == ("First", 0)
