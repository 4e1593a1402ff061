"""Names compared without case, character by character, so that a pattern for the database can say exactly the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

# Beyond it no character has another case that is one character.
_LAST_CASED = 0x1E944


def fold_case(text: str) -> str:
    """Return a text without case, as long as it was: characters whose other case is several stay as they are."""
    return "".join(map(_fold, text))


def caseless_pattern(text: str) -> str:
    """Return the pattern that matches what `fold_case` makes equal to a text."""
    return "".join(map(_pattern, text))


def _pattern(character: str) -> str:
    variants = _variants().get(_fold(character))
    return f"[{variants}]" if variants else re.escape(character)


def _fold(character: str) -> str:
    folded = character.casefold()
    return folded if len(folded) == 1 else character


@cache
def _variants() -> Mapping[str, str]:
    """Return, by folded character, every character that folds to it, where there are several."""
    found: dict[str, str] = {}
    for character in map(chr, range(_LAST_CASED)):
        folded = _fold(character)
        if folded != character:
            found[folded] = found.get(folded, folded) + character
    return found
