"""The look-ups that a merchant lets the model ask for, what it knows, and what it has cost, over the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.dialogue_tools import MOST_TOOLS
from domain.ids import new_id
from storage.ai_usage import AiUsage
from tests.gateway.conftest import Api

ORDERS: dict[str, Any] = {
    "name": "look_up_order",
    "description": "The state of an order",
    "url": "https://shop.example.com/orders/{{orderId}}",
    "method": "GET",
    "parameters": [{"name": "orderId", "description": "The order's number", "pattern": "[0-9]{3,12}"}],
    "headers": {"Authorization": "Bearer planted-secret"},
}


async def made(api: Api, **changes: object) -> dict[str, Any]:
    status, answer = await api.post("/ai/tools", ORDERS | changes)
    assert status == 200, answer
    shown: dict[str, Any] = answer["data"]
    return shown


async def test_a_tool_is_shown_without_its_secrets_and_kept_encrypted(api: Api) -> None:
    tool = await made(api)
    assert (tool["host"], tool["headerNames"]) == ("shop.example.com", ["Authorization"])
    assert tool["parameters"] == [
        {
            "name": "orderId",
            "type": "text",
            "description": "The order's number",
            "required": True,
            "pattern": "[0-9]{3,12}",
        }
    ]
    _, one = await api.get(f"/ai/tools/{tool['id']}")
    _, several = await api.get("/ai/tools")
    assert one["data"] == several["data"][0] == tool
    assert "planted-secret" not in str((tool, one, several))
    assert "planted-secret" not in str(await api.database["aiTools"].find({"_id": tool["id"]}).to_list())
    assert (
        await api.deps.repositories.ai_tools.headers(api.merchant_id, tool["id"], "shop.example.com")
        == ORDERS["headers"]
    )


async def test_what_is_given_changes_and_the_rest_stays(api: Api) -> None:
    tool = await made(api)
    _, answer = await api.put(f"/ai/tools/{tool['id']}", {"description": "Where it is"})
    assert answer["data"] == tool | {"description": "Where it is", "updatedAt": answer["data"]["updatedAt"]}
    assert (
        await api.deps.repositories.ai_tools.headers(api.merchant_id, tool["id"], "shop.example.com")
        == ORDERS["headers"]
    )
    _, answer = await api.put(f"/ai/tools/{tool['id']}", {"headers": {"X-Key": "other"}})
    assert answer["data"]["headerNames"] == ["X-Key"]
    _, answer = await api.put(f"/ai/tools/{tool['id']}", {"url": "https://other.example.com/{{orderId}}"})
    assert (answer["data"]["host"], answer["data"]["headerNames"]) == ("other.example.com", [])


async def test_a_deleted_tool_is_gone(api: Api) -> None:
    tool = await made(api)
    status, answer = await api.delete(f"/ai/tools/{tool['id']}")
    assert (status, answer["data"]) == (200, None)
    for method, body in (("GET", None), ("PUT", {"description": "Where it is"}), ("DELETE", None)):
        assert (await api.call(method, f"/ai/tools/{tool['id']}", json=body))[0] == 404


async def test_a_name_is_given_once_and_there_are_not_too_many(api: Api) -> None:
    await made(api)
    status, answer = await api.post("/ai/tools", ORDERS)
    assert (status, answer["details"]["field"]) == (409, "name")
    other = await made(api, name="other")
    status, _ = await api.put(f"/ai/tools/{other['id']}", {"name": "look_up_order"})
    assert status == 409
    for number in range(MOST_TOOLS - 2):
        await made(api, name=f"tool_{number}")
    assert (await api.post("/ai/tools", ORDERS | {"name": "one_too_many"}))[0] == 409
    _, answer = await api.get("/ai/tools?skip=18&take=5")
    assert (len(answer["data"]), answer["pagination"]["total"]) == (2, MOST_TOOLS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "two words"}, "name"),
        ({"description": ""}, "description"),
        ({"url": "http://shop.example.com/{{orderId}}"}, "url"),
        ({"url": "https://127.0.0.1/{{orderId}}"}, "url"),
        ({"url": "https://{{orderId}}.example.com/"}, "url"),
        ({"url": "https://shop.example.com/{{secret}}/{{orderId}}"}, "url"),
        ({"method": "DELETE"}, "method"),
        ({"parameters": [{"name": "orderId"}, {"name": "orderId"}]}, "parameters.1.name"),
        ({"parameters": [{"name": "orderId", "pattern": "("}]}, "parameters.0.pattern"),
        ({"parameters": [{"name": "orderId", "required": False}]}, "parameters.0.required"),
        ({"headers": {"Host": "evil.example.com"}}, "headers.0"),
        ({"headers": {"X-Key": "line\r\nbreak"}}, "headers.0"),
    ],
)
async def test_a_tool_that_can_not_work_is_refused(api: Api, changes: dict[str, object], field: str) -> None:
    status, answer = await api.post("/ai/tools", ORDERS | changes)
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", field)
    tool = await made(api)
    status, answer = await api.put(f"/ai/tools/{tool['id']}", changes)
    assert (status, answer["details"]["field"]) == (422, field)


async def test_knowledge_is_added_listed_changed_and_deleted(api: Api) -> None:
    _, answer = await api.post("/ai/knowledge", {"title": "Returns", "text": "Within 30 days."})
    snippet = answer["data"]
    assert (snippet["title"], snippet["text"]) == ("Returns", "Within 30 days.")
    _, newer = await api.post("/ai/knowledge", {"title": "Shipping", "text": "Free over $50."})
    _, listed = await api.get("/ai/knowledge")
    assert listed["data"] == [newer["data"], snippet]
    _, answer = await api.put(f"/ai/knowledge/{snippet['id']}", {"text": "Within 60 days."})
    assert (answer["data"]["title"], answer["data"]["text"]) == ("Returns", "Within 60 days.")
    assert (await api.get(f"/ai/knowledge/{snippet['id']}"))[1]["data"] == answer["data"]
    assert (await api.delete(f"/ai/knowledge/{snippet['id']}"))[1]["data"] is None
    for method, body in (("GET", None), ("PUT", {"text": "Never."}), ("DELETE", None)):
        assert (await api.call(method, f"/ai/knowledge/{snippet['id']}", json=body))[0] == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": "", "text": "x"}, "title"),
        ({"title": " ", "text": "x"}, "title"),
        ({"title": "x" * 201, "text": "x"}, "title"),
        ({"title": "x"}, "text"),
        ({"title": "x", "text": "x" * 4001}, "text"),
    ],
)
async def test_knowledge_that_says_nothing_or_too_much_is_refused(api: Api, body: object, field: str) -> None:
    status, answer = await api.post("/ai/knowledge", body)
    assert (status, answer["details"]["field"]) == (422, field)


async def test_what_models_have_cost_is_shown_by_day(api: Api) -> None:
    usage, now = AiUsage(api.database), datetime.now(UTC)
    await api.put("/ai/settings", {"dailyTokenBudget": 5000})
    await usage.add(api.merchant_id, now, 100, 20)
    await usage.add(api.merchant_id, now, 50, 10)
    await usage.add(api.merchant_id, now - timedelta(days=3), 7, 1)
    await usage.add(api.merchant_id, now - timedelta(days=40), 9, 9)
    await usage.add(new_id(), now, 1, 1)
    _, answer = await api.get("/ai/usage")
    shown = answer["data"]
    assert (shown["dailyTokenBudget"], shown["tokensToday"]) == (5000, 180)
    assert [(each["tokens"], each["calls"]) for each in shown["days"]] == [(8, 1), (180, 2)]
    assert shown["days"][1] == {
        "day": f"{now:%Y-%m-%d}",
        "promptTokens": 150,
        "completionTokens": 30,
        "tokens": 180,
        "calls": 2,
    }
    first, last = (f"{now - timedelta(days=days):%Y-%m-%d}" for days in (45, 2))
    _, answer = await api.get(f"/ai/usage?startDate={first}&endDate={last}")
    assert [each["tokens"] for each in answer["data"]["days"]] == [18, 8]


@pytest.mark.parametrize(
    "query",
    [
        "startDate=2026-01-02&endDate=2026-01-01",
        "startDate=2020-01-01&endDate=2026-01-01",
        "startDate=soon",
        "endDate=0",
    ],
)
async def test_days_that_make_no_sense_are_refused(api: Api, query: str) -> None:
    status, answer = await api.get(f"/ai/usage?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")
