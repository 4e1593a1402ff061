"""Which of a merchant's snippets fit what a customer asks.

Words are compared as searches for messages compare them (`domain/message_words.py`), and by their beginnings, which
stands in for stemming in every language ("deliver", "delivery"). A word counts the more the fewer snippets have it,
so that "the" and "is" decide nothing (inverse document frequency, as in BM25).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from domain.message_words import words_of

MOST_SNIPPETS = 500
LONGEST_TITLE = 200
LONGEST_TEXT = 4_000
#: Words of a question that are looked for.
_MOST_ASKED = 64
_BEGINNING = 5
_SHORTEST_BEGINNING = 4
#: What stands before a beginning, so that it is no word.
_MARK = "0"
_IN_TITLE = 2.0
_BY_BEGINNING = 0.6


def terms_of(text: str) -> list[str]:
    """Return what a text can be found by, and what it asks for: its words and their beginnings, each once."""
    words = list(dict.fromkeys(words_of(text)))
    beginnings = (_MARK + word[:_BEGINNING] for word in words if len(word) >= _SHORTEST_BEGINNING)
    return [*words, *dict.fromkeys(beginnings)]


def asked_terms(texts: Sequence[str]) -> list[str]:
    """Return the terms of what a customer has said last, the last words first where there are too many."""
    terms: dict[str, None] = {}
    for text in reversed(texts):
        words = words_of(text)[-_MOST_ASKED:]
        terms.update(dict.fromkeys(terms_of(" ".join(words))))
        if len(terms) >= _MOST_ASKED:
            break
    return list(terms)[: 2 * _MOST_ASKED]


@dataclass(frozen=True, slots=True)
class Hit:
    """A snippet that has some of the terms that are asked for: those of its title, and those of its text."""

    id: str
    in_title: frozenset[str]
    in_text: frozenset[str]


def best(hits: Sequence[Hit], take: int) -> list[str]:
    """Return the ids of the snippets that fit best, the best first."""
    having = Counter(term for hit in hits for term in hit.in_title | hit.in_text)

    def score(hit: Hit) -> float:
        total = 0.0
        for term in hit.in_title | hit.in_text:
            rare = math.log(1 + len(hits) / having[term])
            place = _IN_TITLE if term in hit.in_title else 1.0
            total += place * rare * (_BY_BEGINNING if term.startswith(_MARK) else 1.0)
        return total

    scores = {hit.id: score(hit) for hit in hits}
    return sorted((each for each in scores if scores[each] > 0), key=lambda each: (-scores[each], each))[:take]
