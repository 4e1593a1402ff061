"""Outbound messages on their way to X: claimed before they are sent, confirmed once X has them.

    queued ──claim──▶ sending ──confirm──▶ sent
      ▲                 │ │
      └────release──────┘ └──doubt──▶ unknown ──confirm──▶ sent
                        └─────fail────────┴──fail──▶ failed

Every move is conditional on the state it starts from, so a move that comes twice, or too late, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.ingestion import Draft, count_sent
from domain.message_state import Failure
from storage.client import Client, Database, Document, Session, session_of
from storage.message_counts import additions

_UNCONFIRMED = ["sending", "unknown"]
#: Evidence by the text alone, which gives way to an answer of X.
_WEAKER = frozenset({"echo", "lookup"})


async def mark_sent_in(
    database: Database, session: Session, message_id: str, x_id: str, at: datetime, *, settled_by: str
) -> Document | None:
    """Within a transaction: X has the message, which counts for its month. Returns it as it was, None if it was known.

    What it means for contact and conversation is the caller's to write, in the same transaction.
    """
    message = await database["messages"].find_one_and_update(
        {"_id": message_id, "status": {"$in": _UNCONFIRMED}},
        {
            "$set": {"status": "sent", "twitterMessageId": x_id, "sentAt": at, "at": at, "settledBy": settled_by},
            "$unset": {"pending": "", "claim": ""},
        },
        session=session,
    )
    if message is not None:
        counts = additions([{**message, "at": at}], f"sent{message_id[-1]}")
        await database["messageCounts"].bulk_write(counts, ordered=False, session=session)
    return message


async def confirm_in(
    database: Database, session: Session, message_id: str, x_id: str, at: datetime, *, settled_by: str
) -> bool:
    """Within a transaction: X has the message. Returns whether it was news.

    The contact's counter, the conversation's response time and the message change together, once.
    """
    message = await mark_sent_in(database, session, message_id, x_id, at, settled_by=settled_by)
    if message is None:
        return False
    contact = Draft({"_id": message["contactId"]}, is_new=False)
    stored = await database["conversations"].find_one({"_id": message["conversationId"]}, session=session)
    conversation = Draft(stored, is_new=False) if stored is not None else None
    count_sent(contact, conversation, at)
    if conversation is not None:
        update: Document = {"$inc": conversation.increments}
        if conversation.changes:
            update["$set"] = conversation.changes
        await database["conversations"].update_one({"_id": message["conversationId"]}, update, session=session)
    await database["contacts"].update_one(
        {"_id": contact.document["_id"]}, {"$inc": contact.increments}, session=session
    )
    return True


async def _take_back_in(database: Database, session: Session, message_id: str, x_id: str) -> None:
    """Within a transaction: take X's id, and what was counted with it, from the message that has it on weaker evidence.

    What was kept of response times stays: the customer has been answered at that moment, by one message or the other.
    """
    messages = database["messages"]
    own = await messages.find_one({"_id": message_id}, {"accountId": 1}, session=session)
    if own is None:
        return
    query = {"accountId": own["accountId"], "twitterMessageId": x_id, "_id": {"$ne": message_id}}
    other = await messages.find_one(query, session=session)
    if other is None or not (other["source"] == "native" or other.get("settledBy") in _WEAKER):
        return
    if other["source"] == "native":
        await messages.delete_one({"_id": other["_id"]}, session=session)
    else:
        doubt: Document = {"status": "unknown", "pending": True, "twitterMessageId": None, "sentAt": None}
        doubt |= {"at": other["createdAt"], "claim": {"at": other["createdAt"]}}
        await messages.update_one({"_id": other["_id"]}, {"$set": doubt, "$unset": {"settledBy": ""}}, session=session)
    for name, key, counter in (
        ("contacts", "contactId", "messagesSent"),
        ("conversations", "conversationId", "messageCount"),
    ):
        await database[name].update_one({"_id": other[key]}, {"$inc": {counter: -1}}, session=session)
    await database["messageCounts"].bulk_write(additions([other], "taken-back", -1), ordered=False, session=session)


class Outbox:
    """Moves outbound messages through their states."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._messages = database["messages"]

    async def get(self, message_id: str) -> Document | None:
        """Return a message, for the actor of its account."""
        return await self._messages.find_one({"_id": message_id})

    async def pending(self, account_id: str) -> list[Document]:
        """Return all that is not sent or failed yet, most urgent first."""
        query = {"accountId": account_id, "pending": True}
        return await self._messages.find(query).sort([("priority", 1), ("createdAt", 1)]).to_list()

    async def accounts_with_pending(self) -> list[str]:
        """Return the ids of all accounts that have messages under way."""
        return [str(account_id) for account_id in await self._messages.distinct("accountId", {"pending": True})]

    async def claim(self, message_id: str, epoch: int, now: datetime) -> Document | None:
        """Take a queued message for sending; None when it is not queued any more."""
        return await self._messages.find_one_and_update(
            {"_id": message_id, "status": "queued"},
            {"$set": {"status": "sending", "claim": {"epoch": epoch, "at": now}}, "$inc": {"attempts": 1}},
            return_document=ReturnDocument.AFTER,
        )

    async def confirm(self, message_id: str, x_id: str, at: datetime, *, settled_by: str) -> bool:
        """X has the message under this id.

        An echo or a look into X's list may have given the id to another message with the same text, whose outcome was
        not known; or X shows the text so changed that its echo was taken for a message from X's own app. What X
        answered is better evidence: the one goes back to `unknown`, the other is this message and is removed.

        Raises:
            DuplicateKeyError: when X gave the id to another message too, or this one was found by a look and another
                message has it meanwhile.
        """

        async def work(session: Session) -> bool:
            return await confirm_in(self._database, session, message_id, x_id, at, settled_by=settled_by)

        async def correct(session: Session) -> bool:
            await _take_back_in(self._database, session, message_id, x_id)
            return await work(session)

        async with session_of(self._client) as session:
            try:
                return await session.with_transaction(work)
            except DuplicateKeyError:
                if settled_by != "answer":
                    raise
                return await session.with_transaction(correct)

    async def release(self, message_id: str) -> None:
        """X certainly does not have it: it may be sent again."""
        await self._messages.update_one(
            {"_id": message_id, "status": "sending"}, {"$set": {"status": "queued"}, "$unset": {"claim": ""}}
        )

    async def doubt(self, message_ids: Sequence[str]) -> None:
        """Nobody knows whether X has them."""
        await self._messages.update_many(
            {"_id": {"$in": list(message_ids)}, "status": "sending"}, {"$set": {"status": "unknown"}}
        )

    async def fail(self, message_id: str, failure: Failure) -> bool:
        """It will not be sent. Returns whether it was still under way."""
        result = await self._messages.update_one(
            {"_id": message_id, "pending": True},
            {
                "$set": {
                    "status": "failed",
                    "failure": {"reason": failure.reason, "code": failure.code, "text": failure.text},
                },
                "$unset": {"pending": "", "claim": ""},
            },
        )
        return result.modified_count == 1

    async def sender(self, account_id: str) -> Document | None:
        """Return what the account's actor needs of the account: merchantId, twitterUserId, connected, status."""
        fields = {"merchantId": 1, "twitterUserId": 1, "connected": 1, "status": 1}
        return await self._database["accounts"].find_one({"_id": account_id}, fields)

    async def attached(self, account_id: str, x_ids: Sequence[str]) -> set[str]:
        """Return which of these messages of X belong to a message of ours already."""
        query = {"accountId": account_id, "twitterMessageId": {"$in": list(x_ids), "$type": "string"}}
        return {str(m["twitterMessageId"]) async for m in self._messages.find(query, {"twitterMessageId": 1})}
