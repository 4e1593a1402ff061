"""Which words a message can be found by, and what a search for messages asks for.

A message keeps its words, folded as the names of contacts are (`domain/contact_names.py`: no case, no accents), in the
order in which they stand. Nothing is stemmed and no word is left out as too common: merchants write in many languages.
Scripts that put no space between words (Chinese, Japanese, Thai, …) are kept as pairs of neighbouring letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from domain.contact_names import UNSPACED, words

#: Words of one message that are kept: its first ones.
MOST_WORDS = 1_000
#: Letters of a word that are kept, and compared.
LONGEST_WORD = 64
#: Words of a search that are looked at.
MOST_ASKED = 16

_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search asks for: messages with all of the words, and with each phrase as it stands."""

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...] = ()

    def is_in(self, said: Sequence[str]) -> bool:
        """Whether a message with these words, in order, is asked for."""
        known = set(said)
        return known.issuperset(self.words) and all(_follows(phrase, said) for phrase in self.phrases)


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a message in order, at most `MOST_WORDS`, each as often as it stands there."""
    found: list[str] = []
    for token in _tokens(words(text)):
        found.append(token)
        if len(found) == MOST_WORDS:
            break
    return tuple(found)


def asked_for(text: str) -> Asked | None:
    """Return what a person asks for who types this; text in double quotes is a phrase. Nothing where it has no word."""
    phrases: list[tuple[str, ...]] = []
    distinct: dict[str, None] = {}

    def ask(said: Iterable[str]) -> None:
        tokens = tuple(_tokens(said))[: MOST_ASKED - len(distinct)]
        distinct.update(dict.fromkeys(tokens))
        if len(tokens) > 1:
            phrases.append(tokens)

    for number, part in enumerate(_QUOTED.split(text)):
        if number % 2:
            ask(words(part))
            continue
        for word in words(part):
            # Most words are one token; the pairs of an unspaced one stand beside each other.
            ask([word])
    return Asked(tuple(distinct), tuple(dict.fromkeys(phrases))) if distinct else None


def _tokens(said: Iterable[str]) -> Iterator[str]:
    for word in said:
        for run, is_unspaced in _runs(word):
            if is_unspaced and len(run) > 1:
                yield from (run[start : start + 2] for start in range(len(run) - 1))
            else:
                yield run[:LONGEST_WORD]


def _runs(word: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a word that are all in scripts without spaces, or all in others."""
    begin, kind = 0, False
    for place, character in enumerate(word):
        is_unspaced = any(low <= ord(character) <= high for low, high in UNSPACED)
        if place and is_unspaced != kind:
            yield word[begin:place], kind
            begin = place
        kind = is_unspaced
    yield word[begin:], kind


def _follows(phrase: tuple[str, ...], said: Sequence[str]) -> bool:
    size = len(phrase)
    return any(tuple(said[start : start + size]) == phrase for start in range(len(said) - size + 1))
