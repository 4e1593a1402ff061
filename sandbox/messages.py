"""Every direct message that the simulated X accepted."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from sandbox.body import JsonObject, as_list, as_number, as_object, as_text
from sandbox.clock import DAY_MS, rfc3339

_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")
#: X lists messages of the last 30 days.
LISTED_MS = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class Link:
    """A link as X shows it: shortened in the text, `start` and `end` in code points of the shown text."""

    short: str
    expanded: str
    display: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DirectMessage:
    """One message; `text` is what was asked for, `shown` what X shows (links shortened, media link appended).

    `via` says how it came: the endpoint, or `app` for what a person wrote in an app of X. `media` is `{"id", "type"}`.
    """

    id: str
    sender_id: str
    recipient_id: str
    text: str
    shown: str
    created_ms: int
    via: str
    links: tuple[Link, ...] = ()
    media: JsonObject | None = None
    quick_reply: JsonObject | None = None
    quick_reply_response: str | None = None
    ctas: tuple[JsonObject, ...] = ()
    source_app_id: str | None = None

    @property
    def conversation_id(self) -> str:
        """X's id of the one-to-one conversation: the smaller user id first."""
        return conversation_id(self.sender_id, self.recipient_id)

    def raw(self) -> JsonObject:
        """Return everything that is known of the message, for journals and audits."""
        return {**asdict(self), "conversation_id": self.conversation_id}

    def v2(self, wanted: set[str]) -> JsonObject:
        """Return the message as v2 lists it, with the fields asked for beside the default ones."""
        every: JsonObject = {
            "id": self.id,
            "text": self.shown,
            "event_type": "MessageCreate",
            "created_at": rfc3339(self.created_ms),
            "sender_id": self.sender_id,
            "dm_conversation_id": self.conversation_id,
            "participant_ids": [self.sender_id, self.recipient_id],
        }
        if self.media is not None:
            every["attachments"] = {"media_keys": [f"3_{self.media['id']}"]}
        if self.links:
            every["entities"] = {
                "urls": [
                    {
                        "start": link.start,
                        "end": link.end,
                        "url": link.short,
                        "expanded_url": link.expanded,
                        "display_url": link.display,
                    }
                    for link in self.links
                ]
            }
        return {name: value for name, value in every.items() if name in wanted}


def conversation_id(one: str, other: str) -> str:
    """Return X's id of a one-to-one conversation."""
    return "-".join(sorted((one, other), key=int))


def shorten(text: str, *, message_id: str, media: JsonObject | None, wrap_links: bool) -> tuple[str, tuple[Link, ...]]:
    """Return the text as X shows it with its links: each becomes a t.co address, and media adds one at the end."""
    links: list[Link] = []
    shown = ""
    position = 0
    for match in _LINK.finditer(text):
        expanded = match.group()
        shown += text[position : match.start()]
        short = f"https://t.co/{_code(expanded)}" if wrap_links else expanded
        display = expanded.split("//", 1)[1][:30]
        links.append(Link(short, expanded, display, len(shown), len(shown) + len(short)))
        shown += short
        position = match.end()
    shown += text[position:]
    if media is not None:
        shown += " " if shown else ""
        expanded = f"https://twitter.com/messages/media/{message_id}"
        short = f"https://t.co/{_code(expanded)}"
        links.append(Link(short, expanded, f"pic.twitter.com/{_code(expanded)}", len(shown), len(shown) + len(short)))
        shown += short
    return shown, tuple(links)


def _code(address: str) -> str:
    return blake2b(address.encode(), digest_size=5).hexdigest()


def from_raw(raw: JsonObject) -> DirectMessage:
    """Read a message back from what `DirectMessage.raw` wrote."""
    links = tuple(
        Link(
            as_text(link["short"]),
            as_text(link["expanded"]),
            as_text(link["display"]),
            int(as_number(link["start"])),
            int(as_number(link["end"])),
        )
        for link in map(as_object, as_list(raw["links"]))
    )
    response = raw["quick_reply_response"]
    app = raw["source_app_id"]
    return DirectMessage(
        id=as_text(raw["id"]),
        sender_id=as_text(raw["sender_id"]),
        recipient_id=as_text(raw["recipient_id"]),
        text=as_text(raw["text"]),
        shown=as_text(raw["shown"]),
        created_ms=int(as_number(raw["created_ms"])),
        via=as_text(raw["via"]),
        links=links,
        media=as_object(raw["media"]) or None,
        quick_reply=as_object(raw["quick_reply"]) or None,
        quick_reply_response=response if isinstance(response, str) else None,
        ctas=tuple(as_object(cta) for cta in as_list(raw["ctas"])),
        source_app_id=app if isinstance(app, str) else None,
    )


@dataclass(slots=True)
class MessageStore:
    """The accepted messages in order of their ids, found by id, by user and by conversation."""

    all: list[DirectMessage] = field(default_factory=list)
    _by_id: dict[str, DirectMessage] = field(default_factory=dict)
    _by_user: dict[str, list[DirectMessage]] = field(default_factory=dict)
    _by_conversation: dict[str, list[DirectMessage]] = field(default_factory=dict)
    _sent: dict[str, deque[int]] = field(default_factory=dict)

    def add(self, message: DirectMessage) -> None:
        """Keep a message; its id is greater than all before it."""
        self.all.append(message)
        self._by_id[message.id] = message
        self._by_user.setdefault(message.sender_id, []).append(message)
        self._by_user.setdefault(message.recipient_id, []).append(message)
        self._by_conversation.setdefault(message.conversation_id, []).append(message)
        self._sent.setdefault(message.sender_id, deque()).append(message.created_ms)

    def get(self, message_id: str) -> DirectMessage | None:
        """Return a message, or None."""
        return self._by_id.get(message_id)

    def of_user(self, user_id: str) -> list[DirectMessage]:
        """Return what a user sent and received, oldest first."""
        return self._by_user.get(user_id, [])

    def of_conversation(self, conversation: str) -> list[DirectMessage]:
        """Return a conversation's messages, oldest first."""
        return self._by_conversation.get(conversation, [])

    def sent_since(self, user_id: str, since_ms: int) -> int:
        """Count what a user sent after `since_ms`; it is never asked about an earlier moment again."""
        sent = self._sent.get(user_id)
        if sent is None:
            return 0
        while sent and sent[0] <= since_ms:
            sent.popleft()
        return len(sent)


def page(
    messages: list[DirectMessage], *, since_ms: int, before: str | None, size: int
) -> tuple[list[DirectMessage], str | None]:
    """Return up to `size` messages newest first, older than id `before`, and the id to go on before (None: no more)."""
    oldest = bisect_left(messages, since_ms, key=lambda message: message.created_ms)
    end = len(messages) if before is None else bisect_left(messages, int(before), key=lambda message: int(message.id))
    start = max(oldest, end - size)
    found = messages[start:end][::-1]
    return found, found[-1].id if found and start > oldest else None
