"""The chatbot as the API shows it (API document, "AI Chatbot"; contract, part 5, "AI")."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt

from domain.dialogue_settings import (
    LONGEST_ESCALATION_WORD,
    LONGEST_SYSTEM_PROMPT,
    MOST_ESCALATION_WORDS,
    MOST_TOKENS,
    DialogueSettings,
)
from gateway.models.base import AnswerModel, InputModel, NoQuery
from gateway.models.moments import Day

_DEFAULTS = DialogueSettings()
_LONGEST_MESSAGE = 10_000
_LONGEST_DELAY_S = 60
_LONGEST_SILENCE_S = 30 * 86_400
_MOST_ACCOUNTS = 1_000
_HOTTEST = 2
_MOST_BUDGET = 10**12


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("says nothing")
    return text


class AskAi(InputModel):
    """What the chatbot is to answer."""

    message: Annotated[str, Field(min_length=1, max_length=_LONGEST_MESSAGE), AfterValidator(_says_something)]


class EscalateConversation(InputModel):
    """Why people are to take over."""

    reason: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_says_something)]


class AiReplyAnswer(AnswerModel):
    """The chatbot's answer; `intent` and `response` are empty where it was not asked: a person is to take over."""

    intent: str
    confidence: float
    response: str
    slots: dict[str, str]
    requires_escalation: bool


class TurnAnswer(AnswerModel):
    """What one side said."""

    role: Literal["user", "assistant"]
    content: str


class AiContextAnswer(AnswerModel):
    """What the chatbot knows of a conversation; `context` is oldest first, and the oldest turns leave it."""

    session_id: str
    context: list[TurnAnswer]
    current_intent: str | None
    slots: dict[str, str]


class ChangeAiSettings(InputModel):
    """Settings to change; those that are not given stay as they are."""

    enabled: Annotated[StrictBool, Field(description="Whether customers are answered.")] = _DEFAULTS.enabled
    model: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")] = _DEFAULTS.model
    temperature: Annotated[StrictFloat, Field(ge=0, le=_HOTTEST)] = _DEFAULTS.temperature
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MOST_TOKENS, description="Of one answer of the model.")] = (
        _DEFAULTS.max_tokens
    )
    auto_escalation_threshold: Annotated[
        StrictFloat, Field(ge=0, le=1, description="Less confident answers are not sent: a person takes over.")
    ] = _DEFAULTS.auto_escalation_threshold
    system_prompt: Annotated[str, Field(max_length=LONGEST_SYSTEM_PROMPT)] = _DEFAULTS.system_prompt
    escalation_words: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=LONGEST_ESCALATION_WORD), AfterValidator(_says_something)]],
        Field(max_length=MOST_ESCALATION_WORDS, description="Words or phrases by which a customer gets a person."),
    ] = Field(default_factory=list)
    human_silence_seconds: Annotated[
        StrictInt,
        Field(ge=0, le=_LONGEST_SILENCE_S, description="How long the chatbot is silent after a person has answered."),
    ] = _DEFAULTS.human_silence_s
    daily_token_budget: Annotated[
        Annotated[StrictInt, Field(ge=0, le=_MOST_BUDGET)] | None,
        Field(description="What all answers may cost in a day (UTC); null: no bound."),
    ] = None
    respect_business_hours: Annotated[
        StrictBool, Field(description="Whether the chatbot is silent out of an account's business hours.")
    ] = _DEFAULTS.respect_business_hours
    answer_delay_seconds: Annotated[
        StrictFloat,
        Field(ge=0, le=_LONGEST_DELAY_S, description="What is written in such a time is answered together."),
    ] = _DEFAULTS.answer_delay_s
    account_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(max_length=_MOST_ACCOUNTS, description="Accounts that the chatbot answers for; none: all."),
    ] = Field(default_factory=list)


class AiSettingsAnswer(AnswerModel):
    """The merchant's settings; `updatedAt` is null while none were set."""

    enabled: bool
    model: str
    temperature: float
    max_tokens: int
    auto_escalation_threshold: float
    system_prompt: str
    escalation_words: list[str]
    human_silence_seconds: int
    daily_token_budget: int | None
    respect_business_hours: bool
    answer_delay_seconds: float
    account_ids: list[str]
    updated_at: datetime | None


class UsageQuery(NoQuery):
    """Of which days, in UTC: by default the last 30, today with them."""

    start_date: Annotated[Day | None, Field(description="The first day.")] = None
    end_date: Annotated[Day | None, Field(description="The last day.")] = None


class UsageOfDay(AnswerModel):
    """What models have cost in a day."""

    day: Annotated[str, Field(json_schema_extra={"format": "date"})]
    prompt_tokens: int
    completion_tokens: int
    tokens: int
    calls: int


class UsageAnswer(AnswerModel):
    """What models have cost, by day, oldest first; days without a call are left out."""

    daily_token_budget: int | None
    tokens_today: int
    days: list[UsageOfDay]
