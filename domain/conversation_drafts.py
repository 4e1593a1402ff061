"""How a conversation begins, and what messages of ours mean for it and for its contact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.account_key import AccountKey
from domain.draft import Document, Draft

#: Where messages come from that a person of the merchant has written.
_BY_PEOPLE = frozenset({"agent", "native"})


def new_conversation(account: AccountKey, contact: Mapping[str, Any], at: datetime, conversation_id: str) -> Document:
    """Return a conversation that begins now."""
    return {
        "_id": conversation_id,
        "merchantId": account.merchant_id,
        "accountId": account.id,
        "contactId": contact["_id"],
        "twitterUserId": contact["twitterUserId"],
        "status": "open",
        "channel": "direct_message",
        "assignedToUserId": None,
        "messageCount": 0,
        "unreadCount": 0,
        "startedAt": at,
        "lastMessageAt": at,
        "lastInboundAt": None,
        "waitingSince": None,
        "closedAt": None,
        "closeReason": None,
    }


def answered(contact: Draft, conversation: Draft, at: datetime) -> int | None:
    """Take note that the account has answered: the wait of the customer is over and counts as a response time.

    Returns how many seconds it took, None where nobody was waiting.
    """
    since = conversation.document["waitingSince"]
    if since is None or since > at:
        return None
    seconds = int((at - since).total_seconds())
    contact.add("responseSeconds", seconds)
    contact.add("responseCount", 1)
    conversation.put("waitingSince", None)
    return seconds


def seen(conversation: Draft, source: str, at: datetime) -> None:
    """Take note that a person has answered: they have read what came before; what came after it stays unread.

    `personAnsweredAt` is what the chatbot's silence is counted from.
    """
    if source in _BY_PEOPLE and (conversation.document.get("personAnsweredAt") or at) <= at:
        conversation.put("personAnsweredAt", at)
    last = conversation.document["lastInboundAt"]
    if source in _BY_PEOPLE and conversation.document["unreadCount"] and (last is None or last <= at):
        conversation.put("unreadCount", 0)


def count_sent(contact: Draft, conversation: Draft | None, at: datetime) -> int | None:
    """Count a message of ours that X has taken, in the contact and in the conversation it belongs to.

    Returns after how many seconds it answers the customer, None where it is no answer.
    """
    contact.add("messagesSent", 1)
    if conversation is None:
        return None
    seconds = answered(contact, conversation, at)
    conversation.add("messageCount", 1)
    if conversation.document["lastMessageAt"] < at:
        conversation.put("lastMessageAt", at)
    return seconds
