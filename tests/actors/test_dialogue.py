"""Answers of the chatbot, with the simulated model server and with one that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web

from actors.clients.model_failures import ModelFailed, ModelFailureKind
from config.settings import Settings
from domain.dialogue_escalation import EscalationReason
from domain.dialogue_exchange import ToolUse
from domain.dialogue_settings import CONTEXT_TOKENS
from domain.dialogue_tools import Parameter
from domain.dialogue_turns import Turn, cost
from domain.errors import ModelUnavailable
from sandbox.model.model import Model
from sandbox.model.server import running
from storage.client import Database
from tests.actors.clients.stub_model import StubModel, calling, completion, serving_model, written
from tests.actors.clients.web_server import Site, serving_site
from tests.actors.dialogue_stage import NOW, SHOP, Stage, serving_shop, staged

ORDER = Parameter("orderId", pattern=r"[0-9]{3,12}")
SEEDS_QUESTION = "What's the status of my order #12345?"


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def stage(database: Database, settings: Settings, model: Model) -> AsyncIterator[Stage]:
    async with running(model) as origin, staged(database, settings, f"{origin}/v1") as stage:
        yield stage


@pytest.fixture
async def stub() -> AsyncIterator[StubModel]:
    async with serving_model() as stub:
        yield stub


@pytest.fixture
async def scripted(database: Database, settings: Settings, stub: StubModel) -> AsyncIterator[Stage]:
    async with staged(database, settings, stub.url) as stage:
        yield stage


@pytest.fixture
async def shop() -> AsyncIterator[Site]:
    async with serving_site() as site:
        site.put("/orders/12345", b'{"orderId": "12345", "status": "shipped", "due": "January 20"}', "application/json")
        site.put("/orders/777", b'{"orderId": "777", "status": "packed"}', "application/json")
        yield site


# --- whole dialogues


async def test_the_api_documents_own_example_gets_a_true_answer_through_a_tool(stage: Stage, shop: Site) -> None:
    await stage.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER, headers={"Authorization": "Bearer sesame"})
    answer = await stage.ask(SEEDS_QUESTION)
    assert answer.response == "Order #12345: status shipped, due January 20."
    assert (answer.intent, answer.confidence, dict(answer.slots)) == ("order_status_query", 0.95, {"orderId": "12345"})
    assert (answer.requires_escalation, answer.may_send, answer.escalation) == (False, True, None)
    assert answer.tools == (ToolUse("look_up_order", "ok"),)
    [asked] = shop.asked
    assert (asked.method, asked.path, asked.headers["Authorization"]) == ("GET", "/orders/12345", "Bearer sesame")


async def test_without_a_tool_the_documents_example_is_answered_as_it_stands_there(stage: Stage) -> None:
    answer = await stage.ask(SEEDS_QUESTION)
    assert answer.response == (
        "Let me check that for you. Order #12345 was shipped on January 15 and is expected to arrive on January 20."
    )
    assert answer.tools == ()


async def test_an_order_that_is_not_there_goes_to_a_person(stage: Stage, shop: Site) -> None:
    await stage.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER)
    answer = await stage.ask("Where is order #99999?")
    assert (answer.escalation, answer.may_send) == (EscalationReason.MODEL_ASKED, True)
    assert answer.tools == (ToolUse("look_up_order", "ok"),)


async def test_a_dialogue_goes_on_where_it_was(stage: Stage) -> None:
    first = await stage.ask("What's the status of my order?")
    assert first.response == "I'd be happy to help! What's your order number?"
    assert first.turns == (
        Turn("user", "What's the status of my order?", NOW),
        Turn("assistant", "I'd be happy to help! What's your order number?", NOW),
    )
    second = await stage.ask("12345")
    assert dict(second.slots) == {"orderId": "12345"}
    assert len(second.turns) == 4


async def test_messages_in_quick_succession_are_answered_together(stage: Stage, model: Model) -> None:
    answer = await stage.ask("Hello!", "Where is my order", "#12345")
    assert answer.intent == "order_status_query"
    assert model.total == 1
    assert answer.turns[0].content == "Hello!\nWhere is my order\n#12345"


async def test_what_is_kept_is_bounded_and_the_newest(stage: Stage) -> None:
    stage.context = tuple(Turn("user", f"{number} " + "word " * 500, NOW) for number in range(20))
    answer = await stage.ask("Hello!")
    assert cost(answer.turns) <= CONTEXT_TOKENS
    assert [turn.role for turn in answer.turns[-2:]] == ["user", "assistant"]
    assert answer.turns[-2].content == "Hello!"


async def test_an_operator_of_a_server_without_schemas_notices_nothing(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "no_structured_output", "count": 9})
    assert (await stage.ask(SEEDS_QUESTION)).slots == {"orderId": "12345"}


# --- knowledge


async def test_what_the_merchant_knows_of_a_question_is_told_to_the_model(scripted: Stage, stub: StubModel) -> None:
    await scripted.know("Opening hours", "We are open from 9 to 18.")
    await scripted.know("Delivery", "Three days.")
    await scripted.ask("What are your opening hours?")
    [system] = stub.messages("system")
    assert "We are open from 9 to 18." in system
    assert "Three days" not in system


async def test_instructions_of_a_flow_are_for_one_answer(scripted: Stage, stub: StubModel) -> None:
    await scripted.ask("Hello!", instructions="Offer a voucher.")
    await scripted.ask("Hello!")
    assert ["Offer a voucher." in stub.messages("system", turn)[0] for turn in (0, 1)] == [True, False]


# --- broken answers


@pytest.mark.parametrize("kind", ["broken_json", "schema_violated", "truncated", "content_filter", "refusal", "empty"])
async def test_a_broken_answer_is_asked_for_once_more(stage: Stage, model: Model, kind: str) -> None:
    model.faults.order({"kind": kind})
    answer = await stage.ask(SEEDS_QUESTION)
    assert answer.intent == "order_status_query"
    assert model.total == 2
    repeated = str(model.asked[1].body)
    assert "could not be used" in repeated
    assert "could not be used" not in str(model.asked[0].body)


@pytest.mark.parametrize("kind", ["broken_json", "schema_violated", "truncated", "content_filter", "refusal", "empty"])
async def test_an_answer_that_is_broken_twice_is_an_error(stage: Stage, model: Model, kind: str) -> None:
    model.faults.order({"kind": kind, "count": 99})
    with pytest.raises(ModelUnavailable) as caught:
        await stage.ask(SEEDS_QUESTION)
    assert (caught.value.code, caught.value.http_status) == ("AI_SERVICE_ERROR", 502)
    assert caught.value.details == {"reason": "unusable_answer", "status": None, "code": None}
    assert model.total == 2


async def test_a_model_that_tells_its_prompt_is_asked_once_more(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "leak"})
    answer = await stage.ask("Hello!")
    assert answer.intent == "greeting"
    assert (model.total, "HERON" in answer.response) == (2, False)


async def test_a_model_that_calls_what_was_not_offered_is_told_so_and_answers(
    stage: Stage, model: Model, shop: Site
) -> None:
    await stage.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER)
    model.faults.order({"kind": "unoffered_tool"})
    answer = await stage.ask("Hello!")
    assert (answer.intent, shop.asked) == ("greeting", [])
    assert answer.tools == (ToolUse("issue_refund", "refused"),)


async def test_a_model_that_calls_something_where_nothing_was_offered_has_no_answer(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "unoffered_tool"})
    assert (await stage.ask("Hello!")).intent == "greeting"
    assert model.total == 2


async def test_a_server_that_wants_to_be_left_alone_for_a_moment_is_asked_again(
    database: Database, settings: Settings, model: Model
) -> None:
    model.faults.order({"kind": "error", "status": 429, "seconds": 0.01})
    model.faults.order({"kind": "slow", "seconds": 0.01})
    async with running(model) as origin, staged(database, settings, f"{origin}/v1", openai_retries=1) as stage:
        assert (await stage.ask("Hello!")).intent == "greeting"
    assert [asked.status for asked in model.asked] == [429, 200]


@pytest.mark.parametrize("fault", [{"kind": "error"}, {"kind": "drop"}, {"kind": "broken_body"}])
async def test_a_model_server_that_breaks_is_an_error(stage: Stage, model: Model, fault: dict[str, Any]) -> None:
    model.faults.order({**fault, "count": 99})
    with pytest.raises(ModelUnavailable) as caught:
        await stage.ask("Hello!")
    assert caught.value.code == "AI_SERVICE_ERROR"


async def test_a_slow_model_is_given_up_when_the_time_is_over(
    database: Database, settings: Settings, model: Model
) -> None:
    model.faults.order({"kind": "slow", "seconds": 60, "count": 9})
    limits = {"openai_answer_timeout_s": 0.3, "openai_retries": 5}
    async with running(model) as origin, staged(database, settings, f"{origin}/v1", **limits) as stage:
        with pytest.raises(ModelFailed) as caught:
            await stage.ask("Hello!")
    assert caught.value.kind is ModelFailureKind.TIMEOUT
    assert model.total == 1


# --- a person takes over


async def test_a_word_of_the_merchants_goes_to_a_person_without_the_model(stage: Stage, model: Model) -> None:
    stage.settings = replace(stage.settings, escalation_words=("lawyer",))
    answer = await stage.ask("Hello!", "I'll call my LAWYER")
    assert (answer.escalation, answer.may_send, answer.response) == (EscalationReason.CUSTOMER_WORD, False, "")
    assert [turn.role for turn in answer.turns] == ["user"]
    assert (model.total, answer.tokens) == (0, 0)


async def test_little_confidence_goes_to_a_person_and_is_not_sent(stage: Stage) -> None:
    answer = await stage.ask("My discount code does not work 😕")
    assert (answer.escalation, answer.may_send) == (EscalationReason.LOW_CONFIDENCE, False)
    assert answer.response
    assert [turn.role for turn in answer.turns] == ["user"]
    stage.settings = replace(stage.settings, auto_escalation_threshold=0.1)
    assert (await stage.ask("My discount code does not work 😕")).escalation is None


async def test_the_model_asks_for_a_person_and_says_so(stage: Stage) -> None:
    answer = await stage.ask("Can I speak to a human, please?")
    assert (answer.escalation, answer.may_send) == (EscalationReason.MODEL_ASKED, True)
    assert answer.turns[-1] == Turn("assistant", answer.response, NOW)


# --- tokens


async def test_tokens_are_counted_and_a_budget_that_is_used_up_goes_to_a_person(stage: Stage, model: Model) -> None:
    first = await stage.ask("Hello!")
    assert first.tokens == await stage.usage.tokens_on_day(SHOP, NOW) == model.asked[0].tokens
    stage.settings = replace(stage.settings, daily_token_budget=first.tokens + 1)
    second = await stage.ask("Hello!")
    assert second.escalation is None
    third = await stage.ask("Hello!")
    assert (third.escalation, third.may_send, third.tokens) == (EscalationReason.BUDGET_USED_UP, False, 0)
    assert model.total == 2
    assert await stage.usage.tokens_on_day("merchant-2", NOW) == 0


async def test_broken_answers_are_paid_for_too(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "broken_json", "count": 99})
    with pytest.raises(ModelUnavailable):
        await stage.ask("Hello!")
    assert await stage.usage.tokens_on_day(SHOP, NOW) == sum(asked.tokens for asked in model.asked)


# --- look-ups


async def test_a_model_looks_things_up_three_times_at_most(scripted: Stage, stub: StubModel, shop: Site) -> None:
    await scripted.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER)
    wish = calling(("look_up_order", {"orderId": "12345"}))
    stub.script = [lambda body: wish if body.get("tool_choice") == "auto" else written()]
    answer = await scripted.ask("Hello!")
    assert len(shop.asked) == 3
    assert len(stub.asked) == 4
    assert stub.asked[-1]["tool_choice"] == "none"
    assert answer.tools == (ToolUse("look_up_order", "ok"),) * 3


async def test_a_model_that_never_stops_asking_is_an_error(scripted: Stage, stub: StubModel, shop: Site) -> None:
    await scripted.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER)
    stub.script = [calling(("look_up_order", {"orderId": "12345"}))]
    with pytest.raises(ModelUnavailable):
        await scripted.ask("Hello!")
    assert len(shop.asked) == 3


async def test_several_look_ups_at_once_are_answered_each_and_bounded(
    scripted: Stage, stub: StubModel, shop: Site
) -> None:
    await scripted.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER)
    wishes = [("look_up_order", {"orderId": number}) for number in ("12345", "777", "888", "999", "1111", "2222")]
    stub.script = [calling(*wishes), written()]
    answer = await scripted.ask("Hello!")
    assert sorted(asked.path for asked in shop.asked) == [
        f"/orders/{number}" for number in ("12345", "777", "888", "999")
    ]
    results = stub.messages("tool")
    assert len(results) == 6
    assert ("shipped" in results[0], "packed" in results[1]) == (True, True)
    assert results[2:4] == ['{"error":"not found"}'] * 2
    assert [use.outcome for use in answer.tools] == ["ok"] * 4 + ["refused"] * 2
    ids = [each["tool_call_id"] for each in stub.asked[-1]["messages"] if each["role"] == "tool"]
    [asking] = [each for each in stub.asked[-1]["messages"] if each.get("tool_calls")]
    assert ids == [call["id"] for call in asking["tool_calls"]]


async def test_a_result_of_any_length_leaves_room_for_the_answer(scripted: Stage, stub: StubModel, shop: Site) -> None:
    await scripted.offer(f"{shop.url}/orders/{{{{orderId}}}}", ORDER)
    shop.put("/orders/12345", b"word " * 10_000, "text/plain")
    wish = calling(("look_up_order", {"orderId": "12345"}))
    stub.script = [wish, wish, written()]
    await scripted.ask("Hello!")
    first, second = stub.messages("tool")
    assert 1_000 < len(first) < 6_000
    assert second == '{"error": "there is no room for more results"}'


async def test_a_tool_that_is_down_does_not_keep_the_model_from_answering(
    scripted: Stage, stub: StubModel, shop: Site
) -> None:
    for number, path in enumerate(["silence", "broken", "endless", "bomb"]):
        await scripted.offer(f"{shop.url}/{path}", name=f"tool_{number}")
    stub.script = [calling(*((f"tool_{number}", {}) for number in range(4))), written()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.dialogue.TIMEOUT_S", 0.3)
        answer = await scripted.ask("Hello!")
    assert [use.outcome for use in answer.tools] == ["failed"] * 4
    assert all("can't be asked at present" in result for result in stub.messages("tool"))


async def test_a_server_that_answers_with_an_error_is_told_as_one(scripted: Stage, stub: StubModel, shop: Site) -> None:
    shop.put("/down", b"Traceback: secret", "text/plain", status=500)
    await scripted.offer(f"{shop.url}/down")
    stub.script = [calling(("look_up_order", {})), written()]
    assert (await scripted.ask("Hello!")).tools == (ToolUse("look_up_order", "failed"),)
    assert stub.messages("tool") == ['{"error":"the shop\'s server answered with status 500"}']


async def test_a_post_carries_its_values_as_json(scripted: Stage, stub: StubModel) -> None:
    async with serving_shop() as server:
        await scripted.offer(f"{server.url}/returns", ORDER, Parameter("reason"), method="POST", name="start_return")
        stub.script = [calling(("start_return", {"orderId": "777", "reason": "too small"})), written()]
        answer = await scripted.ask("Hello!")
    [asked] = server.asked
    assert (asked.method, asked.target, asked.headers["Content-Type"]) == ("POST", "/returns", "application/json")
    assert orjson.loads(asked.body) == {"orderId": "777", "reason": "too small"}
    assert answer.tools == (ToolUse("start_return", "ok"),)
    assert stub.messages("tool") == ['{"status": "shipped"}']


async def test_many_conversations_wait_side_by_side(scripted: Stage, stub: StubModel) -> None:
    stub.hold.clear()
    asks = [asyncio.create_task(scripted.ask("Hello!", context=())) for _ in range(50)]
    while stub.under_way < 50:
        await asyncio.sleep(0.01)
    stub.hold.set()
    assert {answer.response for answer in await asyncio.gather(*asks)} == {"Hello! How can I help you today?"}


async def test_an_answer_without_a_count_of_tokens_is_estimated(scripted: Stage, stub: StubModel) -> None:
    whole = {**completion(written()), "usage": None}
    stub.script = [lambda _: web.json_response(whole)]
    assert (await scripted.ask("Hello!")).tokens > 100
