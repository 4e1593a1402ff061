"""Which conversations of a batch of events the chatbot has to look at (docs/chatbot.md).

That is written in ingestion's own transaction, on the conversation: `botDue`, and in `botTurn` the newest such message,
when it came, and since when there is something to look at. By it a message is found after any crash.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from domain.account_key import AccountKey
from domain.bot_rules import NO_BOT, standing
from domain.draft import Document, Draft

_SPEAKS = frozenset({"answer", "away"})


@dataclass(frozen=True, slots=True)
class _Turn:
    conversation: Draft
    message_id: str


class BotTurns:
    """Which conversations of a batch of events fall due."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._turns: list[_Turn] = []

    def take(self, account: AccountKey, contact: Draft, conversation: Draft, message: Document) -> None:
        """Take note of an inbound message; one that is only a word about consent is no question."""
        if account.bot == NO_BOT or account.words.asked_by(message["content"]) is not None:
            return
        if standing(conversation.document, contact.document, account.bot, self._now) in _SPEAKS:
            self._turns.append(_Turn(conversation, message["_id"]))

    def settle(self, taken: Collection[str]) -> frozenset[str]:
        """Let fall due what nobody else has taken, and return these conversations.

        Args:
            taken: messages that a flow has taken: the chatbot keeps silent about them.
        """
        due = [turn for turn in self._turns if turn.message_id not in taken]
        for turn in due:
            known = turn.conversation.document.get("botTurn")
            since = known["since"] if known else self._now
            turn.conversation.put("botDue", True)
            turn.conversation.put("botTurn", {"messageId": turn.message_id, "at": self._now, "since": since})
        return frozenset(turn.conversation.document["_id"] for turn in due)
