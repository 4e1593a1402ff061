from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from pymongo import DESCENDING, ReturnDocument

from storage.client import Database, Document
from storage.paging import Slice, find_page

_NEWEST_FIRST = [("lastMessageAt", DESCENDING), ("_id", DESCENDING)]
_ANY_STATUS = {"$in": ["open", "closed"]}


class ConversationDocument(TypedDict):
    """One dialogue with a contact."""

    _id: str
    merchantId: str
    accountId: str
    contactId: str
    twitterUserId: str
    status: str
    channel: str
    assignedToUserId: str | None
    messageCount: int
    unreadCount: int
    startedAt: datetime
    lastMessageAt: datetime
    lastInboundAt: datetime | None
    waitingSince: datetime | None
    closedAt: datetime | None
    closeReason: str | None


@dataclass(frozen=True, slots=True)
class Assignee:
    """Whose conversations are asked for; no user id means those that nobody has."""

    user_id: str | None


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations are asked for: all conditions hold."""

    account_id: str | None = None
    contact_id: str | None = None
    status: str | None = None
    assigned: Assignee | None = None


class Conversations:
    """Dialogues between a merchant's accounts and its contacts."""

    def __init__(self, database: Database) -> None:
        self._collection = database["conversations"]

    async def page(
        self, merchant_id: str, wanted: ConversationFilter, part: Slice
    ) -> tuple[list[ConversationDocument], int]:
        """Return a part of the conversations, latest message first, and how many there are."""
        # The status is always in the query, so that the indexes, which have it before the time, give the order.
        query: Document = {"merchantId": merchant_id, "status": wanted.status or _ANY_STATUS}
        if wanted.account_id is not None:
            query["accountId"] = wanted.account_id
        if wanted.contact_id is not None:
            query["contactId"] = wanted.contact_id
        if wanted.assigned is not None:
            query["assignedToUserId"] = wanted.assigned.user_id
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part)
        return cast("list[ConversationDocument]", documents), total

    async def get(self, merchant_id: str, conversation_id: str) -> ConversationDocument | None:
        """Return one conversation of the merchant."""
        query = {"_id": conversation_id, "merchantId": merchant_id}
        return cast("ConversationDocument | None", await self._collection.find_one(query))

    async def close(
        self, merchant_id: str, conversation_id: str, reason: str | None, now: datetime
    ) -> ConversationDocument | None:
        """Close a conversation and return it; one that is closed keeps its time and reason."""
        closed = await self._collection.find_one_and_update(
            {"_id": conversation_id, "merchantId": merchant_id, "status": "open"},
            {"$set": {"status": "closed", "closedAt": now, "closeReason": reason, "waitingSince": None}},
            return_document=ReturnDocument.AFTER,
        )
        if closed is not None:
            return cast("ConversationDocument", closed)
        return await self.get(merchant_id, conversation_id)

    async def assign(self, merchant_id: str, conversation_id: str, user_id: str | None) -> ConversationDocument | None:
        """Give a conversation to a person, or to nobody, and return it."""
        return cast(
            "ConversationDocument | None",
            await self._collection.find_one_and_update(
                {"_id": conversation_id, "merchantId": merchant_id},
                {"$set": {"assignedToUserId": user_id}},
                return_document=ReturnDocument.AFTER,
            ),
        )

    async def count(self, merchant_id: str, account_id: str) -> int:
        """Return how many conversations an account has had."""
        query = {"merchantId": merchant_id, "accountId": account_id, "status": _ANY_STATUS}
        return await self._collection.count_documents(query)
