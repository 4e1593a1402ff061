"""A step of the chatbot is written whole, or not at all where the conversation is not what it was decided on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.ids import new_id
from storage.ai_sessions import AiSessionDocument, session_id_of
from storage.bot_steps import BotSteps, Escalation, Saying, Situation, Step
from storage.client import Client, Database

NOW = datetime(2026, 1, 19, 12, tzinfo=UTC)
MERCHANT = "m1"


@pytest.fixture
async def steps(client: Client, database: Database) -> BotSteps:
    turn = {"messageId": "m0", "at": NOW, "since": NOW}
    await database["accounts"].insert_one({"_id": "a1", "merchantId": MERCHANT, "twitterUserId": "100"})
    await database["contacts"].insert_one(
        {"_id": "k1", "merchantId": MERCHANT, "accountId": "a1", "twitterUserId": "200", "consent": {"state": "none"}}
    )
    await database["conversations"].insert_one(
        {
            "_id": "c1",
            "merchantId": MERCHANT,
            "accountId": "a1",
            "contactId": "k1",
            "twitterUserId": "200",
            "status": "open",
            "botDue": True,
            "botTurn": turn,
        }
    )
    return BotSteps(client, database)


async def situation(steps: BotSteps) -> Situation:
    found = await steps.situation("c1")
    assert found is not None
    return found


def session() -> AiSessionDocument:
    return {
        "_id": "c1",
        "merchantId": MERCHANT,
        "accountId": "a1",
        "contactId": "k1",
        "sessionId": session_id_of(new_id()),
        "turns": [],
        "currentIntent": None,
        "slots": {},
        "messageIds": [],
        "createdAt": NOW,
        "updatedAt": NOW,
    }


async def answer(steps: BotSteps, **changes: Any) -> Step:
    fields: dict[str, Any] = {"settles": "m0", "only_if_newest": True, "saying": Saying("b0", "Two days")}
    fields |= {"session": session(), "escalation": Escalation("model_asked", "bot"), **changes}
    return Step((await situation(steps)).conversation, **fields)


async def written(database: Database) -> tuple[int, int, dict[str, Any]]:
    conversation: Any = await database["conversations"].find_one({"_id": "c1"}) or {}
    kept = {name: conversation.get(name) for name in ("botDue", "escalated")}
    return (
        await database["messages"].count_documents({"source": "bot"}),
        await database["aiSessions"].count_documents({}),
        kept,
    )


async def test_everything_of_a_step_is_written_once(steps: BotSteps, database: Database) -> None:
    step = await answer(steps)
    assert await steps.take(step, NOW)
    assert await written(database) == (1, 1, {"botDue": None, "escalated": True})
    message: Any = await database["messages"].find_one({"_id": "b0"})
    assert (message["priority"], message["isFromBot"], message["pending"]) == (1, True, True)
    # The same decision comes too late the second time.
    assert not await steps.take(step, NOW)
    assert await written(database) == (1, 1, {"botDue": None, "escalated": True})


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "closed"},
        {"escalated": True},
        {"personAnsweredAt": NOW},
        {"contactId": "k2"},
        {"twitterUserId": "201"},
        {"botTurn": {"messageId": "m1", "at": NOW, "since": NOW}},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_step_that_was_decided_on_something_else_changes_nothing(
    steps: BotSteps, database: Database, changed: dict[str, object]
) -> None:
    step = await answer(steps, escalation=None)
    await database["conversations"].update_one({"_id": "c1"}, {"$set": changed})
    before = await written(database)
    assert not await steps.take(step, NOW)
    assert await written(database) == before
    assert before[:2] == (0, 0)


async def test_a_person_who_begins_to_answer_at_the_last_moment_goes_first(steps: BotSteps, database: Database) -> None:
    step = await answer(steps)
    message = {"_id": "p0", "accountId": "a1", "conversationId": "c1", "source": "agent", "priority": 0}
    await database["messages"].insert_one(message | {"pending": True})
    assert not await steps.take(step, NOW)
    assert (await situation(steps)).person_writes
    await database["messages"].update_one({"_id": "p0"}, {"$unset": {"pending": ""}})
    assert not (await situation(steps)).person_writes
    assert await steps.take(step, NOW)


async def test_a_conversation_that_is_gone_gets_nothing(steps: BotSteps, database: Database) -> None:
    step = await answer(steps)
    await database["conversations"].delete_one({"_id": "c1"})
    assert not await steps.take(step, NOW)
    assert await written(database) == (0, 0, {"botDue": None, "escalated": None})
    assert await steps.situation("c1") is None


async def test_what_came_meanwhile_stays_due_where_the_step_is_for_what_came_before(
    steps: BotSteps, database: Database
) -> None:
    step = await answer(steps, only_if_newest=False, escalation=None)
    later = {"messageId": "m1", "at": NOW + timedelta(seconds=1), "since": NOW}
    await database["conversations"].update_one({"_id": "c1"}, {"$set": {"botTurn": later}})
    assert await steps.take(step, NOW)
    assert await written(database) == (1, 1, {"botDue": True, "escalated": None})
    await steps.let_go("c1", "m0")
    assert await steps.due() == ["c1"]
    await steps.let_go("c1", "m1")
    assert await steps.due() == []


async def test_what_was_said_is_not_said_again(steps: BotSteps, database: Database) -> None:
    assert not await steps.has_said("b0")
    assert await steps.take(await answer(steps, escalation=None), NOW)
    assert await steps.has_said("b0")
    again = await answer(steps, settles=None, only_if_newest=False, saying=Saying("b0", "Three days"))
    assert await steps.take(again, NOW)
    messages = await database["messages"].find({"source": "bot"}).to_list()
    assert [message["content"] for message in messages] == ["Two days"]
