from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.dialogue_knowledge import Hit, asked_terms, best, terms_of

SNIPPETS = {
    "hours": ("Opening hours", "The shop is open from Monday to Friday, 9 to 18."),
    "shipping": ("Delivery", "The parcel is on its way for three days. The fee is $5."),
    "returns": ("Returns", "The order can be sent back within 30 days. The money is paid back."),
}


def hits(snippets: dict[str, tuple[str, str]], terms: list[str]) -> list[Hit]:
    """Return what the database finds."""
    found = [
        Hit(name, frozenset(terms_of(title)) & set(terms), frozenset(terms_of(text)) & set(terms))
        for name, (title, text) in snippets.items()
    ]
    return [hit for hit in found if hit.in_title | hit.in_text]


def asked(*texts: str, take: int = 3) -> list[str]:
    return best(hits(SNIPPETS, asked_terms(texts)), take)


def test_the_snippet_that_fits_comes_first() -> None:
    assert asked("What are your opening hours?")[0] == "hours"
    assert asked("when is the shop open?")[0] == "hours"
    assert asked("Can I return the thing?")[0] == "returns"
    assert asked("How long do deliveries take?")[0] == "shipping"


def test_common_words_decide_nothing() -> None:
    assert asked("the is the is the is money")[0] == "returns"


def test_what_has_nothing_in_common_is_left_out() -> None:
    assert asked("xyzzy") == []
    assert asked("") == []
    assert asked("opening", take=0) == []


def test_terms_are_words_and_beginnings_that_no_search_takes_for_orders() -> None:
    assert terms_of("Đơn hàng -order “Orders”") == ["don", "hang", "order", "orders", "0hang", "0order"]


@given(
    st.dictionaries(st.text(max_size=4), st.tuples(st.text(max_size=30), st.text(max_size=60)), max_size=6),
    st.lists(st.text(max_size=60), max_size=6),
    st.integers(0, 6),
)
def test_the_best_are_some_of_those_that_were_found(
    snippets: dict[str, tuple[str, str]], texts: list[str], take: int
) -> None:
    terms = asked_terms(texts)
    assert all(not set(term) & set('-"\\ $') for term in terms)
    found = hits(snippets, terms)
    chosen = best(found, take)
    assert len(chosen) == min(take, len(found)) == len(set(chosen))
    assert set(chosen) <= {hit.id for hit in found}
