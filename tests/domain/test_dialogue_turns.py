from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from domain.dialogue_turns import Turn, bounded, cost, cut, tokens_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROLES: st.SearchStrategy[Literal["user", "assistant"]] = st.sampled_from(["user", "assistant"])
TURNS = st.lists(st.builds(Turn, ROLES, st.text(max_size=200), st.just(AT)), max_size=12)


@given(TURNS, st.integers(0, 400))
def test_the_context_is_never_over_its_bound_and_is_the_newest_in_order(turns: list[Turn], tokens: int) -> None:
    kept = bounded(turns, tokens)
    assert cost(kept) <= tokens
    assert list(kept) == turns[len(turns) - len(kept) :] or (
        len(kept) == 1 and turns[-1].content.startswith(kept[0].content) and kept[0].role == turns[-1].role
    )


@given(TURNS, st.integers(0, 400))
def test_a_turn_is_dropped_only_where_it_does_not_fit(turns: list[Turn], tokens: int) -> None:
    kept = bounded(turns, tokens)
    if len(kept) < len(turns) and kept and kept[-1] == turns[-1]:
        assert cost(turns[len(turns) - len(kept) - 1 :]) > tokens


def test_the_newest_turn_is_kept_even_where_only_its_beginning_fits() -> None:
    turns = [Turn("assistant", "Hello", AT), Turn("user", "word " * 1000, AT)]
    [kept] = bounded(turns, 50)
    assert kept.role == "user"
    assert kept.content.startswith("word word")


@given(st.text(), st.integers(0, 100))
def test_a_cut_text_is_a_beginning_within_its_bound_and_the_longest_of_them(text: str, tokens: int) -> None:
    short = cut(text, tokens)
    assert text.startswith(short)
    assert tokens_of(short) <= tokens
    assert short == text or tokens_of(text[: len(short) + 1]) > tokens


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    assert tokens_of(text) <= tokens_of(text + more)
    assert (tokens_of(text) == 0) == (text == "")
