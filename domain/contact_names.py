"""Which words a contact can be found by.

Search is a literal, case-insensitive match of name parts (contract, part 5, "Contacts"). A contact keeps the words of
its names in `searchTerms`; a word of the query finds it when a term begins with that word, which an index answers with
one range. Names in scripts that put no space between words (Chinese, Japanese, Thai, …) keep every suffix, so that
a part in the middle is found too. Letters are compared without case and without accents: "nguyen" finds "Nguyễn".
Terms know nothing of what stands between words: where a search has such a character (`o'neil`, `50%`), the names
themselves must have it at that place.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

#: Most terms of one contact: X allows 15 characters in a username and 50 in a display name.
MAX_TERMS = 64
#: Most words of a query that are looked at.
MAX_QUERY_WORDS = 8

# Letters that Unicode does not decompose into a base letter and an accent.
_BASE_LETTERS = str.maketrans({"đ": "d", "ł": "l", "ø": "o", "\u0131": "i"})
# Punctuation, separators, control characters and symbols of arithmetic or currency end a word; emoji are words.
_SEPARATORS = ("P", "Z", "C", "Sm", "Sc", "Sk")
_ASCII_SEPARATORS = {code: " " for code in range(128) if unicodedata.category(chr(code)).startswith(_SEPARATORS)}
#: Latin letters, and ASCII of full width; any number of accents that stand by themselves.
_SAME = ((0x41, 0x5B), (0xC0, 0x250), (0x1E00, 0x1F00), (0xFF01, 0xFF5F))
_ACCENTS = "[\u0300-\u036f]*"
#: First and last code point of scripts written without spaces between words.
UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x9FFF),
    (0x20000, 0x3FFFF),
)


def fold(text: str) -> str:
    """Return the text as it is compared: without case, accents and differences of width."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in decomposed if unicodedata.category(c) != "Mn").translate(_BASE_LETTERS)
    return unicodedata.normalize("NFC", kept)


def words(text: str) -> Iterator[str]:
    """Yield the folded words of a text in order."""
    folded = fold(text)
    if folded.isascii():
        yield from folded.translate(_ASCII_SEPARATORS).split()
        return
    word: list[str] = []
    for character in folded:
        if unicodedata.category(character).startswith(_SEPARATORS):
            if word:
                yield "".join(word)
            word = []
        else:
            word.append(character)
    if word:
        yield "".join(word)


def search_terms(username: str | None, display_name: str | None) -> list[str]:
    """Return the value of a contact's `searchTerms`: distinct terms, sorted, at most `MAX_TERMS`."""
    found: dict[str, None] = {}
    for name in (username, display_name):
        for word in words(name or ""):
            found.update(dict.fromkeys(_terms_of(word)))
    return sorted(list(found)[:MAX_TERMS])


def query_words(text: str) -> list[str]:
    """Return the distinct words that a search asks for, at most `MAX_QUERY_WORDS`; none where it is all punctuation."""
    return list(dict.fromkeys(words(text)))[:MAX_QUERY_WORDS]


def literal_patterns(text: str) -> list[str]:
    """Return regular expressions, blind to case, that a name must match to be found.

    There is one for each part of the search, as spaces divide it, that has a character between words; the `@` before a
    username is none. What they say is the same to Python and to the database. What is several characters when folded
    (`㈱`) is found as it is written.
    """
    parts = dict.fromkeys(part.removeprefix("@") for part in text.split())
    marked = [part for part in parts if any(_separates(character) for character in fold(part))]
    return [f"{''.join(map(_pattern_of, fold(part)))}|{re.escape(part)}" for part in marked[:MAX_QUERY_WORDS]]


def matches(terms: Iterable[str], text: str) -> bool:
    """Whether a contact with these terms is found by a search: each word of it begins one of the terms."""
    kept = tuple(terms)
    asked = query_words(text)
    return bool(asked) and all(any(term.startswith(word) for term in kept) for word in asked)


def _separates(character: str) -> bool:
    return unicodedata.category(character).startswith(_SEPARATORS)


def _pattern_of(character: str) -> str:
    """Return an expression for every character that is the same to us as this one, with its accents."""
    same = _same_characters().get(character, "")
    return (f"[{re.escape(character + same)}]" if same else re.escape(character)) + _ACCENTS


@cache
def _same_characters() -> Mapping[str, str]:
    """Return the Latin letters and the characters of full width that fold to each plain one."""
    found: defaultdict[str, str] = defaultdict(str)
    for low, high in _SAME:
        for code in range(low, high):
            if (folded := fold(chr(code))) != chr(code) and len(folded) == 1:
                found[folded] += chr(code)
    return found


def _terms_of(word: str) -> Iterator[str]:
    yield word
    if any(low <= ord(c) <= high for c in word for low, high in UNSPACED):
        yield from (word[start:] for start in range(1, len(word)))
