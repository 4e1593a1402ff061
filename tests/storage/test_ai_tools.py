from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from config.settings import Settings
from domain.dialogue_tools import Parameter, Tool
from domain.errors import Conflict
from domain.ids import new_id
from storage.ai_tools import AiTools, tool_of
from storage.client import Database
from storage.encryption import CannotOpen, KeyRing, key_ring

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOP, OTHER = "merchant-1", "merchant-2"
HOST = "api.shop.test"
SECRETS = {"Authorization": "Bearer sesame-12345", "X-Key": "heron"}


def a_tool(**changes: object) -> Tool:
    tool = Tool(
        new_id(), "look_up_order", "An order", f"https://{HOST}/orders/{{{{orderId}}}}", "GET",
        (Parameter("orderId", "text", "Number", pattern="[0-9]+"), Parameter("more", "boolean", required=False)),
    )  # fmt: skip
    return replace(tool, **changes)  # type: ignore[arg-type]  # by name


@pytest.fixture
def tools(database: Database, settings: Settings) -> AiTools:
    return AiTools(database, key_ring(settings))


async def test_a_tool_is_kept_as_it_was_given_and_its_secrets_are_sealed(tools: AiTools, database: Database) -> None:
    tool = a_tool()
    stored = await tools.add(SHOP, tool, SECRETS, NOW)
    assert tool_of(stored) == replace(tool, header_names=tuple(SECRETS))
    assert await tools.offered(SHOP) == [replace(tool, header_names=tuple(SECRETS))]
    assert await tools.headers(SHOP, tool.id, HOST) == SECRETS
    raw = str(await database["aiTools"].find_one({"_id": tool.id}))
    assert "sesame" not in raw
    assert "heron" not in raw


async def test_a_secret_opens_at_its_place_alone(tools: AiTools, database: Database) -> None:
    tool, thief = a_tool(), a_tool(name="thief")
    stored = await tools.add(SHOP, tool, SECRETS, NOW)
    await tools.add(OTHER, thief, {}, NOW)
    await database["aiTools"].update_one({"_id": thief.id}, {"$set": {"headers": stored["headers"]}})
    with pytest.raises(CannotOpen):
        await tools.headers(OTHER, thief.id, HOST)
    with pytest.raises(CannotOpen):
        await AiTools(database, KeyRing(bytes(32))).headers(SHOP, tool.id, HOST)


async def test_another_merchant_sees_and_changes_nothing(tools: AiTools) -> None:
    tool = a_tool()
    await tools.add(SHOP, tool, SECRETS, NOW)
    assert await tools.all(OTHER) == []
    assert await tools.get(OTHER, tool.id) is None
    assert await tools.headers(OTHER, tool.id, HOST) is None
    assert await tools.change(OTHER, tool, {}, NOW) is None
    assert not await tools.remove(OTHER, tool.id)
    assert await tools.headers(SHOP, tool.id, HOST) == SECRETS


async def test_secrets_stay_with_a_change_and_go_with_the_host(tools: AiTools) -> None:
    tool = a_tool()
    await tools.add(SHOP, tool, SECRETS, NOW)
    renamed = replace(tool, name="find_order", description="$name", url=f"https://{HOST}/v2/{{{{orderId}}}}")
    changed = await tools.change(SHOP, renamed, None, NOW + timedelta(hours=1))
    assert changed is not None
    assert tool_of(changed) == replace(renamed, header_names=tuple(SECRETS))
    assert (changed["createdAt"], changed["updatedAt"]) == (NOW, NOW + timedelta(hours=1))
    assert await tools.headers(SHOP, tool.id, HOST) == SECRETS
    assert await tools.headers(SHOP, tool.id, "evil.test") is None
    await tools.change(SHOP, replace(tool, url="https://evil.test/{{orderId}}"), None, NOW)
    assert await tools.headers(SHOP, tool.id, "evil.test") == {}
    await tools.change(SHOP, tool, {"X-New": "one"}, NOW)
    assert await tools.headers(SHOP, tool.id, HOST) == {"X-New": "one"}


async def test_a_name_is_given_once_and_a_repeated_request_makes_one(
    tools: AiTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.ai_tools.MOST_TOOLS", 2)
    first, second = a_tool(), a_tool(name="other")
    await tools.add(SHOP, first, {}, NOW)
    assert (await tools.add(SHOP, first, {}, NOW))["_id"] == first.id
    with pytest.raises(Conflict, match="name"):
        await tools.add(SHOP, a_tool(), {}, NOW)
    await tools.add(SHOP, second, {}, NOW)
    with pytest.raises(Conflict, match="name"):
        await tools.change(SHOP, replace(second, name=first.name), None, NOW)
    with pytest.raises(Conflict, match="2 tools"):
        await tools.add(SHOP, a_tool(name="third"), {}, NOW)
    await tools.add(OTHER, a_tool(), {}, NOW)
    assert [each["name"] for each in await tools.all(SHOP)] == ["look_up_order", "other"]
    assert await tools.remove(SHOP, first.id)
    assert await tools.headers(SHOP, first.id, HOST) is None
