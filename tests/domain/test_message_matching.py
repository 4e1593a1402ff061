from __future__ import annotations

import html

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.message_matching import same_text

TEXTS = st.text(max_size=200)
CODES = st.text("abcXYZ019", min_size=3, max_size=10)
WORDS = st.lists(st.text("abc.:/&<é€", min_size=1, max_size=8), max_size=8)
LINKS = st.sampled_from(["https://shop.example/a?b=c&d=1", "http://x.io", "shop.example", "example.com/ä?q=1.2"])


@given(TEXTS)
def test_a_text_is_itself(text: str) -> None:
    assert same_text(text, text)


@given(TEXTS)
def test_escapes_that_x_adds_make_no_difference(text: str) -> None:
    assert same_text(text, html.escape(text, quote=False))


@given(st.lists(st.text("abcé&", min_size=1, max_size=5), max_size=6), st.sampled_from(["  ", "\n", "\t \n", "\u00a0"]))
def test_white_space_makes_no_difference(words: list[str], space: str) -> None:
    assert same_text(" ".join(words), space + space.join(words) + space)


@given(st.lists(st.tuples(WORDS, LINKS, CODES, st.sampled_from(["", ".", "!", ")"])), max_size=4), WORDS)
def test_each_link_may_be_shown_shortened(parts, tail) -> None:
    sent = " ".join([*(" ".join([*words, link + end]) for words, link, _, end in parts), *tail])
    shown = " ".join([*(" ".join([*words, f"https://t.co/{code}{end}"]) for words, _, code, end in parts), *tail])
    assert same_text(sent, shown)
    assert same_text(sent, html.escape(shown, quote=False))


@given(WORDS, CODES)
def test_the_link_of_attached_media_has_no_counterpart(words: list[str], code: str) -> None:
    text = " ".join(words)
    assert same_text(text, f"{text} https://t.co/{code}".strip())


@given(TEXTS, TEXTS)
def test_different_texts_without_links_or_escapes_are_different(one: str, other: str) -> None:
    assume(one.split() != other.split() and "t.co/" not in other and "&" not in other)
    assert not same_text(one, other)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Hello", "hello"),
        ("Hello", "Hello!"),
        ("Hello you", "Helloyou"),
        ("", "Hello"),
        ("Hello", ""),
        ("Hello", "https://t.co/abc"),
        ("Yes", "https://t.co/abc https://t.co/def"),
        ("see https://a.example now", "see https://t.co/abc then"),
        ("see https://a.example", "saw https://t.co/abc"),
        ("see this thing now", "see https://t.co/abc now"),
        ("a https://x.example b https://y.example", "a https://t.co/abc b"),
        ("https://t.co/abc", "https://t.co/xyz more"),
        ("a &amp; b", "a & b"),
        ("1 < 2", "1 &gt; 2"),
        ("(https://a.example)", "[https://t.co/abc)"),
    ],
)
def test_near_misses_do_not_match(sent: str, shown: str) -> None:
    assert not same_text(sent, shown)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("(https://a.example/x).", "(https://t.co/abc)."),
        ("https://a.example,https://b.example", "https://t.co/abc,https://t.co/def"),
        ("Tom & Jerry <3", "Tom &amp; Jerry &lt;3"),
        ("say &amp; write", "say &amp;amp; write"),
        ("", "https://t.co/abc"),
    ],
)
def test_what_x_makes_of_a_text_matches(sent: str, shown: str) -> None:
    assert same_text(sent, shown)


def test_long_texts_of_many_links_are_compared_in_reasonable_work() -> None:
    assert not same_text("." * 10_000, ".".join(["https://t.co/a"] * 600) + "!")
    assert not same_text("a." * 5_000, "https://t.co/x." * 600 + "b")
