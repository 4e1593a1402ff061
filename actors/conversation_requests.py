"""What operators of the API and flows ask of the chatbot in a conversation."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias, TypedDict

import structlog
from pymongo.errors import PyMongoError

from actors.conversation_services import ConversationServices
from actors.conversation_steps import answer_step, escalated, is_reachable, is_with_people, question_of, session_after
from domain.bot_context import heard
from domain.dialogue_escalation import EscalationReason
from domain.errors import ModelUnavailable, NotFound, Unavailable
from domain.ids import named_id
from storage.bot_steps import Situation, Step

log = structlog.get_logger()

FlowOutcome: TypeAlias = Literal["answered", "escalated", "failed"]

#: How often the model is asked anew because the customer went on writing; the last answer is sent in any case.
MOST_QUESTIONS = 4


class Asked(TypedDict):
    """The chatbot's answer as the API has it."""

    intent: str
    confidence: float
    response: str
    slots: dict[str, str]
    requiresEscalation: bool


class ConversationRequests:
    """Answers what is asked in one conversation; `alone` is held while a question is under way in it."""

    def __init__(self, key: str, services: ConversationServices, alone: asyncio.Lock) -> None:
        self._key = key
        self._services = services
        self._alone = alone

    async def ask(self, merchant_id: str, message: str) -> Asked:
        """Answer an operator's message, and keep both.

        Raises:
            NotFound: when the merchant has no such conversation.
            ModelUnavailable: when the model server refused or broke.
            Unavailable: when the database is not to be reached.
        """
        services = self._services
        async with self._alone:
            try:
                situation = await services.steps.situation(self._key)
                if situation is None or situation.conversation["merchantId"] != merchant_id:
                    raise NotFound("Conversation not found")
                session = await services.sessions.get(merchant_id, self._key)
                new = heard(await services.steps.newest(self._key), set(session["messageIds"] if session else ()))
                is_due = situation.conversation.get("botDue") is True
                # What the customer waits for is left to the answer that is due.
                before = new.before if is_due else (*new.before, *new.waiting)
                ids = new.message_ids if is_due else (*new.message_ids, *new.waiting_ids)
                answer = await services.answers.answer(question_of(situation, session, before, (message,)))
                kept = session_after(situation, session, answer, ids, services.clock.now())
                await self._keep(Step(situation.conversation, session=kept), answer.escalation)
            except PyMongoError as error:
                raise Unavailable("The database is not to be reached", retry_after_s=2) from error
        return Asked(
            intent=answer.intent,
            confidence=answer.confidence,
            response=answer.response,
            slots=dict(answer.slots),
            requiresEscalation=answer.requires_escalation,
        )

    async def _keep(self, step: Step, reason: EscalationReason | None) -> None:
        """Keep what an operator was answered, however the conversation has gone on meanwhile."""
        while True:
            is_open = step.seen["status"] == "open" and step.seen.get("escalated") is not True
            wanted = step if reason is None or not is_open else escalated(step, reason)
            if await self._services.take(wanted, "asked"):
                return
            situation = await self._services.steps.situation(self._key)
            if situation is None:
                raise NotFound("Conversation not found")
            step = Step(situation.conversation, session=step.session)

    async def reply(self, key: str, instructions: str | None) -> FlowOutcome:
        """Answer the customer for a flow, once for a key.

        Raises:
            Unavailable: when the database is not to be reached.
        """
        async with self._alone:
            try:
                return await self._reply_once(named_id(f"{self._key}|{key}"), instructions)
            except PyMongoError as error:
                raise Unavailable("The database is not to be reached", retry_after_s=2) from error

    async def _reply_once(self, said_id: str, instructions: str | None) -> FlowOutcome:
        services = self._services
        for attempt in range(MOST_QUESTIONS):
            situation = await services.steps.situation(self._key)
            if situation is None:
                return "failed"
            settled_as = await self._settled_for_flow(situation, said_id)
            if settled_as is not None:
                return settled_as
            session = await services.sessions.get(situation.conversation["merchantId"], self._key)
            new = heard(await services.steps.newest(self._key), set(session["messageIds"] if session else ()))
            turn = situation.conversation.get("botTurn")
            try:
                answer = await services.answers.answer(
                    question_of(situation, session, new.before, new.texts, instructions)
                )
            except ModelUnavailable as error:
                log.warning("conversation.model", conversation=self._key, details=error.details)
                return "failed"
            step = answer_step(
                situation,
                session,
                new,
                turn["messageId"] if turn else None,
                answer,
                services.clock.now(),
                only_if_newest=attempt < MOST_QUESTIONS - 1,
                said_id=said_id,
            )
            if await self._services.take(step, "for_flow"):
                return "escalated" if answer.requires_escalation else "answered"
        return "failed"

    async def _settled_for_flow(self, situation: Situation, said_id: str) -> FlowOutcome | None:
        """Return what a flow is told without asking the model; None where it has to be asked."""
        if await self._services.steps.has_said(said_id):
            return "escalated" if situation.conversation.get("escalated") else "answered"
        if not is_reachable(situation):
            return "failed"
        return "escalated" if is_with_people(situation, self._services.clock.now()) else None
