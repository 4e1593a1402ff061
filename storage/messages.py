from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NotRequired, TypedDict, cast

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from config.origin import kept_origin
from domain.events import Attachment
from domain.outgoing_content import ButtonFields, LinkAttachment, OptionFields, UploadedMedia, content_fields
from domain.queued_message import PRIORITY_AGENT, Addressee, queued_message
from domain.templates import Button, QuickReply, TemplateType
from storage.client import Database
from storage.paging import Slice, find_page

#: What messages are found by (`storage/message_words.py`) is nothing that anybody is shown.
_WITHOUT_WORDS = {"words": 0}


class Claim(TypedDict):
    """Which epoch of the account's actor took the message to send it, and when."""

    epoch: int
    at: datetime


class Failure(TypedDict):
    """Why a message was not sent: our reason, X's own code and text."""

    reason: str
    code: int | str | None
    text: str | None


class MessageDocument(TypedDict):
    """One direct message; `pending` and `claim` are there while it is under way, the rest as its origin has it.

    `media` is what X has of the attachment of a message that we send, once it is uploaded.
    """

    _id: str
    merchantId: str
    accountId: str
    conversationId: str
    contactId: str
    twitterUserId: str
    twitterMessageId: str | None
    direction: str
    type: str
    content: str
    attachments: list[Attachment]
    options: NotRequired[list[OptionFields]]
    buttons: NotRequired[list[ButtonFields]]
    media: NotRequired[UploadedMedia]
    isFromBot: bool
    source: str
    status: str
    pending: NotRequired[bool]
    priority: NotRequired[int]
    claim: NotRequired[Claim | None]
    failure: NotRequired[Failure | None]
    sentAt: datetime | None
    at: datetime
    createdAt: datetime
    sentByUserId: NotRequired[str | None]


@dataclass(frozen=True, slots=True)
class AgentMessage:
    """What a person wants to say in a conversation; `media` where X has the attachment already."""

    id: str
    account_id: str
    conversation_id: str
    contact_id: str
    twitter_user_id: str
    type: TemplateType
    content: str
    user_id: str
    options: tuple[QuickReply, ...] = ()
    buttons: tuple[Button, ...] = ()
    attachment: LinkAttachment | None = None
    media: UploadedMedia | None = None
    source: str = "agent"


def _attachments(message: AgentMessage) -> list[Attachment]:
    if message.attachment is None:
        return []
    attachment = Attachment(type=message.attachment.type, url=message.attachment.url)
    if message.media is not None:
        attachment["mediaId"] = message.media["id"]
    return [attachment]


def _in_order(direction: int) -> list[tuple[str, int]]:
    """Return the order in which messages are shown: by X's time, while X has none by our own."""
    return [("at", direction), ("_id", direction)]


class Messages:
    """Direct messages of all conversations."""

    def __init__(self, database: Database) -> None:
        self._collection = database["messages"]

    async def queue(self, merchant_id: str, message: AgentMessage, now: datetime) -> None:
        """Store a person's message for the account's actor to send; nothing happens when it is there already."""
        to = Addressee(
            merchant_id, message.account_id, message.conversation_id, message.contact_id, message.twitter_user_id
        )
        content = content_fields(message.type, message.content, message.options, message.buttons)
        document = queued_message(message.id, to, content, source=message.source, priority=PRIORITY_AGENT, now=now)
        document |= {"attachments": _attachments(message), "sentByUserId": message.user_id, **kept_origin()}
        if message.media is not None:
            document["media"] = message.media
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            # The same request, repeated under its idempotency key after the first was cut off.
            return

    async def withdraw(self, merchant_id: str, message_id: str) -> bool:
        """Remove a message that nobody has begun to send; answers whether it was still there to be removed."""
        result = await self._collection.delete_one(
            {"_id": message_id, "merchantId": merchant_id, "status": "queued", "claim": None}
        )
        return result.deleted_count == 1

    async def get(self, merchant_id: str, message_id: str) -> MessageDocument | None:
        """Return one message of the merchant."""
        query = {"_id": message_id, "merchantId": merchant_id}
        return cast("MessageDocument | None", await self._collection.find_one(query))

    async def page(
        self, merchant_id: str, conversation_id: str, part: Slice, *, newest_first: bool
    ) -> tuple[list[MessageDocument], int]:
        """Return a part of a conversation's messages in the order shown, and how many there are."""
        direction = DESCENDING if newest_first else ASCENDING
        query = {"merchantId": merchant_id, "conversationId": conversation_id}
        documents, total = await find_page(
            self._collection, query, _in_order(direction), part, projection=_WITHOUT_WORDS
        )
        return cast("list[MessageDocument]", documents), total

    async def newest(self, merchant_id: str, conversation_id: str, most: int) -> list[MessageDocument]:
        """Return the newest messages of a conversation, oldest first."""
        query = {"merchantId": merchant_id, "conversationId": conversation_id}
        cursor = self._collection.find(query, _WITHOUT_WORDS).sort(_in_order(DESCENDING)).limit(most)
        documents = cast("list[MessageDocument]", await cursor.to_list(None))
        documents.reverse()
        return documents
