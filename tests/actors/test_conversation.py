"""The chatbot in a conversation: what it answers, when it hands over, when it is silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from actors.dialogue import Answers
from config.settings import Settings
from domain.clock import ManualClock
from domain.consent import DEFAULT_CONFIRMATION
from domain.dialogue_exchange import ModelAnswer, Question
from domain.dialogue_tools import Parameter, Tool
from domain.ids import new_id
from storage.ai_tools import AiTools
from storage.client import Client, Database
from storage.contact_erasure import ContactErasures
from storage.contact_export import holdings_of
from storage.conversations import Conversations
from storage.encryption import key_ring
from tests.actors.bot_stage import MERCHANT, BotStage, Gate, open_bot_stage
from tests.actors.desk import until


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[BotStage]:
    async with open_bot_stage(client, database, settings) as stage:
        await stage.connect()
        await stage.set(enabled=True, answerDelaySeconds=0.0)
        stage.start()
        yield stage


async def test_a_customer_is_answered_and_the_dialogue_goes_on_to_a_person(stage: BotStage) -> None:
    conversation_id = await stage.writes("What's the status of my order?")
    (asks,) = await stage.until_sent(1)
    await stage.until_settled(conversation_id)
    await stage.writes("#12345")
    _, tells = await stage.until_sent(2)
    assert "12345" in tells
    await stage.until_settled(conversation_id)
    session = await stage.kept(conversation_id)
    assert [(each["role"], each["content"]) for each in session["turns"]] == [
        ("user", "What's the status of my order?"),
        ("assistant", asks),
        ("user", "#12345"),
        ("assistant", tells),
    ]
    assert (session["currentIntent"], session["slots"]) == ("order_status_query", {"orderId": "12345"})
    message, _ = await stage.of_bot()
    assert (message["isFromBot"], message["priority"], message["status"]) == (True, 1, "sent")

    await stage.writes("I want to talk to a human")
    await stage.until_sent(3)
    conversation = await stage.until_settled(conversation_id)
    assert conversation["escalated"] is True
    assert (conversation["escalation"]["reason"], conversation["escalation"]["by"]) == ("model_asked", "bot")
    asked = stage.model.total
    await stage.writes("Hello? Anybody?")
    assert "botDue" not in await stage.conversation(conversation_id)
    assert (stage.model.total, len(stage.in_x())) == (asked, 3)

    await Conversations(stage.database).hand_back(MERCHANT, conversation_id)
    await stage.writes("Hi")
    assert len(await stage.until_sent(4)) == 4


async def test_an_order_is_looked_up_through_the_merchants_tool(stage: BotStage) -> None:
    asked: list[tuple[str, str | None]] = []

    async def order(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers.get("Authorization")))
        return web.json_response({"orderId": request.match_info["id"], "state": "waits at the customs office"})

    app = web.Application()
    app.router.add_get("/orders/{id}", order)
    async with TestServer(app) as shop:
        tool = Tool(
            new_id(),
            "look_up_order",
            "The state of an order",
            f"{str(shop.make_url('')).rstrip('/')}/orders/{{{{orderId}}}}",
            parameters=(Parameter("orderId", pattern="[0-9]{3,12}"),),
        )
        tools = AiTools(stage.database, key_ring(stage.settings))
        await tools.add(MERCHANT, tool, {"Authorization": "Bearer shop-secret"}, stage.clock.now())
        await stage.writes("Where is my order #777?")
        (answer,) = await stage.until_sent(1)
    assert asked == [("/orders/777", "Bearer shop-secret")]
    assert "customs office" in answer
    assert "shop-secret" not in str(list(stage.model.asked))


# --- in quick succession


async def test_messages_in_quick_succession_are_answered_together_once(
    client: Client, database: Database, settings: Settings
) -> None:
    clock = ManualClock(datetime(2026, 11, 2, 10, tzinfo=UTC))
    async with open_bot_stage(client, database, settings, clock=clock) as stage:
        await stage.connect()
        await stage.set(enabled=True, answerDelaySeconds=2.0)
        stage.start()
        conversation_id = await stage.writes("Hello")
        await until(lambda: clock.next_alarm() is not None)
        clock.set(clock.now() + timedelta(seconds=1.5))
        await stage.writes("I have a question", "How long does shipping take?")
        # The pause counts from the last of them.
        clock.set(clock.now() + timedelta(seconds=0.5))
        await until(lambda: clock.next_alarm() == clock.now() + timedelta(seconds=1.5))
        assert stage.model.total == 0
        clock.set(clock.now() + timedelta(seconds=1.5))
        (answer,) = await stage.until_sent(1)
        await stage.until_settled(conversation_id)
        assert stage.model.total == 1
        (asked,) = stage.texts_asked()
        assert [asked.index(text) for text in ("Hello", "I have a question", "How long")] == sorted(
            asked.index(text) for text in ("Hello", "I have a question", "How long")
        )
        turns = (await stage.kept(conversation_id))["turns"]
        assert [turn["content"] for turn in turns] == [
            "Hello\nI have a question\nHow long does shipping take?",
            answer,
        ]


async def test_a_customer_who_never_pauses_is_answered_all_the_same(
    client: Client, database: Database, settings: Settings
) -> None:
    clock = ManualClock(datetime(2026, 11, 2, 10, tzinfo=UTC))
    async with open_bot_stage(client, database, settings, clock=clock) as stage:
        await stage.connect()
        await stage.set(enabled=True, answerDelaySeconds=2.0)
        stage.start()
        for _ in range(10):
            await stage.writes("Hello")
            await until(lambda: clock.next_alarm() is not None)
            assert stage.model.total == 0
            clock.set(clock.now() + timedelta(seconds=1))
        await stage.until_sent(1)


# --- what was said meanwhile


async def gated(stage: BotStage) -> Gate:
    """Have the host's chatbot answer only once the gate is opened."""
    await stage.stop()
    gate = Gate(stage.dialogue)
    stage.start(gate)
    return gate


async def test_what_the_customer_writes_meanwhile_is_answered_too_and_once(stage: BotStage) -> None:
    gate = await gated(stage)
    conversation_id = await stage.writes("What's the status of my order?")
    await until(lambda: gate.asked)
    await stage.writes("It is #12345")
    gate.opened.set()
    (answer,) = await stage.until_sent(1)
    await stage.until_settled(conversation_id)
    assert "12345" in answer
    assert [question.texts for question in gate.asked] == [
        ("What's the status of my order?",),
        ("What's the status of my order?", "It is #12345"),
    ]
    assert stage.in_x() == [answer]


async def test_a_customer_who_writes_into_every_answer_gets_some(stage: BotStage) -> None:
    class Interrupted(Answers):
        def __init__(self) -> None:
            self.questions: list[Question] = []

        async def answer(self, question: Question) -> ModelAnswer:
            self.questions.append(question)
            if len(self.questions) <= 6:
                await stage.writes(f"Hello {len(self.questions)}")
            return await stage.dialogue.answer(question)

    await stage.stop()
    answers = Interrupted()
    stage.start(answers)
    conversation_id = await stage.writes("Hello 0")
    await stage.until_settled(conversation_id)
    # The fourth time it is sent in any case; what came meanwhile begins anew.
    assert [len(question.texts) for question in answers.questions] == [1, 2, 3, 4, 1, 2, 3]
    assert len(await stage.until_sent(2)) == 2
    said = [turn["content"] for turn in (await stage.kept(conversation_id))["turns"] if turn["role"] == "user"]
    assert "\n".join(said).split("\n") == [f"Hello {number}" for number in range(7)]


async def test_a_person_who_answers_meanwhile_has_the_answer_dropped(stage: BotStage) -> None:
    gate = await gated(stage)
    conversation_id = await stage.writes("How long does shipping take?")
    await until(lambda: gate.asked)
    assert await stage.deliver(await stage.agent_says("Two days", conversation_id)) == "sent"
    gate.opened.set()
    await stage.until_settled(conversation_id)
    assert stage.in_x() == ["Two days"]
    assert await stage.of_bot() == []


async def test_a_person_whose_message_still_waits_has_the_answer_dropped(stage: BotStage) -> None:
    gate = await gated(stage)
    conversation_id = await stage.writes("How long does shipping take?")
    await until(lambda: gate.asked)
    await stage.agent_says("Two days", conversation_id)
    gate.opened.set()
    await stage.until_settled(conversation_id)
    assert await stage.of_bot() == []


async def test_a_person_who_answers_in_xs_app_meanwhile_has_the_answer_dropped(stage: BotStage) -> None:
    await stage.set(humanSilenceSeconds=0)
    gate = await gated(stage)
    conversation_id = await stage.writes("How long does shipping take?")
    await until(lambda: gate.asked)
    await stage.echoes("Two days")
    gate.opened.set()
    await stage.until_settled(conversation_id)
    assert await stage.of_bot() == []


@pytest.mark.parametrize("how", ["closed", "escalated", "opted_out", "disabled"])
async def test_an_answer_that_may_not_be_given_any_more_is_dropped(stage: BotStage, how: str) -> None:
    gate = await gated(stage)
    conversation_id = await stage.writes("How long does shipping take?")
    await until(lambda: gate.asked)
    conversations, now = Conversations(stage.database), stage.clock.now()
    if how == "closed":
        await conversations.close(MERCHANT, conversation_id, "resolved", now)
    elif how == "escalated":
        await conversations.escalate(MERCHANT, conversation_id, {"reason": "vip", "at": now, "by": "agent-1"})
    elif how == "disabled":
        await stage.set(enabled=False)
    else:
        await stage.writes("STOP")
    gate.opened.set()
    conversation = await stage.until_settled(conversation_id)
    assert await stage.of_bot() == []
    assert (conversation.get("escalation") or {}).get("reason") == ("vip" if how == "escalated" else None)
    if how == "opted_out":
        assert await stage.until_sent(1) == [DEFAULT_CONFIRMATION]


# --- silence


@pytest.mark.parametrize("way", ["agent", "native"])
async def test_a_person_who_answers_silences_the_chatbot_for_the_time_that_is_set(
    client: Client, database: Database, settings: Settings, way: str
) -> None:
    clock = ManualClock(datetime(2026, 11, 2, 10, tzinfo=UTC))
    async with open_bot_stage(client, database, settings, clock=clock) as stage:
        await stage.connect()
        await stage.set(enabled=True, answerDelaySeconds=0.0, humanSilenceSeconds=600)
        stage.start()
        conversation_id = await stage.writes("Hi")
        await stage.until_sent(1)
        await stage.until_settled(conversation_id)
        if way == "agent":
            await stage.deliver(await stage.agent_says("This is Ann", conversation_id))
        else:
            await stage.echoes("This is Ann")
        clock.set(clock.now() + timedelta(seconds=599))
        await stage.writes("How long does shipping take?")
        assert "botDue" not in await stage.conversation(conversation_id)
        clock.set(clock.now() + timedelta(seconds=1))
        await stage.writes("Hello?")
        await until(lambda: stage.model.total == 2)
        await stage.until_settled(conversation_id)
        assert len(await stage.of_bot()) == 2
        # What was said meanwhile is known, by whom too.
        turns = [(turn["role"], turn["content"]) for turn in (await stage.kept(conversation_id))["turns"]]
        assert ("assistant", "This is Ann") in turns
        assert "How long does shipping take?" in "\n".join(content for role, content in turns if role == "user")


async def test_handing_back_ends_the_silence(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi")
    await stage.until_sent(1)
    await stage.until_settled(conversation_id)
    await stage.echoes("This is Ann")
    await stage.writes("Hello")
    assert "botDue" not in await stage.conversation(conversation_id)
    await Conversations(stage.database).hand_back(MERCHANT, conversation_id)
    await stage.writes("Hello again")
    assert len(await stage.until_sent(2)) == 2


@pytest.mark.parametrize("settings_of", [{"enabled": False}, {"accountIds": ["another"]}])
async def test_an_account_that_the_chatbot_is_not_on_for_is_left_alone(
    stage: BotStage, settings_of: dict[str, object]
) -> None:
    await stage.set(**settings_of)
    conversation_id = await stage.writes("Hi")
    assert "botDue" not in await stage.conversation(conversation_id)


async def test_words_about_consent_are_no_questions(stage: BotStage) -> None:
    conversation_id = await stage.writes("STOP", "Hi", "START")
    assert "botDue" not in await stage.conversation(conversation_id)
    assert await stage.until_sent(1) == [DEFAULT_CONFIRMATION]
    await stage.writes("Hi")
    await stage.until_sent(2)
    assert stage.model.total == 1


# --- to people


async def test_an_answer_that_the_model_is_not_sure_of_is_not_sent(stage: BotStage) -> None:
    conversation_id = await stage.writes("Lorem ipsum dolor sit amet")
    conversation = await stage.until_settled(conversation_id)
    assert conversation["escalation"]["reason"] == "low_confidence"
    assert await stage.of_bot() == []
    assert [turn["role"] for turn in (await stage.kept(conversation_id))["turns"]] == ["user"]


async def test_a_word_of_the_merchants_gets_a_person_without_the_model(stage: BotStage) -> None:
    await stage.set(escalationWords=["lawyer"])
    conversation = await stage.until_settled(await stage.writes("I will call my LAWYER!"))
    assert conversation["escalation"]["reason"] == "customer_word"
    assert (stage.model.total, await stage.of_bot()) == (0, [])


async def test_a_budget_that_is_used_up_gets_a_person(stage: BotStage) -> None:
    await stage.set(dailyTokenBudget=1)
    conversation_id = await stage.writes("Hi")
    await stage.until_sent(1)
    await stage.until_settled(conversation_id)
    await stage.writes("Hi")
    conversation = await stage.until_settled(conversation_id)
    assert conversation["escalation"]["reason"] == "budget_used_up"
    assert (stage.model.total, len(await stage.of_bot())) == (1, 1)


async def test_a_model_server_that_stays_broken_gets_a_person(stage: BotStage) -> None:
    stage.model.faults.order({"kind": "error", "status": 400, "probability": 1})
    conversation_id = await stage.writes("Hi")
    conversation = await stage.until_settled(conversation_id)
    assert conversation["escalation"]["reason"] == "model_unavailable"
    assert await stage.of_bot() == []
    assert [turn["content"] for turn in (await stage.kept(conversation_id))["turns"]] == ["Hi"]


async def test_a_picture_alone_is_for_a_person(stage: BotStage) -> None:
    picture = [{"type": "image", "url": "https://example.com/1.png"}]
    conversation = await stage.until_settled(await stage.writes("", attachments=picture))
    assert conversation["escalation"]["reason"] == "no_text"
    assert stage.model.total == 0


async def test_a_picture_with_words_is_answered_by_the_words(stage: BotStage) -> None:
    picture = [{"type": "image", "url": "https://example.com/1.png"}]
    await stage.writes("How long does shipping take?", attachments=picture)
    await stage.until_sent(1)
    assert "[image]" in stage.texts_asked()[0]


# --- out of business hours

NEVER_OPEN = {"enabled": True, "timezone": "UTC", "schedule": {}, "holidays": [], "awayMessage": "Back on Monday"}


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_away_message_is_sent_once_a_conversation(stage: BotStage, *, enabled: bool) -> None:
    await stage.set(enabled=enabled, respectBusinessHours=True)
    fields = {"autoReplyEnabled": True, "businessHours": NEVER_OPEN}
    await stage.database["accounts"].update_one({"_id": "account-1"}, {"$set": fields})
    conversation_id = await stage.writes("Hi")
    assert await stage.until_sent(1) == ["Back on Monday"]
    await stage.until_settled(conversation_id)
    await stage.writes("Hello?")
    await stage.until_settled(conversation_id)
    assert (stage.in_x(), stage.model.total) == (["Back on Monday"], 0)
    (message,) = await stage.of_bot()
    assert message["isFromBot"] is True
    await Conversations(stage.database).close(MERCHANT, conversation_id, None, stage.clock.now())
    await stage.writes("Hi again")
    assert await stage.until_sent(2) == ["Back on Monday"] * 2


@pytest.mark.parametrize("fields", [{"autoReplyEnabled": False}, {"businessHours": NEVER_OPEN | {"awayMessage": None}}])
async def test_without_an_away_message_nothing_is_said_out_of_hours(stage: BotStage, fields: dict[str, object]) -> None:
    await stage.set(respectBusinessHours=True)
    changes = {"autoReplyEnabled": True, "businessHours": NEVER_OPEN} | fields
    await stage.database["accounts"].update_one({"_id": "account-1"}, {"$set": changes})
    assert "botDue" not in await stage.conversation(await stage.writes("Hi"))


async def test_a_chatbot_that_keeps_no_hours_answers_instead_of_the_away_message(stage: BotStage) -> None:
    fields = {"autoReplyEnabled": True, "businessHours": NEVER_OPEN}
    await stage.database["accounts"].update_one({"_id": "account-1"}, {"$set": fields})
    await stage.writes("Hi")
    assert "Back on Monday" not in await stage.until_sent(1)


# --- what is held about people


async def test_erasing_a_contact_leaves_no_session_also_while_the_model_is_asked(stage: BotStage) -> None:
    conversation_id = await stage.writes("Hi")
    await stage.until_sent(1)
    await stage.until_settled(conversation_id)
    gate = await gated(stage)
    await stage.writes("How long does shipping take?")
    await until(lambda: gate.asked)
    contact_id = (await stage.conversation(conversation_id))["contactId"]
    exported = await holdings_of(stage.database, MERCHANT, contact_id)
    assert exported is not None
    assert "How long" not in str(exported["aiSessions"])
    assert "Hi" in str(exported["aiSessions"])
    erasures = ContactErasures(stage.database, stage.settings, settle_s=0.1)
    assert await erasures.erase(MERCHANT, contact_id, "agent-1", stage.clock)
    gate.opened.set()
    await until(lambda: not stage.is_at(conversation_id))
    for name in ("aiSessions", "conversations"):
        assert await stage.database[name].count_documents({}) == 0
    assert await stage.database["messages"].count_documents({"source": "bot"}) == 0
