"""The chatbot: what it answers, knows and is allowed (API document, "AI Chatbot")."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from actors.conversation import ConversationActor
from domain.errors import Conflict, InvalidContent, InvalidRequest, ModelUnavailable, NotFound, Problem
from gateway.api.conversations import with_contacts
from gateway.models.ai import (
    AiContextAnswer,
    AiReplyAnswer,
    AiSettingsAnswer,
    AskAi,
    ChangeAiSettings,
    EscalateConversation,
    TurnAnswer,
    UsageAnswer,
    UsageOfDay,
    UsageQuery,
)
from gateway.models.base import NoBody, NoQuery
from gateway.models.conversations import ConversationAnswer
from gateway.paths import API
from gateway.principal import ADMINS, AGENTS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route
from storage.ai_sessions import session_id_of
from storage.ai_usage import AiUsageDocument
from storage.conversations import ConversationDocument, EscalationDocument

_CONVERSATION = f"{API}/ai/conversations/{{conversationId}}"
_SETTINGS = f"{API}/ai/settings"
#: What an answer may take beside the model: what is asked before it in the same conversation.
_MARGIN_S = 10.0
_DAYS_SHOWN = timedelta(days=29)
_MOST_DAYS = timedelta(days=366)


async def ask_ai(call: Call[NoQuery, AskAi]) -> Reply[AiReplyAnswer]:
    """Have the chatbot answer a message, also where it is not enabled for customers; nothing is sent to X.

    Message and answer are kept in the conversation's context. An answer that requires escalation hands the conversation
    to people, as one to a customer does.
    """
    conversation = await _conversation(call)
    timeout_s = call.deps.settings.openai_answer_timeout_s + _MARGIN_S
    actor = call.deps.actors.ref(ConversationActor, conversation["_id"], timeout_s=timeout_s)
    return Reply(AiReplyAnswer.model_validate(await actor.ask(call.merchant_id, call.body.message)))


async def get_context(call: Call[NoQuery, NoBody]) -> Reply[AiContextAnswer]:
    """Return what the chatbot knows of a conversation."""
    conversation_id = (await _conversation(call))["_id"]
    session = await call.deps.repositories.ai_sessions.get(call.merchant_id, conversation_id)
    turns = session["turns"] if session else []
    answer = AiContextAnswer.model_construct(
        session_id=session_id_of(conversation_id),
        context=[TurnAnswer.model_validate(each) for each in turns],
        current_intent=session["currentIntent"] if session else None,
        slots=session["slots"] if session else {},
    )
    return Reply(answer)


async def escalate(call: Call[NoQuery, EscalateConversation]) -> Reply[ConversationAnswer]:
    """Hand a conversation to people: the chatbot is silent in it until it is handed back."""
    conversation_id, user_id = call.path["conversationId"], call.principal.user_id
    escalation = EscalationDocument(reason=call.body.reason, at=call.deps.clock.now(), by=user_id)
    conversations = call.deps.repositories.conversations
    return await _shown(call, await conversations.escalate(call.merchant_id, conversation_id, escalation))


async def hand_back(call: Call[NoQuery, NoBody]) -> Reply[ConversationAnswer]:
    """Hand a conversation back to the chatbot, which answers from the customer's next message on."""
    conversations = call.deps.repositories.conversations
    return await _shown(call, await conversations.hand_back(call.merchant_id, call.path["conversationId"]))


async def get_settings(call: Call[NoQuery, NoBody]) -> Reply[AiSettingsAnswer]:
    """Return the chatbot's settings; what was never set is as it is by default."""
    return Reply(AiSettingsAnswer.model_validate(await call.deps.repositories.ai_settings.get(call.merchant_id)))


async def change_settings(call: Call[NoQuery, ChangeAiSettings]) -> Reply[AiSettingsAnswer]:
    """Change the chatbot's settings."""
    repositories, body = call.deps.repositories, call.body
    missing = await repositories.accounts.missing(call.merchant_id, body.account_ids)
    if missing:
        problems = (
            Problem(f"accountIds.{index}", "is no account of this merchant")
            for index, account_id in enumerate(body.account_ids)
            if account_id in missing
        )
        raise InvalidContent("There is no such account", problems=tuple(problems))
    fields = body.model_dump(by_alias=True, exclude_unset=True)
    changed = await repositories.ai_settings.change(call.merchant_id, fields, call.deps.clock.now())
    return Reply(AiSettingsAnswer.model_validate(changed))


async def get_usage(call: Call[UsageQuery, NoBody]) -> Reply[UsageAnswer]:
    """Return what models have cost the merchant, by day in UTC, and what may be spent today."""
    repositories, now, query = call.deps.repositories, call.deps.clock.now(), call.query
    last = query.end_date or now.astimezone(UTC).date()
    first = query.start_date or last - _DAYS_SHOWN
    if not timedelta(0) <= last - first <= _MOST_DAYS:
        reason = f"must not be before startDate, nor more than {_MOST_DAYS.days} days after it"
        raise InvalidRequest("There are no such days", problems=(Problem("endDate", reason),))
    beginning, end = (datetime.combine(day, time(), UTC) for day in (first, last))
    days = await repositories.ai_usage.between(call.merchant_id, beginning, end)
    settings = await repositories.ai_settings.get(call.merchant_id)
    answer = UsageAnswer.model_construct(
        daily_token_budget=settings["dailyTokenBudget"],
        tokens_today=await repositories.ai_usage.tokens_on_day(call.merchant_id, now),
        days=[_of_day(each) for each in days],
    )
    return Reply(answer)


def _of_day(used: AiUsageDocument) -> UsageOfDay:
    return UsageOfDay.model_construct(
        day=f"{used['day']:%Y-%m-%d}",
        prompt_tokens=used["promptTokens"],
        completion_tokens=used["completionTokens"],
        tokens=used["promptTokens"] + used["completionTokens"],
        calls=used["calls"],
    )


async def _conversation(call: Call[QueryT, BodyT]) -> ConversationDocument:
    found = await call.deps.repositories.conversations.get(call.merchant_id, call.path["conversationId"])
    if found is None:
        raise NotFound("Conversation not found")
    return found


async def _shown(call: Call[QueryT, BodyT], conversation: ConversationDocument | None) -> Reply[ConversationAnswer]:
    if conversation is None:
        await _conversation(call)
        raise Conflict("The conversation is closed")
    contacts = call.deps.repositories.contacts
    return Reply((await with_contacts(contacts, call.merchant_id, [conversation]))[0])


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{_CONVERSATION}/message",
        ask_ai,
        NoQuery,
        AskAi,
        AiReplyAnswer,
        summary="Send a message to the chatbot",
        roles=AGENTS,
        errors=(NotFound, ModelUnavailable),
        idempotent=True,
    ),
    Route(
        "GET",
        f"{_CONVERSATION}/context",
        get_context,
        NoQuery,
        NoBody,
        AiContextAnswer,
        summary="Get the chatbot's context of a conversation",
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_CONVERSATION}/escalate",
        escalate,
        NoQuery,
        EscalateConversation,
        ConversationAnswer,
        summary="Escalate a conversation to a person",
        roles=AGENTS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_CONVERSATION}/hand-back",
        hand_back,
        NoQuery,
        NoBody,
        ConversationAnswer,
        summary="Hand a conversation back to the chatbot",
        roles=AGENTS,
        errors=(NotFound, Conflict),
    ),
    Route("GET", _SETTINGS, get_settings, NoQuery, NoBody, AiSettingsAnswer, summary="Get the chatbot's settings"),
    Route(
        "PUT",
        _SETTINGS,
        change_settings,
        NoQuery,
        ChangeAiSettings,
        AiSettingsAnswer,
        summary="Change the chatbot's settings",
        roles=ADMINS,
    ),
    Route("GET", f"{API}/ai/usage", get_usage, UsageQuery, NoBody, UsageAnswer, summary="Get what models have cost"),
)
