"""Whether a message that X shows is one that was sent: the only evidence where X gave no answer to the send.

X has no idempotency key for messages (x-api, 3.1). It replaces links by t.co links and may escape characters.
"""

from __future__ import annotations

import html
import re

_SHORT_LINK = re.compile(r"https?://t\.co/\w+")
_SPACE = re.compile(r"\s+")


def same_text(sent: str, shown: str) -> bool:
    """Return whether X could show `sent` as `shown`: equal but for white space, escapes and shortened links."""
    wanted = _plain(sent)
    seen = _plain(shown)
    if wanted == seen:
        return True
    pieces = _SHORT_LINK.split(seen)
    if len(pieces) == 1:
        return False
    # A link that X appended for attached media has no counterpart in what was sent.
    if not pieces[-1] and same_text(wanted, _SPACE.sub(" ", seen[: seen.rindex("http")])):
        return True
    return re.fullmatch(r"\S+".join(map(re.escape, pieces)), wanted) is not None


def _plain(text: str) -> str:
    return _SPACE.sub(" ", html.unescape(text)).strip()
