from __future__ import annotations

from typing import Any

import pytest

from domain.errors import Conflict
from domain.ids import new_id
from storage.templates import TemplateFields
from tests.gateway.conftest import Api

WELCOME: dict[str, Any] = {
    "name": "Welcome Message",
    "type": "text",
    "content": "Hi {{name}}, welcome to {{shop_name}}! Use code {{discount_code}} for 10% off your first order.",
    "variables": ["name", "shop_name", "discount_code"],
}


async def created(api: Api, **fields: Any) -> str:
    status, answer = await api.post("/templates", WELCOME | fields)
    assert status == 200, answer
    return str(answer["data"]["id"])


async def campaign(api: Api, template_id: str, status: str) -> str:
    campaign_id = new_id()
    document = {"_id": campaign_id, "merchantId": api.merchant_id, "templateId": template_id, "status": status}
    await api.database["campaigns"].insert_one(document)
    return campaign_id


def reasons(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["field"], each["reason"]) for each in answer["details"]["errors"]]


async def test_a_template_is_made_as_the_api_document_has_it(api: Api) -> None:
    status, answer = await api.post("/templates", WELCOME)
    assert status == 200
    data = answer["data"]
    assert {name: data[name] for name in WELCOME} == WELCOME
    assert data["merchantId"] == api.merchant_id
    assert data["createdAt"].endswith("Z")
    _, again = await api.get(f"/templates/{data['id']}")
    assert again["data"] == data


async def test_variables_that_are_not_given_are_found(api: Api) -> None:
    body = {name: value for name, value in WELCOME.items() if name != "variables"}
    _, answer = await api.post("/templates", body)
    assert answer["data"]["variables"] == WELCOME["variables"]


async def test_a_name_is_given_once_a_merchant(api: Api) -> None:
    await created(api)
    status, answer = await api.post("/templates", WELCOME)
    assert (status, answer["code"], answer["details"]["field"]) == (409, "DUPLICATE_RESOURCE", "name")
    other = await created(api, name="Another")
    status, _ = await api.put(f"/templates/{other}", {"name": "Welcome Message"})
    assert status == 409
    await created(api.other_merchant())


async def test_variables_must_be_those_of_the_content(api: Api) -> None:
    status, answer = await api.post("/templates", WELCOME | {"variables": ["name", "shop_name", "coupon"]})
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert reasons(answer) == [
        ("variables", "discount_code is used by the content, but not listed"),
        ("variables", "coupon is listed, but not used by the content"),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"content": "Hi {{name"}, "content"),
        ({"content": "{{ ''.__class__ }}"}, "content"),
        ({"content": "{{7*7}}"}, "content"),
        ({"content": "{% include 'a' %}"}, "content"),
        ({"content": "x" * 10_001}, "content"),
        ({"content": ""}, "content"),
        ({"content": None}, "content"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"type": "video"}, "type"),
        ({"variables": ["not a name"]}, "variables.0"),
        ({"type": "quick_reply"}, "options"),
        ({"type": "quick_reply", "options": [{"label": "x"}] * 21}, "options"),
        ({"type": "quick_reply", "options": [{"label": "x" * 37}]}, "options.0.label"),
        ({"type": "quick_reply", "options": [{"label": "a", "description": "d"}, {"label": "b"}]}, None),
        ({"type": "card", "buttons": [{"label": "Shop", "url": "ftp://example.com"}]}, "buttons.0.url"),
        ({"type": "card", "buttons": []}, "buttons"),
        ({"buttons": [{"label": "Shop", "url": "https://example.com"}]}, "buttons"),
        ({"$where": "1"}, "$where"),
    ],
)
async def test_what_is_wrong_with_a_template_is_named(api: Api, change: dict[str, Any], field: str | None) -> None:
    status, answer = await api.post("/templates", WELCOME | change)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"] == (field or "options.1.description")


async def test_quick_replies_and_cards_keep_what_they_have(api: Api) -> None:
    options = [{"label": "Yes", "description": "I do", "metadata": "y"}, {"label": "No", "description": "I don't"}]
    reply = await created(api, name="Ask", type="quick_reply", options=options)
    card = await created(api, name="Card", type="card", buttons=[{"label": "Shop", "url": "https://example.com/"}])
    _, answer = await api.get(f"/templates/{reply}")
    assert answer["data"]["options"] == [options[0], options[1] | {"metadata": None}]
    _, answer = await api.get(f"/templates/{card}")
    assert answer["data"]["buttons"] == [{"label": "Shop", "url": "https://example.com/"}]


async def test_templates_are_listed_by_type_and_part_of_the_name(api: Api) -> None:
    await created(api, name="Welcome (vip)")
    await created(api, name="Chào mừng")
    await created(api, name="Ask", type="quick_reply", options=[{"label": "Yes"}])

    async def names(query: str) -> list[str]:
        status, answer = await api.get(f"/templates{query}")
        assert status == 200
        return [each["name"] for each in answer["data"]]

    assert await names("") == ["Ask", "Chào mừng", "Welcome (vip)"]
    assert await names("?type=quick_reply") == ["Ask"]
    assert await names("?search=WELC") == ["Welcome (vip)"]
    assert await names("?search=(vip)") == ["Welcome (vip)"]
    assert await names("?search=chao") == ["Chào mừng"]
    assert await names("?search=.*") == []
    assert await names("?search=a%00b") == []
    assert await names("?type=text&skip=1&take=1") == ["Welcome (vip)"]
    _, answer = await api.get("/templates?type=text&skip=1&take=1")
    assert answer["pagination"] == {"page": 2, "limit": 1, "total": 2, "totalPages": 2}
    status, _ = await api.get("/templates?type=video")
    assert status == 400


async def test_a_change_leaves_what_it_is_not_given(api: Api) -> None:
    template_id = await created(api)
    status, answer = await api.put(f"/templates/{template_id}", {"name": "Renamed"})
    assert status == 200
    assert answer["data"]["content"] == WELCOME["content"]
    assert answer["data"]["variables"] == WELCOME["variables"]
    status, answer = await api.put(
        f"/templates/{template_id}", {"name": "Updated Welcome Message", "content": "Hello {{name}}!..."}
    )
    assert status == 200
    assert (answer["data"]["name"], answer["data"]["variables"]) == ("Updated Welcome Message", ["name"])
    status, answer = await api.put(f"/templates/{template_id}", {"variables": ["code"]})
    assert status == 422


@pytest.mark.parametrize("status", ["draft", "scheduled", "running", "paused"])
async def test_a_template_that_a_campaign_uses_stays(api: Api, status: str) -> None:
    template_id = await created(api)
    campaign_id = await campaign(api, template_id, status)
    answered, answer = await api.delete(f"/templates/{template_id}")
    assert (answered, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert (await api.get(f"/templates/{template_id}"))[0] == 200
    await api.database["campaigns"].update_one({"_id": campaign_id}, {"$set": {"status": "completed"}})
    assert await api.delete(f"/templates/{template_id}") == (200, {"success": True, "data": None})
    assert (await api.get(f"/templates/{template_id}"))[0] == 404


async def test_a_campaign_of_another_merchant_keeps_nothing(api: Api) -> None:
    template_id = await created(api)
    await campaign(api.other_merchant(), template_id, "running")
    assert (await api.delete(f"/templates/{template_id}"))[0] == 200


async def test_a_preview_shows_the_example_of_the_api_document(api: Api) -> None:
    template_id = await created(api)
    variables = {"name": "John", "shop_name": "GoodGo Shop", "discount_code": "WELCOME10"}
    status, answer = await api.post(f"/templates/{template_id}/preview", {"variables": variables})
    assert status == 200
    assert answer["data"] == {
        "rendered": "Hi John, welcome to GoodGo Shop! Use code WELCOME10 for 10% off your first order."
    }


async def test_a_preview_fills_in_a_sample_contact(api: Api) -> None:
    template_id = await created(api, content="Hi {{name}} @{{username}}", variables=[])
    status, answer = await api.post(f"/templates/{template_id}/preview")
    assert (status, answer["data"]["rendered"]) == (200, "Hi John Doe @customer_john")


async def test_a_preview_names_a_variable_that_nothing_fills(api: Api) -> None:
    template_id = await created(api)
    status, answer = await api.post(f"/templates/{template_id}/preview", {"variables": {"shop_name": "GoodGo"}})
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"] == "discount_code"


async def test_a_preview_of_a_template_that_works_too_much_is_refused(api: Api) -> None:
    bomb = "{% assign x = 'ab' %}" + "{% assign x = x | append: x %}" * 60 + "{{ x }}"
    template_id = await created(api, content=bomb, variables=[])
    status, answer = await api.post(f"/templates/{template_id}/preview", {})
    assert (status, answer["details"]["field"]) == (422, "content")


async def test_what_is_given_to_a_preview_is_text_number_boolean_or_list(api: Api) -> None:
    template_id = await created(api, content="{{ code }}", variables=["code"])
    for value, rendered in (("{{name}}", "{{name}}"), (5, "5"), (True, "true"), (["a", "b"], "ab")):
        _, answer = await api.post(f"/templates/{template_id}/preview", {"variables": {"code": value}})
        assert answer["data"]["rendered"] == rendered
    for wrong in ({"a": 1}, [{"a": 1}], [[1]], None):
        status, _ = await api.post(f"/templates/{template_id}/preview", {"variables": {"code": wrong}})
        assert status == 422


async def test_a_change_meanwhile_is_not_overwritten(api: Api) -> None:
    template_id = await created(api)
    templates = api.deps.repositories.templates
    known = await templates.get(api.merchant_id, template_id)
    assert known is not None
    await api.put(f"/templates/{template_id}", {"name": "First"})
    fields: Any = {name: known[name] for name in TemplateFields.__annotations__}  # type: ignore[literal-required]
    with pytest.raises(Conflict):
        await templates.change(known, fields | {"name": "Second"}, known["updatedAt"])
    _, answer = await api.get(f"/templates/{template_id}")
    assert answer["data"]["name"] == "First"
