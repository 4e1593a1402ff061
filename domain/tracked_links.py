"""Links that tell who followed them: found in a text, replaced by short ones, and followed by people or by programs.

What is a link is decided as X does it (the `twitter-text` library, which X publishes): a host, then what may stand in a
path. So a link ends where Japanese or Thai text follows it without a space, and an e-mail address or a word that goes
over into `https://` is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_letters, digits
from urllib.parse import quote, urlsplit

#: Letters that addresses go on with beyond ASCII: Latin with accents, also as marks of their own, and Cyrillic.
_LATIN = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff"
_CYRILLIC = "\u0400-\u04ff"
_ADDRESS = re.compile(
    # Where a word, a name or a tag goes on, no link begins.
    r"(?<![A-Za-z0-9@\uff20$#\uff03])https?://"
    r"(?:[\w~%-]+[.:@])*"
    # A name ends with letters of ASCII, where text of another script follows at once, else with whatever it has.
    rf"(?:[A-Za-z]{{2,}}(?![A-Za-z0-9_~%.:@{_LATIN}{_CYRILLIC}-])|[\w~%-]+)"
    rf"(?:[/?#][A-Za-z0-9!$%&'()*+,./:;=?@_~#|\[\]{{}}{_LATIN}{_CYRILLIC}-]*)?",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?'*"
_BRACKETS = {")": "(", "]": "[", "}": "{"}
#: Where a link may lead; everything of ASCII that is no white space and no control character stays as it is.
_WEB = frozenset({"http", "https"})
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_UNSEEN = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\\]")

_ALPHABET = digits + ascii_letters
#: 62 ** 11 is more than 2 ** 65: nobody finds a code by trying.
CODE_LENGTH = 11
_CHARACTERS = frozenset(_ALPHABET)
#: Bytes from here on are left out, so that every character is as likely as any other.
_EVEN = 256 - 256 % len(_ALPHABET)

#: Programs that look at a link because it was in a message, by a part of what they call themselves. Cubot makes phones.
_PROGRAMS = re.compile(
    r"(?<!cu)bot\b|(?<!cu)bots?[/ ;+_-]|crawl|spider|preview|slurp|fetcher|scanner|monitor|validator|headless"
    r"|facebookexternalhit|whatsapp/|embedly|vkshare|curl/|wget/|python-|aiohttp|okhttp|go-http-client|java/"
    r"|libwww|httpclient|apache-http|axios|node-fetch|undici|imgproxy|imageproxy|mediapartners-google|iframely"
    r"|google-inspectiontool|google-site-verification|http\.rb/|guzzlehttp|ia_archiver|barracuda",
    re.IGNORECASE,
)
_PREFETCH_HEADERS = ("purpose", "sec-purpose", "x-purpose", "x-moz")


@dataclass(frozen=True, slots=True)
class Link:
    """A short link, and where it leads."""

    code: str
    url: str


def new_code(random_bytes: Callable[[int], bytes]) -> str:
    """Return a code that can't be guessed, from a source of random bytes."""
    code = ""
    while len(code) < CODE_LENGTH:
        code += "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random_bytes(CODE_LENGTH) if byte < _EVEN)
    return code[:CODE_LENGTH]


def code_in(text: str) -> str | None:
    """Return the code that the end of a short link begins with, None where that can't be one.

    Programs draw the end of a link in different places: punctuation after the code is not looked at.
    """
    code, after = text[:CODE_LENGTH], text[CODE_LENGTH : CODE_LENGTH + 1]
    return code if len(code) == CODE_LENGTH and set(code) <= _CHARACTERS and after not in _CHARACTERS else None


class LinkRewriter:
    """Makes the links of one message lead over `base`; a target that is named twice has one link.

    `code_of` makes the code of a link to a target.
    """

    def __init__(self, code_of: Callable[[str], str], base: str) -> None:
        self._code_of = code_of
        self._base = base
        self._links: dict[str, Link] = {}

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that were made, in the order in which their targets were met."""
        return tuple(self._links.values())

    def text(self, text: str) -> str:
        """Return a text with its links replaced.

        Punctuation that ends the sentence, and a bracket that was opened before the link, do not belong to it.
        """
        return _ADDRESS.sub(self._found, text)

    def url(self, url: str) -> str:
        """Return what leads to an address over `base`; what nobody could be sent to stays as it is."""
        if location_of(url) is None:
            return url
        link = self._links.get(url)
        if link is None:
            link = self._links[url] = Link(self._code_of(url), url)
        return f"{self._base}/l/{link.code}"

    def _found(self, found: re.Match[str]) -> str:
        url, rest = _cut(found.group())
        return self.url(url) + rest


def location_of(url: str) -> str | None:
    """Return an address as it may stand in a `Location` header (RFC 9110, 10.2.2), None where nobody is sent to it.

    It must be http or https, with a host, and without white space, control characters and backslashes, which browsers
    read as something else. What is not ASCII is percent-encoded, the rest stays as it is.
    """
    if _UNSEEN.search(url):
        return None
    try:
        parts = urlsplit(url)
        leads_somewhere = parts.scheme in _WEB and bool(parts.hostname) and parts.port != 0
        return quote(url, safe=_VISIBLE) if leads_somewhere else None
    except ValueError:
        return None


def is_preview(method: str, headers: Mapping[str, str]) -> bool:
    """Say whether a link is looked at by a program and not followed by a person.

    By the method (HEAD), by what browsers say of pages that they load ahead, and by what programs call themselves; who
    says nothing of itself is a program.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if method.upper() == "HEAD":
        return True
    if any(
        "prefetch" in lower.get(name, "").lower() or "preview" in lower.get(name, "").lower()
        for name in _PREFETCH_HEADERS
    ):
        return True
    agent = lower.get("user-agent", "").strip()
    return not agent or _PROGRAMS.search(agent) is not None


def _cut(address: str) -> tuple[str, str]:
    """Return an address without what belongs to the sentence around it, and that rest."""
    end = len(address)
    while end:
        last = address[end - 1]
        opening = _BRACKETS.get(last)
        unopened = opening is not None and address.count(opening, 0, end) < address.count(last, 0, end)
        if last not in _TRAILING and not unopened:
            break
        end -= 1
    return address[:end], address[end:]
