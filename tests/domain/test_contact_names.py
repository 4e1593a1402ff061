from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact_names import MAX_TERMS, fold, literal_patterns, matches, query_words, search_terms, words

NAMES = st.text(max_size=50)


@pytest.mark.parametrize(
    ("username", "display_name", "terms"),
    [
        ("customer_john", "John Doe", ["customer", "doe", "john"]),
        ("nguyen99", "Nguyễn Văn Đức", ["duc", "nguyen", "nguyen99", "van"]),
        (None, "STRASSE Straße", ["strasse"]),
        ("", "🔥🔥 shop", ["shop", "🔥🔥"]),
        ("x", "...", ["x"]),
        (None, None, []),
    ],
)
def test_terms_are_the_words_of_both_names(username: str | None, display_name: str | None, terms: list[str]) -> None:
    assert search_terms(username, display_name) == terms


def test_names_without_spaces_are_found_by_a_part_in_the_middle() -> None:
    terms = search_terms("tanaka", "田中太郎")
    assert matches(terms, "太郎")
    assert matches(terms, "田中")
    assert not matches(terms, "田太")


@given(NAMES, NAMES)
def test_a_contact_is_found_by_each_beginning_of_each_word_of_its_names(username: str, display_name: str) -> None:
    terms = search_terms(username, display_name)
    if len(terms) == MAX_TERMS:
        return
    for word in (*words(username), *words(display_name)):
        for end in range(1, len(word) + 1):
            if query_words(word[:end]):
                assert matches(terms, word[:end])


@given(NAMES)
def test_case_and_accents_make_no_difference(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert search_terms(None, fold(name)) == search_terms(None, name)


@given(NAMES, NAMES)
def test_whoever_is_found_has_every_word_of_the_search(name: str, search: str) -> None:
    if matches(search_terms(None, name), search):
        assert all(word in fold(name) for word in query_words(search))


@given(st.text(alphabet=".*+?^$()[]{}|\\/-_ ", max_size=20))
def test_a_search_of_punctuation_alone_asks_for_nothing(search: str) -> None:
    assert query_words(search) == []
    assert not matches(["anything"], search)


@given(st.text())
def test_terms_are_bounded_distinct_and_sorted(name: str) -> None:
    terms = search_terms(name, name)
    assert len(terms) <= MAX_TERMS
    assert terms == sorted(set(terms))


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_a_text_of_ascii_has_the_same_words_beside_others(text: str) -> None:
    assert [*words(text), "中"] == list(words(f"{text} 中"))


#: With what stands between words, of several kinds and widths.
MARKED = st.text(
    alphabet=st.sampled_from("abcoeđôéñłØ'-_.*%(){}[]^$\\|+? ABCdn\u0301中\uff08\uff09\uff05\uff21㈱\u2026"),
    max_size=30,
)


@given(MARKED, st.data())
def test_a_part_of_a_name_is_found_as_it_is_written_with_or_without_accents(name: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(name)))
    part = name[start : data.draw(st.integers(start, len(name)))]
    searches = [part, part.upper()]
    if not {"㈱", "\u2026"} & set(part):
        searches.append(fold(part))
    for search in searches:
        assert all(re.search(pattern, name, re.IGNORECASE) for pattern in literal_patterns(search))


@given(MARKED, MARKED)
def test_what_is_found_has_what_was_searched(name: str, search: str) -> None:
    for part in search.split():
        for pattern in literal_patterns(part):
            if re.search(pattern, name, re.IGNORECASE):
                assert fold(part) in fold(name)


def test_a_search_of_words_alone_asks_for_nothing_between_them() -> None:
    assert literal_patterns("@john doe Nguyễn") == []
    assert len(literal_patterns(" ".join(f"{number}-" for number in range(20)))) == 8
