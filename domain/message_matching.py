"""Whether a message that X shows is one that was sent: the only evidence where X gave no answer to the send.

X has no idempotency key for messages (x-api, 3.1). It replaces links by t.co links and may escape characters.
"""

from __future__ import annotations

import html
import re

_SHORT_LINK = re.compile(r"https?://t\.co/\w+")
#: What X makes a link of: an address, or a bare name with a dot in it.
_LINK_LIKE = re.compile(r"\w\.\w")


def same_text(sent: str, shown: str) -> bool:
    """Return whether X could show `sent` as `shown`: equal but for white space, escapes and shortened links."""
    wanted = sent.split()
    return any(_same_words(wanted, text.split()) for text in {shown, html.unescape(shown)})


def _same_words(wanted: list[str], seen: list[str]) -> bool:
    if _alike(wanted, seen):
        return True
    # A link that X appended for attached media has no counterpart in what was sent.
    return bool(seen) and _SHORT_LINK.fullmatch(seen[-1]) is not None and _alike(wanted, seen[:-1])


def _alike(wanted: list[str], seen: list[str]) -> bool:
    # Links hold no white space, so that words stand against words; this also bounds the work.
    return len(wanted) == len(seen) and all(map(_same_word, wanted, seen))


def _same_word(wanted: str, seen: str) -> bool:
    """Compare two words; each short link in `seen` stands for a link in `wanted`."""
    if wanted == seen:
        return True
    first, *others = _SHORT_LINK.split(seen)
    if not others or not wanted.startswith(first):
        return False
    position = len(first)
    for piece in others[:-1]:
        end = wanted.find(piece, position + 1)
        if end < 0 or not _LINK_LIKE.search(wanted, position, end):
            return False
        position = end + len(piece)
    end = len(wanted) - len(others[-1])
    return wanted.endswith(others[-1]) and _LINK_LIKE.search(wanted, position, end) is not None
