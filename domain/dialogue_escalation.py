"""When a dialogue goes to a person (contract, part 5, "AI")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from domain.dialogue_settings import DialogueSettings
from domain.message_words import words_of


class EscalationReason(StrEnum):
    """Why the chatbot hands over; reasons that people give are their own words."""

    LOW_CONFIDENCE = "low_confidence"
    MODEL_ASKED = "model_asked"
    CUSTOMER_WORD = "customer_word"
    BUDGET_USED_UP = "budget_used_up"
    MODEL_UNAVAILABLE = "model_unavailable"


def asks_for_person(texts: Iterable[str], escalation_words: Iterable[str]) -> bool:
    """Whether a customer has used one of the merchant's words, looked at without case and accents, as whole words.

    This is told without the model, so that nothing a customer writes can talk it out of it.
    """
    said = [words_of(text) for text in texts]
    wanted = [phrase for word in escalation_words if (phrase := words_of(word))]
    return any(_contains(words, phrase) for words in said for phrase in wanted)


def after_answer(
    settings: DialogueSettings, confidence: float, *, requires_escalation: bool
) -> EscalationReason | None:
    """Return why an answer of the model hands over, None where it does not."""
    if confidence < settings.auto_escalation_threshold:
        return EscalationReason.LOW_CONFIDENCE
    return EscalationReason.MODEL_ASKED if requires_escalation else None


def is_used_up(settings: DialogueSettings, tokens_today: int) -> bool:
    """Whether the merchant's tokens of the day are spent."""
    return settings.daily_token_budget is not None and tokens_today >= settings.daily_token_budget


def _contains(words: Sequence[str], phrase: Sequence[str]) -> bool:
    size = len(phrase)
    return any(tuple(words[start : start + size]) == tuple(phrase) for start in range(len(words) - size + 1))
