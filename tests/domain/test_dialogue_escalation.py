from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.dialogue_escalation import EscalationReason, after_answer, asks_for_person, is_used_up
from domain.dialogue_settings import DialogueSettings

WORDS = ("human", "real person", "Anwalt", "khiếu nại", "客服", "!")


@pytest.mark.parametrize(
    "text",
    [
        "I want a HUMAN!",
        "a real   person, please",
        "real-person",
        "Ich rufe meinen ANWALT",
        "toi khieu nai",
        "我要客服",
        "hüman",
    ],
)
def test_a_word_of_the_merchants_asks_for_a_person(text: str) -> None:
    assert asks_for_person(["Hello", text], WORDS)


@pytest.mark.parametrize("text", ["", "humanity", "a person who is real", "!!!", "person real"])
def test_parts_of_words_and_words_in_another_order_do_not(text: str) -> None:
    assert not asks_for_person([text], WORDS)


def test_a_phrase_does_not_reach_over_two_messages() -> None:
    assert not asks_for_person(["real", "person"], WORDS)
    assert not asks_for_person(["human"], ())


@given(st.lists(st.text()), st.lists(st.text()))
def test_any_text_can_be_looked_at(texts: list[str], words: list[str]) -> None:
    asks_for_person(texts, words)


@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_an_answer_hands_over_below_the_threshold_or_where_the_model_asks(
    confidence: float, threshold: float, asks: bool
) -> None:
    settings = DialogueSettings(auto_escalation_threshold=threshold)
    reason = after_answer(settings, confidence, requires_escalation=asks)
    if confidence < threshold:
        assert reason is EscalationReason.LOW_CONFIDENCE
    else:
        assert reason is (EscalationReason.MODEL_ASKED if asks else None)


def test_a_budget_is_used_up_once_it_is_reached() -> None:
    assert not is_used_up(DialogueSettings(), 10**9)
    limited = DialogueSettings(daily_token_budget=100)
    assert [is_used_up(limited, used) for used in (0, 99, 100, 101)] == [False, False, True, True]
    assert is_used_up(DialogueSettings(daily_token_budget=0), 0)


def test_the_chatbot_answers_for_the_accounts_that_are_named_or_for_all() -> None:
    assert not DialogueSettings().answers_for("a")
    assert DialogueSettings(enabled=True).answers_for("a")
    assert DialogueSettings(enabled=True, account_ids=("a",)).answers_for("a")
    assert not DialogueSettings(enabled=True, account_ids=("b",)).answers_for("a")
