"""One answer of the chatbot: knowledge, the model, its look-ups, and whether a person has to take over.

Nothing is sent and nothing of the dialogue is stored here: the conversation's actor does that with what comes back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson
import structlog

from actors.ai_tools import TIMEOUT_S, ToolCalls, ToolResult, refused, without_secrets
from actors.clients.model_client import ModelClient
from actors.clients.model_failures import ModelFailed, ModelFailureKind
from actors.clients.model_wire import ModelReply, ModelRequest
from actors.clients.safe_fetch import SafeFetch, safe_fetch_of
from config.settings import Settings
from domain.clock import Clock
from domain.dialogue_answer import BrokenAnswer, ReadAnswer, StructuredAnswer, read_answer
from domain.dialogue_escalation import EscalationReason, after_answer, asks_for_person, is_used_up
from domain.dialogue_exchange import ModelAnswer, Question, ToolUse
from domain.dialogue_prompt import (
    TOOL_TOKENS,
    PromptMessage,
    Snippet,
    WishedCall,
    prompt_of,
    repeats_prompt,
    without_role_marks,
)
from domain.dialogue_settings import CONTEXT_TOKENS
from domain.dialogue_tool_calls import ToolCall, checked_call
from domain.dialogue_tools import Tool
from domain.dialogue_turns import Turn, bounded, cut, tokens_of
from storage.ai_knowledge import AiKnowledge
from storage.ai_tools import AiTools
from storage.ai_usage import AiUsage
from storage.client import Database
from storage.encryption import key_ring

log = structlog.get_logger()

#: Times that a model may look things up before it has to answer, and look-ups at a time.
_MOST_ROUNDS = 3
_MOST_CALLS_A_ROUND = 4
_MOST_SNIPPETS = 4
#: Times that an answer is asked for: a broken one once more (contract, part 5, "AI").
_MOST_ANSWERS = 2
_LONGEST_ARGUMENTS = 2_000
_NO_ROOM = '{"error": "there is no room for more results"}'


class Answers(Protocol):
    """Answers questions of customers; what the conversation's actor works with."""

    async def answer(self, question: Question) -> ModelAnswer:
        """Return the model's answer to what a customer has said.

        Takes at most `MKTX_OPENAI_ANSWER_TIMEOUT_S`. May be cancelled at any moment.

        Raises:
            ModelUnavailable: when the model server can't be reached, refuses, or answers what can't be used twice.
        """
        ...


@dataclass(slots=True)
class _Course:
    """How far an answer has come."""

    question: Question
    said: Turn
    until: float
    snippets: Sequence[Snippet]
    tools: Sequence[Tool]
    #: Wishes of the model and what came of them, in order.
    looked_up: list[PromptMessage] = field(default_factory=list)
    uses: list[ToolUse] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    rounds: int = 0
    tool_tokens: int = TOOL_TOKENS
    tokens: int = 0

    @property
    def may_call(self) -> bool:
        return bool(self.tools) and self.rounds < _MOST_ROUNDS


class Dialogue:
    """Answers with a model; one for all conversations of a process."""

    def __init__(
        self, settings: Settings, model: ModelClient, database: Database, fetch: SafeFetch, clock: Clock
    ) -> None:
        self._settings = settings
        self._model = model
        self._knowledge = AiKnowledge(database)
        self._tools = AiTools(database, key_ring(settings))
        self._usage = AiUsage(database)
        self._calls = ToolCalls(self._tools, fetch)
        self._clock = clock

    async def answer(self, question: Question) -> ModelAnswer:
        """See `Answers`."""
        until = asyncio.get_running_loop().time() + self._settings.openai_answer_timeout_s
        said = Turn("user", "\n".join(question.texts), self._clock.now())
        if asks_for_person(question.texts, question.settings.escalation_words):
            return _unanswered(question, said, EscalationReason.CUSTOMER_WORD)
        used = await self._usage.tokens_on_day(question.merchant_id, said.at)
        if is_used_up(question.settings, used):
            return _unanswered(question, said, EscalationReason.BUDGET_USED_UP)
        snippets, tools = await asyncio.gather(
            self._knowledge.find(question.merchant_id, question.texts, _MOST_SNIPPETS),
            self._tools.offered(question.merchant_id),
        )
        course = _Course(question, said, until, snippets, tools)
        return self._answered(course, await self._usable(course))

    async def close(self) -> None:
        """Close the connections to the model server."""
        await self._model.close()

    async def _usable(self, course: _Course) -> StructuredAnswer:
        """Return an answer that can be used; a broken one is asked for once more, with what was wrong."""
        problems: tuple[str, ...] = ()
        for _ in range(_MOST_ANSWERS):
            read = _checked(course, await self._reply(course, problems))
            if isinstance(read, StructuredAnswer):
                return read
            log.warning("dialogue.broken_answer", merchant_id=course.question.merchant_id, problems=read.problems)
            problems = read.problems
        raise ModelFailed(ModelFailureKind.UNUSABLE)

    async def _reply(self, course: _Course, problems: tuple[str, ...]) -> ModelReply:
        """Return the model's message, once it has looked up what it wants."""
        while True:
            reply = await self._ask(course, problems)
            if not reply.calls or not course.may_call:
                return reply
            course.rounds += 1
            await self._look_up(course, reply)

    async def _ask(self, course: _Course, problems: tuple[str, ...]) -> ModelReply:
        question = course.question
        prompt = prompt_of(question, course.said, course.snippets, course.tools, problems)
        reply = await self._model.complete(
            ModelRequest(
                merchant_id=question.merchant_id,
                model=question.settings.model,
                temperature=question.settings.temperature,
                max_tokens=question.settings.max_tokens,
                messages=[*prompt, *course.looked_up],
                until=course.until,
                tools=course.tools,
                may_call=course.may_call,
            )
        )
        course.tokens += reply.tokens
        await self._usage.add(question.merchant_id, self._clock.now(), reply.prompt_tokens, reply.completion_tokens)
        return reply

    async def _look_up(self, course: _Course, reply: ModelReply) -> None:
        wishes = [_shown(wish) for wish in reply.calls]
        results = await asyncio.gather(*(self._result(course, wish, number) for number, wish in enumerate(reply.calls)))
        course.looked_up.append(PromptMessage("assistant", "", tuple(wishes)))
        for wish, result in zip(wishes, results, strict=True):
            text = cut(without_role_marks(result.text), course.tool_tokens) or _NO_ROOM
            course.tool_tokens = max(0, course.tool_tokens - tokens_of(text))
            course.looked_up.append(PromptMessage("tool", text, answers=wish.id))
            course.secrets.update(result.secrets)
            course.uses.append(ToolUse(wish.name, result.outcome))

    async def _result(self, course: _Course, wish: WishedCall, number: int) -> ToolResult:
        if number >= _MOST_CALLS_A_ROUND:
            return refused("too much is asked for at once")
        question = course.question
        call = checked_call(course.tools, wish.name, wish.arguments, question.asker)
        if not isinstance(call, ToolCall):
            log.warning("dialogue.tool_refused", merchant_id=question.merchant_id, reason=call.reason)
            return refused(call.reason)
        left = course.until - asyncio.get_running_loop().time()
        return await self._calls.make(question.merchant_id, call, max(0.0, min(TIMEOUT_S, left)))

    def _answered(self, course: _Course, answer: StructuredAnswer) -> ModelAnswer:
        question, secrets = course.question, sorted(course.secrets, key=len, reverse=True)
        reason = after_answer(question.settings, answer.confidence, requires_escalation=answer.requires_escalation)
        may_send = reason is not EscalationReason.LOW_CONFIDENCE
        response = without_secrets(answer.response, secrets)
        turns = [*question.context, course.said]
        if may_send:
            turns.append(Turn("assistant", response, self._clock.now()))
        return ModelAnswer(
            intent=without_secrets(answer.intent, secrets),
            confidence=answer.confidence,
            response=response,
            slots={name: without_secrets(value, secrets) for name, value in answer.slots.items()},
            turns=bounded(turns, CONTEXT_TOKENS),
            escalation=reason,
            may_send=may_send,
            tools=tuple(course.uses),
            tokens=course.tokens,
        )


def dialogue_of(settings: Settings, database: Database, clock: Clock) -> Dialogue:
    """Return what answers under these settings; whoever opened it closes it."""
    return Dialogue(settings, ModelClient(settings, clock), database, safe_fetch_of(settings), clock)


def _checked(course: _Course, reply: ModelReply) -> ReadAnswer:
    if reply.finish_reason == "length":
        return BrokenAnswer(("the answer was cut off, since it was too long",))
    if reply.finish_reason == "content_filter":
        return BrokenAnswer(("the answer was held back by a filter",))
    if not reply.content:
        return BrokenAnswer(("the answer is empty",))
    read = read_answer(reply.content)
    if isinstance(read, StructuredAnswer) and repeats_prompt(course.question, read.response):
        return BrokenAnswer(("the response repeats the instructions",))
    return read


def _unanswered(question: Question, said: Turn, reason: EscalationReason) -> ModelAnswer:
    turns = bounded([*question.context, said], CONTEXT_TOKENS)
    return ModelAnswer("", 0.0, "", {}, turns, escalation=reason)


def _shown(wish: WishedCall) -> WishedCall:
    """Return a wish as the model is shown it again: servers refuse what is no name, and what is no JSON."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", wish.name[:64]) or "none"
    try:
        is_object = len(wish.arguments) <= _LONGEST_ARGUMENTS and isinstance(orjson.loads(wish.arguments), dict)
    except orjson.JSONDecodeError:
        is_object = False
    return WishedCall(wish.id, name, wish.arguments if is_object else "{}")
