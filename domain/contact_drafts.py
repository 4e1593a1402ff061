"""How a contact begins, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.account_key import AccountKey
from domain.campaign_outcomes import LAST
from domain.consent import ConsentState
from domain.consent_history import consent_fields
from domain.contact_names import search_terms
from domain.draft import Document, Draft
from domain.events import EventKind, XEvent

#: How a contact came to be known, by the kind of the first event.
SOURCES = {
    EventKind.MESSAGE: "inbound_message",
    EventKind.FOLLOW: "new_follower",
    EventKind.MENTION: "mention",
    EventKind.REPLY: "mention",
    EventKind.QUOTE: "mention",
    EventKind.REPOST: "mention",
    EventKind.LIKE: "like",
}


def new_contact(account: AccountKey, event: XEvent, now: datetime, contact_id: str) -> Document:
    """Return the contact that an event is the first of."""
    username = event.profile.get("username") or event.participant_id
    display_name = event.profile.get("displayName") or username
    return {
        "_id": contact_id,
        "merchantId": account.merchant_id,
        "accountId": account.id,
        "twitterUserId": event.participant_id,
        "username": username,
        "displayName": display_name,
        "profileImageUrl": event.profile.get("profileImageUrl"),
        "searchTerms": search_terms(username, display_name),
        "tags": [],
        "attributes": {},
        "source": SOURCES.get(event.kind, "activity"),
        "consent": {"state": "none", "at": None, "source": None},
        "conversationCount": 0,
        "messagesSent": 0,
        "messagesReceived": 0,
        "responseSeconds": 0,
        "responseCount": 0,
        "firstInteractionAt": event.at,
        "lastInteractionAt": event.at,
        "createdAt": now,
        "updatedAt": now,
    }


def agree(contact: Draft, state: ConsentState, at: datetime, source: str) -> None:
    """Take note of a contact's consent."""
    for name, value in consent_fields(contact.document, {"state": state, "at": at, "source": source}).items():
        contact.put(name, value)


def suppress(contact: Draft, at: datetime) -> None:
    """Take note that a contact has blocked the account, unless they have written since."""
    written = contact.document.get(LAST["replied"])
    if written is None or written <= at:
        contact.put("suppression", {"reason": "blocked", "at": at})


def lift(contact: Draft, at: datetime) -> None:
    """Take note that a contact is to be reached again."""
    suppression = contact.document.get("suppression")
    if suppression is not None and suppression["at"] <= at:
        contact.put("suppression", None)


def renamed_by_hand(contact: Mapping[str, Any], name: str) -> bool:
    """Whether a merchant has given this name to the contact: what X says does not overwrite it."""
    return name == "displayName" and bool(contact.get("displayNameEdited"))
