"""Who may be written to without a person doing it, and the words by which people say so themselves.

X allows automated direct messages to people who have written first or have agreed, and wants an opt-out that is easy
and heeded at once (X's developer guidelines, "Automated actions"; contract, part 5, "Contacts").
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias, TypedDict

from domain.consent_words import ALWAYS_STOP, START_WORDS, STOP_WORDS

ConsentState: TypeAlias = Literal["none", "inbound", "opted_in", "opted_out"]
#: Why nothing automatic is sent to a contact.
Refusal: TypeAlias = Literal["opted_out", "no_consent", "blocked"]
Wish: TypeAlias = Literal["stop", "start"]

#: Messages of these sources are sent without a person.
AUTOMATIC_SOURCES = frozenset({"campaign", "flow", "bot"})
#: `consent.source` where the contact said it in a message.
SOURCE_STOP_WORD = "stop_word"
SOURCE_START_WORD = "start_word"
#: The source of the message that confirms an opt-out: it is owed to the contact, and so not automatic.
CONFIRMATION_SOURCE = "consent"
DEFAULT_CONFIRMATION = (
    "You are unsubscribed and will get no more automatic messages from us. Write START to get them again."
)

#: Why X refuses a message where it is about the contact, and will refuse the next one too (domain/x_errors.py).
SUPPRESSING = frozenset({"recipient_refuses_messages", "recipient_suspended", "recipient_not_found"})

#: A longer message than this is never only a word; in characters.
_LONGEST = 80
_DIACRITICS = range(0x0300, 0x0370)
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


class Suppression(TypedDict):
    """Why X lets nothing through to a contact, and since when."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ConsentWords:
    """The words of one account, normalised; a word may be a phrase."""

    stop: frozenset[str]
    start: frozenset[str]

    def asked_by(self, text: str) -> Wish | None:
        """Return what a message asks for that is nothing but such a word, once or several times over."""
        if len(text) > _LONGEST:
            return None
        said = normalised(text)
        parts = said.split(" ")
        if all(len(part) == 1 for part in parts):
            said = "".join(parts)  # s.t.o.p
        elif len(set(parts)) == 1:
            said = parts[0]
        if said in self.stop:
            return "stop"
        return "start" if said in self.start else None


def words_of(stop: Iterable[str] | None, start: Iterable[str] | None) -> ConsentWords:
    """Return the words of an account that has set these; None: those that we know.

    STOP and UNSUBSCRIBE always count, and a word that is both stops: an opt-out must be easy.
    """
    return _words(None if stop is None else tuple(stop), None if start is None else tuple(start))


@lru_cache(maxsize=1024)
def _words(stop: tuple[str, ...] | None, start: tuple[str, ...] | None) -> ConsentWords:
    stops = {normalised(word) for word in (*(STOP_WORDS if stop is None else stop), *ALWAYS_STOP)} - {""}
    starts = {normalised(word) for word in (START_WORDS if start is None else start)} - {""}
    return ConsentWords(frozenset(stops), frozenset(starts - stops))


def normalised(text: str) -> str:
    """Return the words of a text in one form: without case, width, accents, punctuation, emoji and what is not seen."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(map(_kept, decomposed))
    return unicodedata.normalize("NFC", " ".join(kept.split()))


def _kept(character: str) -> str:
    if character == "\N{LATIN SMALL LETTER DOTLESS I}":
        # Turkish writes it small where its capital is the I of everybody else.
        return "i"
    code, category = ord(character), unicodedata.category(character)
    if code in _DIACRITICS or code in _VARIATION_SELECTORS or category in {"Cf", "Lm", "Me"}:
        return ""
    return character if category[0] in "LNM" else " "


#: The words of an account that has set none.
DEFAULT_WORDS = words_of(None, None)


def refusal(contact: Mapping[str, object], *, require_consent: bool) -> Refusal | None:
    """Return why a contact gets nothing automatic, or None where it may.

    Args:
        contact: its document: `consent.state`, and `suppression` where X refuses the contact.
        require_consent: whether those are left out too that have neither written nor agreed.
    """
    consent = contact.get("consent")
    state = consent.get("state") if isinstance(consent, Mapping) else None
    if state == "opted_out":
        return "opted_out"
    if contact.get("suppression") is not None:
        return "blocked"
    if require_consent and state not in {"inbound", "opted_in"}:
        return "no_consent"
    return None
