"""When the chatbot may speak in a conversation, and when it keeps silent (docs/chatbot.md).

Ingestion asks for each inbound message, the conversation's actor before it asks the model and again before it sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeAlias

from domain.business_hours import BusinessHours

#: What the chatbot may do in a conversation now; everything but `answer` and `away` is why it says nothing.
Standing: TypeAlias = Literal[
    "answer", "away", "disabled", "closed", "escalated", "person", "opted_out", "out_of_hours"
]

DEFAULT_SILENCE_S = 3600


@dataclass(frozen=True, slots=True)
class BotRules:
    """What the settings of a merchant and of one of its accounts say of automatic answers of this account.

    `away` is the message that a customer gets out of business hours, empty for none. `answers` is whether the chatbot
    answers; `keeps_hours` whether it does so in business hours only. `silence` is how long it leaves a conversation to
    a person who has answered in it.
    """

    answers: bool = False
    keeps_hours: bool = False
    silence: timedelta = timedelta(seconds=DEFAULT_SILENCE_S)
    hours: BusinessHours | None = None
    away: str = ""

    @classmethod
    def of(cls, account: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Self:
        """Return the rules of an account's document and its merchant's chatbot settings, None where it has none."""
        hours = account.get("businessHours") or {}
        chosen = settings or {}
        accounts = chosen.get("accountIds") or []
        return cls(
            answers=chosen.get("enabled") is True and (not accounts or account["_id"] in accounts),
            keeps_hours=chosen.get("respectBusinessHours") is True,
            silence=timedelta(seconds=chosen.get("humanSilenceSeconds", DEFAULT_SILENCE_S)),
            hours=BusinessHours.of(hours) if hours.get("enabled") else None,
            away=(hours.get("awayMessage") or "") if account.get("autoReplyEnabled") else "",
        )

    def is_open(self, at: datetime) -> bool:
        """Return whether it is within business hours; always where none are kept."""
        return self.hours is None or self.hours.is_open(at)


#: The rules of an account where nothing answers by itself.
NO_BOT = BotRules()


def standing(conversation: Mapping[str, Any], contact: Mapping[str, Any], rules: BotRules, now: datetime) -> Standing:
    """Return what the chatbot may do in a conversation now.

    The chatbot goes before the away message: where it answers at all hours, nobody is told that nobody is there.
    """
    if conversation["status"] != "open":
        return "closed"
    if contact["consent"]["state"] == "opted_out":
        return "opted_out"
    if person_answers(conversation, rules, now):
        return "person"
    is_open = rules.is_open(now)
    if _may_answer(conversation, rules, is_open=is_open):
        return "answer"
    if rules.away and not is_open and conversation.get("awaySentAt") is None:
        return "away"
    return _silent(conversation, rules)


def _may_answer(conversation: Mapping[str, Any], rules: BotRules, *, is_open: bool) -> bool:
    return rules.answers and conversation.get("escalated") is not True and (is_open or not rules.keeps_hours)


def _silent(conversation: Mapping[str, Any], rules: BotRules) -> Standing:
    if conversation.get("escalated") is True:
        return "escalated"
    return "out_of_hours" if rules.answers else "disabled"


def person_answers(conversation: Mapping[str, Any], rules: BotRules, now: datetime) -> bool:
    """Return whether a person has answered so lately that the conversation is left to them."""
    answered_at = conversation.get("personAnsweredAt")
    return answered_at is not None and now < answered_at + rules.silence
