"""A message as it waits for its account to send it, whoever wrote it: one place for what the sender relies on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from domain.outgoing_content import ContentFields

#: Claims on an account's budget, first served first (contract, part 5, "Campaigns").
PRIORITY_AGENT = 0
PRIORITY_BOT = 1
PRIORITY_FLOW = 2
PRIORITY_CAMPAIGN = 3


class Addressee(NamedTuple):
    """Whom a message goes to, and by which account."""

    merchant_id: str
    account_id: str
    conversation_id: str
    contact_id: str
    #: Where the contact is several people on X, the one who is being talked to.
    twitter_user_id: str


def queued_message(
    message_id: str,
    to: Addressee,
    content: ContentFields,
    *,
    source: str,
    priority: int,
    now: datetime,
    is_from_bot: bool = False,
) -> dict[str, Any]:
    """Return the document of a message that nobody has begun to send; of the priorities the least comes first."""
    return {
        "_id": message_id,
        "merchantId": to.merchant_id,
        "accountId": to.account_id,
        "conversationId": to.conversation_id,
        "contactId": to.contact_id,
        "twitterUserId": to.twitter_user_id,
        "twitterMessageId": None,
        "direction": "outbound",
        "attachments": [],
        **content,
        "isFromBot": is_from_bot,
        "source": source,
        "status": "queued",
        "pending": True,
        "priority": priority,
        "claim": None,
        "failure": None,
        "sentAt": None,
        "at": now,
        "createdAt": now,
        "sentByUserId": None,
        "attempts": 0,
    }
