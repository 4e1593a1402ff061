"""The order in which one account's messages go out: most urgent first, and in order within each conversation."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from storage.client import Document


@dataclass(frozen=True, slots=True, order=True)
class Queued:
    """A message that waits: compared by priority (0 people … 3 campaigns), then age."""

    priority: int
    created_at: datetime
    message_id: str
    conversation_id: str = field(compare=False)
    source: str = field(compare=False, default="agent")

    @classmethod
    def of(cls, message: Document) -> Self:
        """Return what of a message's document says when it is its turn."""
        return cls(
            message["priority"], message["createdAt"], message["_id"], message["conversationId"], message["source"]
        )


class SendQueue:
    """Hands out one message a conversation at a time: the next one waits until it is `released`."""

    def __init__(self) -> None:
        self._ready: list[Queued] = []
        self._held: dict[str, deque[Queued]] = {}
        self._known: set[str] = set()

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._known)

    def __contains__(self, message_id: object) -> bool:
        """Return whether a message waits."""
        return message_id in self._known

    def message_ids(self) -> frozenset[str]:
        """Return which messages wait."""
        return frozenset(self._known)

    def add(self, message: Queued) -> None:
        """Let a message wait for its turn; one that waits already is left where it is."""
        if message.message_id not in self._known:
            self._known.add(message.message_id)
            heapq.heappush(self._ready, message)

    def hold(self, conversation_id: str) -> None:
        """Hand out nothing of a conversation until it is released."""
        self._held.setdefault(conversation_id, deque())

    def release(self, conversation_id: str) -> None:
        """Let a conversation go on."""
        for message in self._held.pop(conversation_id, ()):
            heapq.heappush(self._ready, message)

    def peek(self) -> Queued | None:
        """Return the message that is next, putting those of held conversations aside."""
        while self._ready:
            message = self._ready[0]
            aside = self._held.get(message.conversation_id)
            if aside is None:
                return message
            aside.append(heapq.heappop(self._ready))
        return None

    def take(self) -> Queued:
        """Take the message that `peek` showed, and hold its conversation."""
        message = heapq.heappop(self._ready)
        self._known.discard(message.message_id)
        self.hold(message.conversation_id)
        return message
