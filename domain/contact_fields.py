"""What a contact's tags, attributes and names may be (contract, part 5, "Contacts").

Each function returns the value as it is stored, or raises `ValueError` with a reason that may be shown to the caller.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import TypeAlias

AttributeValue: TypeAlias = str | int | float | bool | list[str]

MOST_TAGS = 100
LONGEST_TAG = 64
MOST_ATTRIBUTES = 200
#: Characters of a text, and of each entry of a list.
LONGEST_TEXT = 2_000
MOST_ENTRIES = 100
LONGEST_DISPLAY_NAME = 100

_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_USERNAME = re.compile(r"[A-Za-z0-9_]{1,20}")
_TWITTER_USER_ID = re.compile(r"[1-9][0-9]{0,19}")
# What the database keeps as a whole number.
_LEAST_WHOLE, _GREATEST_WHOLE = -(2**63), 2**63 - 1
# Controls, surrogates and code points that mean nothing; a null character ends a text in some places of the database.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Cn"})
_LINES = frozenset("\n\r\t")


def folded_tag(text: str) -> str:
    """Return a text as a tag is stored and looked for: in lower case, without spaces around it."""
    return unicodedata.normalize("NFC", text.strip().lower())


def tag(text: str) -> str:
    """Return a tag as it is stored.

    A comma is refused: the filter of the list of contacts separates tags by it.
    """
    kept = folded_tag(text)
    if not 1 <= len(kept) <= LONGEST_TAG:
        raise ValueError(f"must be 1 to {LONGEST_TAG} characters")
    if "," in kept or not _is_printable(kept):
        raise ValueError("must have no commas and no control characters")
    return kept


def attribute_name(text: str) -> str:
    """Return the name of an attribute: letters, digits and `_`, at most 64, no digit first."""
    if not _ATTRIBUTE_NAME.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits or _, and begin with no digit")
    return text


def attribute_value(value: object) -> AttributeValue:
    """Return the value of an attribute: text (a date is one), number, boolean or list of text."""
    match value:
        case bool():
            return value
        case int():
            if not _LEAST_WHOLE <= value <= _GREATEST_WHOLE:
                raise ValueError("must be a whole number of 64 bits")
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError("must be a finite number")
            return value
        case str():
            return _text(value)
        case list():
            if len(value) > MOST_ENTRIES:
                raise ValueError(f"must have at most {MOST_ENTRIES} entries")
            return [_entry(each) for each in value]
        case _:
            raise ValueError("must be text, a number, a boolean, a date or a list of text")


def checked_attributes(attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Return the attributes of a contact that is made; the first that is wrong is named."""
    if len(attributes) > MOST_ATTRIBUTES:
        raise ValueError(f"must be at most {MOST_ATTRIBUTES} attributes")
    kept: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        try:
            kept[attribute_name(name)] = attribute_value(value)
        except ValueError as error:
            raise ValueError(f"attribute {name[:64]}: {error}") from None
    return kept


def display_name(text: str) -> str:
    """Return the name that a contact is shown by."""
    kept = text.strip()
    if not 1 <= len(kept) <= LONGEST_DISPLAY_NAME:
        raise ValueError(f"must be 1 to {LONGEST_DISPLAY_NAME} characters")
    if not _is_printable(kept):
        raise ValueError("must have no control characters")
    return kept


def username(text: str) -> str:
    """Return the name of an X user, without the `@`."""
    kept = text.strip().removeprefix("@")
    if not _USERNAME.fullmatch(kept):
        raise ValueError("must be 1 to 20 letters, digits or _")
    return kept


def twitter_user_id(text: str) -> str:
    """Return the id of an X user: digits."""
    if not _TWITTER_USER_ID.fullmatch(text):
        raise ValueError("must be 1 to 20 digits")
    return text


def _entry(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a list of text")  # noqa: TRY004  # a wrong value of the request, as the others
    return _text(value)


def _text(value: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"must be at most {LONGEST_TEXT} characters")
    if not _is_printable(value, but=_LINES):
        raise ValueError("must have no control characters")
    return value


def _is_printable(text: str, *, but: frozenset[str] = frozenset()) -> bool:
    return all(character in but or unicodedata.category(character) not in _UNPRINTABLE for character in text)
