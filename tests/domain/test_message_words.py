from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.message_words import LONGEST_WORD, MOST_ASKED, MOST_WORDS, asked_for, words_of

TEXTS = st.text(max_size=200)


def finds(query: str, text: str) -> bool:
    asked = asked_for(query)
    return asked is not None and asked.is_in(words_of(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where is my order? Where?", ("where", "is", "my", "order", "where")),
        ("Đơn hàng của tôi", ("don", "hang", "cua", "toi")),
        ("order#12345", ("order", "12345")),
        ("我要退款", ("我要", "要退", "退款")),
        ("iPhoneの箱", ("iphone", "の箱")),
        ("退", ("退",)),
        ("... !?", ()),
        ("", ()),
    ],
)
def test_a_message_keeps_its_words_in_order(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("refund", True),
        ("REFUND order", True),
        ("refund shipping", False),
        ('"my order"', True),
        ('"order my"', False),
        ('"want a refund" order', True),
        ('"want a" "my order"', True),
        ('want "for my', True),
        ("fund", False),
        ("resume", True),
        ("-refund", True),
        ('{"$where": 1}', False),
        (".*", False),
    ],
)
def test_a_search_is_for_all_words_and_phrases(query: str, found: bool) -> None:
    assert finds(query, "I want a refund for my order, see my Résumé") is found


def test_unspaced_words_are_found_as_they_stand() -> None:
    assert finds("退款", "我要退款")
    assert finds("要退款", "我要退款")
    # Both pairs are there, and not beside each other.
    assert not finds("要退款", "退款 我要退")


@given(TEXTS)
def test_a_text_finds_itself_and_so_does_it_as_a_phrase(text: str) -> None:
    assume('"' not in text)
    assert finds(text, text) is bool(words_of(text))
    assert finds(f'"{text}"', text) is bool(words_of(text))


@given(TEXTS, TEXTS, TEXTS)
def test_what_else_a_message_says_does_not_matter(before: str, text: str, after: str) -> None:
    assume('"' not in text)
    assert finds(text, f"{before} {text} {after}") is bool(words_of(text))


@given(st.text(max_size=5_000))
def test_words_and_questions_are_bounded(text: str) -> None:
    asked = asked_for(text)
    assert len(words_of(text * 3)) <= MOST_WORDS
    assert asked is None or (len(asked.words) <= MOST_ASKED and len(asked.phrases) <= MOST_ASKED)


def test_long_texts_are_cut() -> None:
    assert len(words_of("word " * 5_000)) == MOST_WORDS
    assert words_of("x" * 500) == ("x" * LONGEST_WORD,)
    assert finds("x" * 500, "x" * 500)
