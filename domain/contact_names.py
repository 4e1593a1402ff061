"""Which words a contact can be found by.

Search is a literal, case-insensitive match of name parts (contract, part 5, "Contacts"). A contact keeps the words of
its names in `searchTerms`; a word of the query finds it when a term begins with that word, which an index answers with
one range. Names in scripts that put no space between words (Chinese, Japanese, Thai, …) keep every suffix, so that
a part in the middle is found too. Letters are compared without case and without accents: "nguyen" finds "Nguyễn".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

#: Most terms of one contact: X allows 15 characters in a username and 50 in a display name.
MAX_TERMS = 64
#: Most words of a query that are looked at.
MAX_QUERY_WORDS = 8

# Letters that Unicode does not decompose into a base letter and an accent.
_BASE_LETTERS = str.maketrans({"đ": "d", "ł": "l", "ø": "o", "\u0131": "i"})
# Punctuation, separators, control characters and symbols of arithmetic or currency end a word; emoji are words.
_SEPARATORS = ("P", "Z", "C", "Sm", "Sc", "Sk")
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
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in decomposed if unicodedata.category(c) != "Mn").translate(_BASE_LETTERS)
    return unicodedata.normalize("NFC", kept)


def words(text: str) -> Iterator[str]:
    """Yield the folded words of a text in order."""
    word: list[str] = []
    for character in fold(text):
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


def matches(terms: Iterable[str], text: str) -> bool:
    """Whether a contact with these terms is found by a search: each word of it begins one of the terms."""
    kept = tuple(terms)
    asked = query_words(text)
    return bool(asked) and all(any(term.startswith(word) for term in kept) for word in asked)


def _terms_of(word: str) -> Iterator[str]:
    yield word
    if any(low <= ord(c) <= high for c in word for low, high in UNSPACED):
        yield from (word[start:] for start in range(1, len(word)))
