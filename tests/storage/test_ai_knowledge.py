"""What a chatbot knows, and how it is found."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from domain.dialogue_knowledge import terms_of
from domain.dialogue_prompt import Snippet
from domain.errors import Conflict
from domain.ids import new_id
from storage.ai_knowledge import AiKnowledge, _fields
from storage.client import Database
from storage.paging import Slice

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOP, OTHER = "merchant-1", "merchant-2"


@pytest.fixture
def knowledge(database: Database) -> AiKnowledge:
    return AiKnowledge(database)


async def titles(knowledge: AiKnowledge, *texts: str, merchant_id: str = SHOP, take: int = 4) -> list[str]:
    return [snippet.title for snippet in await knowledge.find(merchant_id, texts, take)]


async def fill(knowledge: AiKnowledge) -> None:
    for title, text in {
        "Opening hours": "The shop is open from Monday to Friday, 9 to 18.",
        "Delivery": "The parcel is on its way for three days.",
        "Returns": "The order can be sent back within 30 days.",
        "Đổi trả": "Đơn hàng được đổi trong vòng 30 ngày.",
        "营业时间": "我们周一至周五营业。",
    }.items():
        await knowledge.add(SHOP, new_id(), title, text, NOW)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What are your OPENING hours?", "Opening hours"),
        ("when do you open", "Opening hours"),
        ("how long do deliveries take?", "Delivery"),
        ("can I return it", "Returns"),
        ("doi tra the nao", "Đổi trả"),
        ("营业时间是什么", "营业时间"),
    ],
)
async def test_the_snippet_that_fits_is_found_in_any_language(knowledge: AiKnowledge, text: str, title: str) -> None:
    await fill(knowledge)
    assert (await titles(knowledge, text))[0] == title


async def test_what_fits_nothing_finds_nothing(knowledge: AiKnowledge) -> None:
    await fill(knowledge)
    for texts in ((), ("",), ("!!! 😕",), ("xyzzy",)):
        assert await titles(knowledge, *texts) == []
    assert len(await titles(knowledge, "open the order parcel", take=2)) == 2


@pytest.mark.parametrize(
    "text", ['"opening hours"', "-shop opening", 'opening -"Monday"', "opening $where {$gt: 1}", "\\opening\0"]
)
async def test_orders_to_the_search_are_words_like_others(knowledge: AiKnowledge, text: str) -> None:
    await fill(knowledge)
    assert (await titles(knowledge, text))[0] == "Opening hours"


async def test_another_merchant_finds_and_changes_nothing(knowledge: AiKnowledge) -> None:
    snippet_id = new_id()
    await knowledge.add(SHOP, snippet_id, "Secret", "The margin is 40 percent.", NOW)
    assert await titles(knowledge, "secret margin", merchant_id=OTHER) == []
    assert await knowledge.get(OTHER, snippet_id) is None
    assert await knowledge.change(OTHER, snippet_id, "x", "y", NOW) is None
    assert not await knowledge.remove(OTHER, snippet_id)
    assert (await knowledge.page(OTHER, Slice(0, 20)))[1] == 0
    assert await titles(knowledge, "secret margin") == ["Secret"]


async def test_a_snippet_is_found_by_what_it_says_now(knowledge: AiKnowledge) -> None:
    snippet_id = new_id()
    await knowledge.add(SHOP, snippet_id, "Fee", "Five dollars.", NOW)
    changed = await knowledge.change(SHOP, snippet_id, "Price", "Six euros.", NOW + timedelta(hours=1))
    assert changed is not None
    assert (changed["title"], changed["createdAt"], changed["updatedAt"]) == ("Price", NOW, NOW + timedelta(hours=1))
    assert await knowledge.find(SHOP, ["euros"], 4) == [Snippet("Price", "Six euros.")]
    assert await titles(knowledge, "dollars fee") == []
    assert await knowledge.remove(SHOP, snippet_id)
    assert await titles(knowledge, "euros") == []


async def test_a_repeated_request_makes_one_snippet_and_there_is_a_bound(
    knowledge: AiKnowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.ai_knowledge.MOST_SNIPPETS", 2)
    snippet_id = new_id()
    await knowledge.add(SHOP, snippet_id, "One", "x", NOW)
    await asyncio.gather(*(knowledge.add(SHOP, snippet_id, "One", "x", NOW) for _ in range(3)))
    await knowledge.add(SHOP, new_id(), "Two", "x", NOW)
    with pytest.raises(Conflict, match="2 snippets"):
        await knowledge.add(SHOP, new_id(), "Three", "x", NOW)
    assert (await knowledge.add(SHOP, snippet_id, "One", "x", NOW))["title"] == "One"
    await knowledge.add(OTHER, new_id(), "Three", "x", NOW)
    documents, total = await knowledge.page(SHOP, Slice(0, 1))
    assert ([each["title"] for each in documents], total) == (["Two"], 2)


async def test_the_search_goes_by_the_index_of_the_merchant(database: Database, knowledge: AiKnowledge) -> None:
    await fill(knowledge)
    query = {"merchantId": SHOP, "$text": {"$search": "opening"}}
    plan = await database.command("explain", {"find": "aiKnowledge", "filter": query}, verbosity="executionStats")
    assert "TEXT" in str(plan["queryPlanner"]["winningPlan"])
    assert plan["executionStats"]["totalDocsExamined"] == 1


async def test_a_rare_word_finds_its_snippet_among_hundreds_with_common_ones(
    database: Database, knowledge: AiKnowledge
) -> None:
    common = terms_of("what is the price of the thing that you have and how do I get it to me by the end of this week")
    draw = Random(1)
    documents = [
        {
            "_id": new_id(),
            "merchantId": SHOP,
            "createdAt": NOW,
            **_fields(f"Thing {number}", " ".join(draw.choices(common, k=40)), NOW),
        }
        for number in range(499)
    ]
    await database["aiKnowledge"].insert_many(documents)
    await knowledge.add(SHOP, new_id(), "Lamps", "Heron costs 49 dollars.", NOW)
    assert (await titles(knowledge, "Hello! What is the price of the thing called heron, please?"))[0] == "Lamps"
