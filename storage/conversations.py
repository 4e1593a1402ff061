from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NotRequired, TypedDict, cast

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.account_key import AccountKey
from domain.conversation_drafts import new_conversation
from domain.errors import NotFound
from storage.client import Database, Document, Session, aggregated, session_of
from storage.contacts import ContactDocument
from storage.conversation_sums import closed_in, started_in
from storage.paging import Slice, find_page

#: Unread conversations that are looked at for their totals.
MOST_UNREAD = 10_000
_ANY_STATUS = {"$in": ["open", "closed"]}


class EscalationDocument(TypedDict):
    """Why a conversation went to people, and who saw to it: `bot`, or a user's id."""

    reason: str
    at: datetime
    by: str


class BotTurnDocument(TypedDict):
    """The newest message that the chatbot has to look at, when it came, and since when there is one."""

    messageId: str
    at: datetime
    since: datetime


class ConversationDocument(TypedDict):
    """One dialogue with a contact; what need not be there is once it was escalated, has notes, a person has answered.

    `botDue` and `botTurn` are there while there is something that the chatbot has to look at.
    """

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
    escalated: NotRequired[bool]
    escalation: NotRequired[EscalationDocument | None]
    personAnsweredAt: NotRequired[datetime | None]
    awaySentAt: NotRequired[datetime]
    botDue: NotRequired[bool]
    botTurn: NotRequired[BotTurnDocument]
    noteCount: NotRequired[int]


class UnreadCount(TypedDict):
    """How many open conversations of an account are unread, and how many of these a person has."""

    accountId: str
    conversations: int
    assigned: int


@dataclass(frozen=True, slots=True)
class Assignee:
    """Whose conversations are asked for; no user id means those that nobody has."""

    user_id: str | None


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations are asked for: all conditions hold.

    `ids` are those to choose from; the last message is not before `since`, and before `until`.
    """

    account_id: str | None = None
    contact_id: str | None = None
    status: str | None = None
    assigned: Assignee | None = None
    unread: bool | None = None
    escalated: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[str] | None = None


class Conversations:
    """Dialogues between a merchant's accounts and its contacts."""

    def __init__(self, database: Database) -> None:
        self._collection = database["conversations"]
        self._contacts = database["contacts"]

    async def page(
        self, merchant_id: str, wanted: ConversationFilter, part: Slice, *, oldest_first: bool = False
    ) -> tuple[list[ConversationDocument], int]:
        """Return a part of the conversations in the order of their latest messages, and how many there are."""
        direction = ASCENDING if oldest_first else DESCENDING
        sort = [("lastMessageAt", direction), ("_id", direction)]
        documents, total = await find_page(self._collection, query_of(merchant_id, wanted), sort, part)
        return cast("list[ConversationDocument]", documents), total

    async def get(self, merchant_id: str, conversation_id: str) -> ConversationDocument | None:
        """Return one conversation of the merchant."""
        query = {"_id": conversation_id, "merchantId": merchant_id}
        return cast("ConversationDocument | None", await self._collection.find_one(query))

    async def several(self, merchant_id: str, conversation_ids: Collection[str]) -> list[ConversationDocument]:
        """Return those of several conversations that the merchant has."""
        query = {"_id": {"$in": list(conversation_ids)}, "merchantId": merchant_id}
        return cast("list[ConversationDocument]", await self._collection.find(query).to_list(None))

    async def unread(self, merchant_id: str, user_id: str) -> list[UnreadCount]:
        """Return how many open conversations are unread, by account, and how many of these the user has.

        At most `MOST_UNREAD` are looked at.
        """
        mine = {"$cond": [{"$eq": ["$assignedToUserId", {"$literal": user_id}]}, 1, 0]}
        pipeline: list[Document] = [
            {"$match": query_of(merchant_id, ConversationFilter(status="open", unread=True))},
            {"$limit": MOST_UNREAD},
            {"$group": {"_id": "$accountId", "conversations": {"$sum": 1}, "assigned": {"$sum": mine}}},
            {"$sort": {"_id": 1}},
        ]
        found = await aggregated(self._collection, pipeline)
        return [
            UnreadCount(accountId=each["_id"], conversations=each["conversations"], assigned=each["assigned"])
            for each in found
        ]

    async def read(self, merchant_id: str, conversation_id: str) -> ConversationDocument | None:
        """Take note that what is in a conversation now has been read, and return it."""
        read = await self._collection.find_one_and_update(
            {"_id": conversation_id, "merchantId": merchant_id},
            {"$set": {"unreadCount": 0}},
            return_document=ReturnDocument.AFTER,
        )
        return cast("ConversationDocument | None", read)

    async def open_with(
        self, account: AccountKey, contact: ContactDocument, now: datetime, new_id: str
    ) -> ConversationDocument:
        """Return the open conversation with a contact; one that begins now, under the id given, where there is none.

        Raises:
            NotFound: when the contact was erased, or merged into another one, at this moment.
        """
        query = {"accountId": account.id, "contactId": contact["_id"], "status": "open"}
        found = await self._collection.find_one(query)
        if found is not None:
            return cast("ConversationDocument", found)
        document = new_conversation(account, contact, now, new_id)

        async def work(session: Session) -> None:
            await self._collection.insert_one(document, session=session)
            counted = await self._contacts.update_one(
                {"_id": contact["_id"], "merchantId": account.merchant_id},
                {"$inc": {"conversationCount": 1}},
                session=session,
            )
            if counted.matched_count != 1:
                raise NotFound("The contact is gone")
            await started_in(self._collection.database, session, [document])

        try:
            async with session_of(self._collection.database.client) as session:
                await session.with_transaction(work)
        except DuplicateKeyError:
            # The contact has written meanwhile.
            return await self.open_with(account, contact, now, new_id)
        return cast("ConversationDocument", document)

    async def close(
        self,
        merchant_id: str,
        conversation_id: str,
        reason: str | None,
        now: datetime,
        session: Session | None = None,
    ) -> ConversationDocument | None:
        """Close a conversation, which is read with that, and return it; one that is closed keeps time and reason."""
        if session is None:

            async def work(own: Session) -> ConversationDocument | None:
                return await self.close(merchant_id, conversation_id, reason, now, own)

            async with session_of(self._collection.database.client) as own:
                return await own.with_transaction(work)
        closed = await self._collection.find_one_and_update(
            {"_id": conversation_id, "merchantId": merchant_id, "status": "open"},
            {
                "$set": {
                    "status": "closed",
                    "closedAt": now,
                    "closeReason": reason,
                    "waitingSince": None,
                    "unreadCount": 0,
                }
            },
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if closed is not None:
            await closed_in(self._collection.database, session, closed)
            return cast("ConversationDocument", closed)
        query = {"_id": conversation_id, "merchantId": merchant_id}
        return cast("ConversationDocument | None", await self._collection.find_one(query, session=session))

    async def escalate(
        self, merchant_id: str, conversation_id: str, escalation: EscalationDocument
    ) -> ConversationDocument | None:
        """Hand an open conversation to people, and return it: the chatbot is silent in it from now on."""
        escalated = await self._collection.find_one_and_update(
            {"_id": conversation_id, "merchantId": merchant_id, "status": "open"},
            {"$set": {"escalated": True, "escalation": escalation}, "$unset": {"botDue": "", "botTurn": ""}},
            return_document=ReturnDocument.AFTER,
        )
        return cast("ConversationDocument | None", escalated)

    async def hand_back(self, merchant_id: str, conversation_id: str) -> ConversationDocument | None:
        """Hand an open conversation back to the chatbot, and return it: it answers from the next message on."""
        handed_back = await self._collection.find_one_and_update(
            {"_id": conversation_id, "merchantId": merchant_id, "status": "open"},
            {"$set": {"escalated": False, "escalation": None, "personAnsweredAt": None}},
            return_document=ReturnDocument.AFTER,
        )
        return cast("ConversationDocument | None", handed_back)

    async def assign(
        self, merchant_id: str, conversation_id: str, user_id: str | None, session: Session | None = None
    ) -> ConversationDocument | None:
        """Give a conversation to a person, or to nobody, and return it."""
        return cast(
            "ConversationDocument | None",
            await self._collection.find_one_and_update(
                {"_id": conversation_id, "merchantId": merchant_id},
                {"$set": {"assignedToUserId": user_id}},
                return_document=ReturnDocument.AFTER,
                session=session,
            ),
        )

    async def count(self, merchant_id: str, account_id: str) -> int:
        """Return how many conversations an account has had."""
        query = {"merchantId": merchant_id, "accountId": account_id, "status": _ANY_STATUS}
        return await self._collection.count_documents(query)


def query_of(merchant_id: str, wanted: ConversationFilter) -> Document:
    """Return the query for conversations.

    The status is always in it, so that the indexes, which have it before the time, give the order.
    """
    query: Document = {"merchantId": merchant_id, "status": wanted.status or _ANY_STATUS}
    if wanted.ids is not None:
        query["_id"] = {"$in": list(wanted.ids)}
    if wanted.account_id is not None:
        query["accountId"] = wanted.account_id
    if wanted.contact_id is not None:
        query["contactId"] = wanted.contact_id
    if wanted.assigned is not None:
        query["assignedToUserId"] = wanted.assigned.user_id
    if wanted.unread is not None:
        query["unreadCount"] = {"$gt": 0} if wanted.unread else 0
    if wanted.escalated is not None:
        query["escalated"] = True if wanted.escalated else {"$ne": True}
    bounds = {"$gte": wanted.since, "$lt": wanted.until}
    times = {operator: moment for operator, moment in bounds.items() if moment is not None}
    if times:
        query["lastMessageAt"] = times
    return query
