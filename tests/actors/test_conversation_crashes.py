"""The chatbot when its host dies, the database stumbles, or two hosts are at it: one answer, never two, never none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from config.settings import Settings
from domain.dialogue_exchange import ModelAnswer, Question
from storage.bot_steps import BotSteps, Step
from storage.client import Client, Database
from tests.actors.bot_stage import SHOP, BotStage, Gate, open_bot_stage
from tests.actors.desk import SEND_PATH, failing, until

QUESTION = "How long does shipping take?"


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[BotStage]:
    async with open_bot_stage(client, database, settings) as stage:
        await stage.connect()
        await stage.set(enabled=True, answerDelaySeconds=0.0)
        yield stage


async def until_answered(stage: BotStage) -> None:
    """Wait for an answer while the host looks for what is left, again and again, as hosts do.

    Looking once is not enough: a step that a dying host had begun may be written after that.
    """

    async def is_answered() -> object:
        await stage.resume_everything()
        return stage.in_x()

    await stage.until(is_answered)


async def answered_once(stage: BotStage) -> None:
    """Start anew, look for what was left, and check that there is one answer in the end."""
    stage.start()
    await until_answered(stage)
    conversation_id = await stage.conversation_id()
    await stage.until_settled(conversation_id)
    await stage.resume_everything()
    await stage.until_settled(conversation_id)
    (message,) = await stage.of_bot()
    await stage.until(lambda: stage.database["messages"].find_one({"_id": message["_id"], "status": "sent"}))
    assert stage.in_x() == [message["content"]]
    assert [turn["role"] for turn in (await stage.kept(conversation_id))["turns"]] == ["user", "assistant"]


async def test_a_host_that_never_heard_of_it(stage: BotStage) -> None:
    stage.start()
    await stage.happens(stage.message(QUESTION, "200", direction="inbound"), told=False)
    stage.kill()
    await answered_once(stage)


async def test_a_host_that_dies_while_the_model_is_asked(stage: BotStage) -> None:
    gate = Gate(stage.dialogue)
    stage.start(gate)
    await stage.writes(QUESTION)
    await until(lambda: gate.asked)
    stage.kill()
    gate.opened.set()
    await answered_once(stage)


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_host_that_dies_beside_the_writing_of_the_answer(
    stage: BotStage, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    take = BotSteps.take
    came: list[Step] = []

    async def dying(self: BotSteps, step: Step, now: Any) -> bool:
        if is_written:
            await take(self, step, now)
        came.append(step)
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(BotSteps, "take", dying)
    stage.start()
    await stage.writes(QUESTION)
    await until(lambda: came)
    stage.kill()
    monkeypatch.setattr(BotSteps, "take", take)
    assert len(await stage.of_bot()) == int(is_written)
    await answered_once(stage)


async def test_a_host_that_dies_while_x_has_the_answer(stage: BotStage) -> None:
    stage.world.faults.order({"kind": "accept_then_slow", "match": SEND_PATH, "seconds": 0.5})
    stage.start()
    await stage.writes(QUESTION)
    await stage.until(lambda: stage.database["messages"].find_one({"source": "bot", "status": "sending"}))
    stage.kill()
    await answered_once(stage)


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        ("commitTransaction", {"writeConcernError": {"code": 91, "errmsg": "planted"}}),
        ("commitTransaction", {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}),
        ("commitTransaction", {"errorCode": 8000}),
        ("update", {"errorCode": 8000}),
        ("insert", {"errorCode": 8000}),
        ("find", {"errorCode": 8000}),
    ],
)
async def test_a_database_that_stumbles(
    stage: BotStage, client: Client, command: str, failure: dict[str, object]
) -> None:
    gate = Gate(stage.dialogue)
    stage.start(gate)
    await stage.writes(QUESTION)
    await until(lambda: gate.asked)
    async with failing(client, [command], {"times": 2}, **failure):
        gate.opened.set()
        await stage.until_sent(1)
    await answered_once(stage)


async def test_two_hosts_that_are_both_at_it(stage: BotStage) -> None:
    gates = [Gate(stage.dialogue), Gate(stage.dialogue)]
    hosts = []
    for gate in gates:
        stage.start(gate)
        hosts.append(stage.host)
    for host in hosts:
        stage.host = host
        if host is hosts[0]:
            await stage.writes(QUESTION)
        else:
            await stage.resume_everything()
    await until(lambda: all(gate.asked for gate in gates))
    for gate in gates:
        gate.opened.set()
    await stage.until(stage.of_bot)
    # The account is the newer host's, whichever of them was faster.
    await until_answered(stage)
    for host in hosts:
        stage.host = host
        await stage.until_settled(await stage.conversation_id())
    assert len(await stage.of_bot()) == 1
    for host in hosts[:-1]:
        assert host is not None
        await host.stop(0.1)


async def test_200_conversations_with_a_slow_model_wait_for_nobody(stage: BotStage) -> None:
    people = [str(5_000 + number) for number in range(200)]
    stage.model.faults.order({"kind": "slow", "seconds": 8, "count": len(people)})
    stage.start()
    await stage.happens(
        *(stage.message(f"Where is my order #{user}?", user, direction="inbound") for user in people),
        *(stage.message("Please hurry", user, direction="inbound") for user in people),
        told=False,
    )
    await stage.resume_everything()
    # All of them are asked before one has been answered: nobody waits for another one's answer.
    await stage.until_asked(len(people))
    assert Counter(bool(asked.finish_reason) for asked in stage.model.asked) == {False: len(people)}

    await until(lambda: len({m.recipient_id for m in stage.world.messages.all if m.sender_id == SHOP}) == len(people))
    await stage.until(lambda: nothing_due(stage))
    for user in people:
        (answer,) = stage.in_x(user)
        turns = (await stage.kept(await stage.conversation_id(user)))["turns"]
        assert [turn["content"] for turn in turns] == [f"Where is my order #{user}?\nPlease hurry", answer]
    assert stage.model.total == len(people)


async def nothing_due(stage: BotStage) -> bool:
    return await stage.database["conversations"].count_documents({"botDue": True}) == 0


async def test_an_answer_that_breaks_in_an_unknown_way_is_looked_at_again(stage: BotStage) -> None:
    class Breaks(Gate):
        async def answer(self, question: Question) -> ModelAnswer:
            self.asked.append(question)
            raise RuntimeError("planted")

    broken = Breaks(stage.dialogue)
    stage.start(broken)
    conversation_id = await stage.writes(QUESTION)
    await until(lambda: broken.asked and not stage.is_at(conversation_id))
    await stage.stop()
    await answered_once(stage)
