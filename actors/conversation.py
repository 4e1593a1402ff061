"""The actor of a conversation: the chatbot's session (contract, part 5, "AI"; docs/chatbot.md).

What is due is on the conversation's document, so the actor may be lost at any moment. Models are asked outside of its
turns, one question a conversation at a time; many conversations wait side by side. What the model answers counts only
if the conversation is still what was asked about: that is checked in the transaction that writes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

import structlog
from pymongo.errors import PyMongoError

from actors.conversation_requests import MOST_QUESTIONS, Asked, ConversationRequests, FlowOutcome
from actors.conversation_services import TURNS, ConversationServices
from actors.conversation_steps import (
    answer_step,
    away_step,
    escalated,
    person_came_between,
    question_of,
    quiet_at_of,
    settled,
    stands_now,
)
from actors.runtime.actor import Actor
from domain.bot_context import heard
from domain.dialogue_escalation import EscalationReason
from domain.errors import ModelUnavailable
from storage.bot_steps import Situation

log = structlog.get_logger()

#: How long what the database could not take waits until it is tried again.
_RETRY_S = 1.0
#: What is said of a conversation where a customer has sent nothing that can be read.
_NO_TEXT = "no_text"
T = TypeVar("T")


class ConversationActor(Actor):
    """Answers a customer, an operator of the API, and flows, one after the other."""

    kind = "conversation"

    def __init__(self, key: str, services: ConversationServices) -> None:
        super().__init__(key)
        self._services = services
        self._tasks: set[asyncio.Task[Any]] = set()
        self._answering: asyncio.Task[None] | None = None
        self._news = False
        self._alone = asyncio.Lock()
        self._requests = ConversationRequests(key, services, self._alone)
        self._for_flows: dict[str, asyncio.Task[FlowOutcome]] = {}

    def busy(self) -> bool:
        """Stay in memory while anything is under way."""
        return bool(self._tasks)

    def on_deactivate(self) -> None:
        """Let go of questions under way: what is due is found again."""
        for task in self._tasks:
            task.cancel()

    # --- messages

    async def handle(self) -> None:
        """Look at what is due in the conversation; returns at once."""
        self._news = True
        if self._answering is None or self._answering.done():
            self._answering = self._background(self._answer_all())

    async def ask(self, merchant_id: str, message: str) -> asyncio.Future[Asked]:
        """Answer an operator's message as if the customer had written it; nothing is sent to X.

        Raises:
            NotFound: when the merchant has no such conversation.
            ModelUnavailable: when the model server refused or broke.
            Unavailable: when the database is not to be reached.
        """
        return self._background(self._requests.ask(merchant_id, message))

    async def reply_for_flow(self, key: str, instructions: str | None) -> asyncio.Future[FlowOutcome]:
        """Answer the customer for a flow, which may give orders for this answer.

        `key` names the effect: it is answered once however often it is asked for. `escalated` is said of a conversation
        that people have, whether the customer was told something or not; `failed` of one that nothing may be said in,
        and of a model that can't be asked. It may be tried again then.

        Raises:
            Unavailable: when the database is not to be reached.
        """
        known = self._for_flows.get(key)
        if known is None:
            known = self._for_flows[key] = self._background(self._requests.reply(key, instructions))
            known.add_done_callback(lambda _: self._for_flows.pop(key, None))
        return known

    # --- customers

    async def _answer_all(self) -> None:
        while self._news:
            self._news = False
            try:
                await self._answer()
            except PyMongoError as error:
                log.warning("conversation.database", conversation=self.key, error=type(error).__name__)
                self._news = True
                await asyncio.sleep(_RETRY_S)

    async def _answer(self) -> None:
        """Bring what is due to its end: answered, handed to people, or dropped."""
        questions = 0
        while (found := await self._due()) is not None:
            situation, message_id = found
            stands = stands_now(situation, self._services.clock.now())
            if stands == "away":
                if await self._services.take(away_step(situation, message_id), "away"):
                    return
            elif stands != "answer":
                await self._services.steps.let_go(self.key, message_id)
                TURNS.labels(f"dropped_{stands}").inc()
            elif (quiet_at := quiet_at_of(situation)) > self._services.clock.now():
                await self._wait_until(quiet_at)
            else:
                questions += 1
                async with self._alone:
                    if await self._answer_once(situation, message_id, is_last=questions >= MOST_QUESTIONS):
                        questions = 0

    async def _due(self) -> tuple[Situation, str] | None:
        """Return how the conversation stands, and the newest message that is due; nothing where nothing is."""
        situation = await self._services.steps.situation(self.key)
        if situation is None:
            return None
        turn = situation.conversation.get("botTurn")
        return None if turn is None else (situation, turn["messageId"])

    async def _answer_once(self, situation: Situation, message_id: str, *, is_last: bool) -> bool:
        """Ask the model, and say what it answers if that is still an answer to what was said.

        Answers whether what was due is dealt with; it is looked at again in any case.
        """
        services = self._services
        session = await services.sessions.get(situation.conversation["merchantId"], self.key)
        new = heard(await services.steps.newest(self.key), set(session["messageIds"] if session else ()))
        if not new.waiting:
            await services.steps.let_go(self.key, message_id)
            TURNS.labels("dropped_answered").inc()
            return True
        step = settled(situation, session, new, message_id, services.clock.now())
        if not new.is_readable:
            return await self._services.take(escalated(step, _NO_TEXT), "escalated")
        question = question_of(situation, session, new.before, new.texts)
        try:
            answer = await services.answers.answer(question)
        except ModelUnavailable as error:
            log.warning("conversation.model", conversation=self.key, details=error.details)
            return await self._services.take(escalated(step, EscalationReason.MODEL_UNAVAILABLE), "escalated")
        latest = await services.steps.situation(self.key)
        now = services.clock.now()
        if latest is None or stands_now(latest, now) != "answer" or person_came_between(situation, latest):
            return False
        step = answer_step(latest, session, new, message_id, answer, now, only_if_newest=not is_last)
        return await self._services.take(step, "escalated" if answer.requires_escalation else "answered")

    async def _wait_until(self, moment: datetime) -> None:
        quiet = asyncio.Event()
        alarm = self._services.clock.call_at(moment, quiet.set)
        try:
            await quiet.wait()
        finally:
            alarm.cancel()

    def _background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task is self._answering and not task.cancelled() and (error := task.exception()) is not None:
            log.error("conversation.task_failed", conversation=self.key, exc_info=error)
