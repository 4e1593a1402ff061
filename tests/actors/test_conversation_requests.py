"""What operators and flows ask of the chatbot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from actors.conversation_requests import Asked
from config.settings import Settings
from domain.errors import ModelUnavailable, NotFound, Unavailable
from domain.ids import new_id
from storage.client import Client, Database
from storage.conversations import Conversations
from tests.actors.bot_stage import MERCHANT, BotStage, Gate, open_bot_stage
from tests.actors.desk import failing, until


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[BotStage]:
    async with open_bot_stage(client, database, settings) as stage:
        await stage.connect()
        stage.start()
        yield stage


# --- operators


async def test_an_operators_message_is_answered_kept_and_not_sent(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi, I have bought something")
    first = await ask(stage, conversation_id, "What's the status of my order?")
    assert (first["intent"], first["requiresEscalation"]) == ("order_status_query", False)
    second = await ask(stage, conversation_id, "#12345")
    assert second["slots"] == {"orderId": "12345"}
    session = await stage.kept(conversation_id)
    assert [(turn["role"], turn["content"]) for turn in session["turns"]] == [
        ("user", "Hi, I have bought something"),
        ("user", "What's the status of my order?"),
        ("assistant", first["response"]),
        ("user", "#12345"),
        ("assistant", second["response"]),
    ]
    assert (session["currentIntent"], session["slots"]) == ("order_status_query", {"orderId": "12345"})
    assert (stage.in_x(), await stage.of_bot()) == ([], [])


async def test_what_is_due_is_left_to_the_answer_that_the_customer_gets(stage: BotStage) -> None:
    await stage.set(enabled=True, answerDelaySeconds=0.0)
    gate = Gate(stage.dialogue)
    await stage.stop()
    stage.start(gate)
    conversation_id = await stage.writes("How long does shipping take?")
    await until(lambda: gate.asked)
    asked = asyncio.ensure_future(ask(stage, conversation_id, "What's the status of my order?"))
    gate.opened.set()
    await stage.until_sent(1)
    answer = await asked
    # One question of a conversation at a time, each with what came before it.
    assert [question.texts for question in gate.asked] == [
        ("How long does shipping take?",),
        ("What's the status of my order?",),
    ]
    assert [turn["content"] for turn in (await stage.kept(conversation_id))["turns"]] == [
        "How long does shipping take?",
        stage.in_x()[0],
        "What's the status of my order?",
        answer["response"],
    ]


async def test_an_operators_message_that_needs_a_person_escalates_the_conversation(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi")
    answer = await ask(stage, conversation_id, "I want to talk to a human")
    assert answer["requiresEscalation"] is True
    conversation = await stage.conversation(conversation_id)
    assert (conversation["escalated"], conversation["escalation"]["reason"]) == (True, "model_asked")
    # An explicit question is answered all the same, and why it was escalated stays.
    answer = await ask(stage, conversation_id, "Lorem ipsum dolor sit amet")
    assert answer["requiresEscalation"] is True
    assert (await stage.conversation(conversation_id))["escalation"] == conversation["escalation"]


async def test_a_closed_conversation_can_be_asked_about_and_is_not_escalated(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi")
    await Conversations(stage.database).close(MERCHANT, conversation_id, None, stage.clock.now())
    assert (await ask(stage, conversation_id, "I want to talk to a human"))["requiresEscalation"] is True
    assert not (await stage.conversation(conversation_id)).get("escalated")


@pytest.mark.parametrize("who", ["another merchant", "nobody"])
async def test_only_a_conversation_of_the_merchant_can_be_asked_about(stage: BotStage, who: str) -> None:
    conversation_id = await stage.writes("Hi") if who == "another merchant" else new_id()
    with pytest.raises(NotFound):
        await ask(stage, conversation_id, "Hello", "merchant-2" if who == "another merchant" else MERCHANT)
    assert stage.model.total == 0
    assert await stage.database["aiSessions"].count_documents({}) == 0


async def test_a_model_server_that_refuses_is_told_and_escalates_nothing(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi")
    stage.model.faults.order({"kind": "broken_json", "count": 2})
    with pytest.raises(ModelUnavailable):
        await ask(stage, conversation_id, "Hello")
    assert not (await stage.conversation(conversation_id)).get("escalated")
    # One broken answer is asked for again, and nobody notices.
    stage.model.faults.order({"kind": "broken_json", "count": 1})
    assert (await ask(stage, conversation_id, "Hello"))["intent"] == "greeting"


async def test_a_database_that_is_away_is_told(stage: BotStage, client: Client) -> None:
    conversation_id = await stage.writes("Hi")
    async with failing(client, ["find"], "alwaysOn", errorCode=8000):
        with pytest.raises(Unavailable):
            await ask(stage, conversation_id, "Hello")


# --- flows


async def test_a_flow_has_the_customer_answered_once_for_its_key(stage: BotStage) -> None:
    conversation_id = await stage.writes("How long does shipping take?")
    outcomes = await asyncio.gather(*(reply(stage, conversation_id, "execution:node:1") for _ in range(3)))
    assert outcomes == ["answered"] * 3
    assert stage.model.total == 1
    await stage.until_sent(1)
    stage.kill()
    stage.start()
    assert await reply(stage, conversation_id, "execution:node:1") == "answered"
    assert stage.model.total == 1
    (message,) = await stage.of_bot()
    assert (message["isFromBot"], message["content"]) == (True, stage.in_x()[0])
    await stage.writes("And what does it cost?")
    assert await reply(stage, conversation_id, "execution:node:2") == "answered"
    assert len(await stage.until_sent(2)) == 2


async def test_a_flow_speaks_where_nothing_was_asked(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi")
    await stage.echoes("Hello")
    await Conversations(stage.database).hand_back(MERCHANT, conversation_id)
    outcome = await reply(stage, conversation_id, "e:n:1", "Ask what the customer is looking for")
    assert outcome in {"answered", "escalated"}
    (asked,) = stage.model.asked
    assert "Ask what the customer is looking for" in str(asked.body["messages"])
    assert "" not in [turn["content"] for turn in (await stage.kept(conversation_id))["turns"]]


async def test_a_flow_is_told_of_an_escalation_that_the_customer_was_told_of(stage: BotStage) -> None:
    conversation_id = await stage.writes("I want to talk to a human")
    for _ in range(2):
        assert await reply(stage, conversation_id, "e:n:1") == "escalated"
    assert len(await stage.until_sent(1)) == 1
    assert stage.model.total == 1


async def test_a_flow_settles_what_was_due(stage: BotStage) -> None:
    await stage.set(enabled=True, answerDelaySeconds=60.0)
    conversation_id = await stage.writes("How long does shipping take?")
    assert (await stage.conversation(conversation_id))["botDue"] is True
    assert await reply(stage, conversation_id, "e:n:1") == "answered"
    assert "botDue" not in await stage.conversation(conversation_id)
    assert len(await stage.of_bot()) == 1


async def test_a_flow_that_asks_while_the_customer_writes_answers_everything(stage: BotStage) -> None:
    await stage.set(enabled=True, answerDelaySeconds=60.0)
    gate = Gate(stage.dialogue)
    await stage.stop()
    stage.start(gate)
    conversation_id = await stage.writes("What's the status of my order?")
    asked = asyncio.ensure_future(reply(stage, conversation_id, "e:n:1"))
    await until(lambda: gate.asked)
    await stage.writes("It is #12345")
    gate.opened.set()
    assert await asked == "answered"
    assert "12345" in (await stage.until_sent(1))[0]
    assert len(gate.asked) == 2


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("escalated", "escalated"),
        ("person", "escalated"),
        ("unsure", "escalated"),
        ("closed", "failed"),
        ("opted_out", "failed"),
        ("model", "failed"),
        ("gone", "failed"),
    ],
)
async def test_a_flow_is_told_why_nothing_is_said(stage: BotStage, case: str, outcome: str) -> None:
    conversation_id = await stage.writes("Lorem ipsum dolor" if case == "unsure" else "Hi")
    conversations, now = Conversations(stage.database), stage.clock.now()
    if case == "escalated":
        await conversations.escalate(MERCHANT, conversation_id, {"reason": "vip", "at": now, "by": "agent-1"})
    elif case == "person":
        await stage.agent_says("I'm on it", conversation_id)
    elif case == "closed":
        await conversations.close(MERCHANT, conversation_id, None, now)
    elif case == "opted_out":
        await stage.writes("STOP")
    elif case == "model":
        stage.model.faults.order({"kind": "error", "status": 400, "probability": 1})
    elif case == "gone":
        await stage.database["conversations"].delete_one({"_id": conversation_id})
    assert await reply(stage, conversation_id, "e:n:1") == outcome
    assert await stage.of_bot() == []
    if case == "unsure":
        assert (await stage.conversation(conversation_id))["escalation"]["reason"] == "low_confidence"


async def ask(stage: BotStage, conversation_id: str, message: str, merchant_id: str = MERCHANT) -> Asked:
    answer: object = await stage.actor(conversation_id).ask(merchant_id, message)
    return cast("Asked", answer)


async def reply(stage: BotStage, conversation_id: str, key: str, instructions: str | None = None) -> str:
    return str(await stage.actor(conversation_id).reply_for_flow(key, instructions))
