"""Outbound messages on their way to X: claimed before they are sent, confirmed once X has them.

    queued ──claim──▶ sending ──confirm──▶ sent
      ▲                 │ │
      └────release──────┘ └──doubt──▶ unknown ──confirm──▶ sent
                        └─────fail────────┴──fail──▶ failed

and `queued ──refuse──▶ failed` where the contact has opted out meanwhile.
Every move is conditional on the state it starts from, so a move that comes twice, or too late, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from domain.consent import SUPPRESSING, Suppression
from domain.ids import new_id
from domain.message_state import Failure
from domain.outgoing_content import UploadedMedia
from domain.rollup import Tally
from storage import campaign_outcomes
from storage.client import Client, Database, Document, Session, aggregated, session_of
from storage.confirmations import Confirmation, confirm_in
from storage.flow_events import note_messages_in
from storage.rollups import add_in, shared_part
from storage.together import Together

_DUPLICATE_KEY = 11000
#: Messages that are claimed, or confirmed, in one step.
_MOST_AT_ONCE = 128
#: Evidence by the text alone, which gives way to an answer of X.
_WEAKER = frozenset({"echo", "lookup"})


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
        # No person has answered with it, so it does not silence the chatbot.
        silenced = {"_id": other["conversationId"], "personAnsweredAt": other["at"]}
        unsilenced = {"$unset": {"personAnsweredAt": ""}}
        await database["conversations"].update_one(silenced, unsilenced, session=session)
    else:
        doubt: Document = {"status": "unknown", "pending": True, "twitterMessageId": None, "sentAt": None}
        doubt |= {"at": other["createdAt"], "claim": {"at": other["createdAt"]}}
        await messages.update_one({"_id": other["_id"]}, {"$set": doubt, "$unset": {"settledBy": ""}}, session=session)
    for name, key, counter in (
        ("contacts", "contactId", "messagesSent"),
        ("conversations", "conversationId", "messageCount"),
    ):
        await database[name].update_one({"_id": other[key]}, {"$inc": {counter: -1}}, session=session)
    await _pass_on_in(database, session, other, message_id)
    if "campaign" in other:
        await campaign_outcomes.taken_back_in(database, session, other)


async def _pass_on_in(database: Database, session: Session, other: Document, message_id: str) -> None:
    """Within a transaction: count a message as not sent; where it has answered the customer, the right one has."""
    tally = Tally()
    tally.message(other, -1)
    await add_in(database, session, tally, shared_part(message_id))
    if "answeredAfterS" in other:
        answer = {"answeredAfterS": other["answeredAfterS"]}
        await database["messages"].update_one({"_id": message_id}, {"$set": answer}, session=session)
        await database["messages"].update_one({"_id": other["_id"]}, {"$unset": answer}, session=session)


class Outbox:
    """Moves outbound messages through their states."""

    def __init__(
        self,
        client: Client,
        database: Database,
        *,
        name: str = "outbox",
        of_flows: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make an outbox.

        Args:
            client: of the database.
            database: where messages are.
            name: keeps its counts apart from those of outboxes of other processes.
            of_flows: is told the contact of a flow's message that has got where it goes.
        """
        self._name = name
        self._of_flows = of_flows
        self._client = client
        self._database = database
        self._messages = database["messages"]
        self._receivers = Together(self._receive_all, most=_MOST_AT_ONCE)
        self._claims = Together(self._claim_all, most=_MOST_AT_ONCE)
        self._confirmations = Together(self._confirm_all, most=_MOST_AT_ONCE)

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

    async def receiver(self, message_id: str) -> Document | None:
        """Return what decides whether the contact of a queued message may get it: consent, suppression, campaigns.

        None when it is not queued any more, or the contact is gone.
        """
        return await self._receivers(message_id)

    async def _receive_all(self, message_ids: Sequence[str]) -> list[Document | None]:
        pipeline: list[Document] = [
            {"$match": {"_id": {"$in": list(message_ids)}, "status": "queued"}},
            {"$lookup": {"from": "contacts", "localField": "contactId", "foreignField": "_id", "as": "contact"}},
            {"$unwind": "$contact"},
            {"$project": {"contact.consent": 1, "contact.suppression": 1, "contact.recentCampaigns": 1}},
        ]
        found = {each["_id"]: each["contact"] for each in await aggregated(self._messages, pipeline)}
        return [found.get(message_id) for message_id in message_ids]

    async def refuse(self, message_id: str, reason: str, now: datetime) -> bool:
        """A queued message will not be sent: its contact gets nothing of the kind. Returns whether it was queued."""

        async def work(session: Session) -> Document | None:
            message = await self._messages.find_one_and_update(
                {"_id": message_id, "status": "queued"}, _failed(Failure(reason)), session=session
            )
            if message is None:
                return None
            if "campaign" in message:
                await campaign_outcomes.skipped_in(self._database, session, message, reason, now)
            await note_messages_in(self._database, session, [message], "failed", now, reason)
            return message

        async with session_of(self._client) as session:
            return self._told(await session.with_transaction(work))

    async def claim(self, message_id: str, epoch: int, now: datetime) -> Document | None:
        """Take a queued message for sending; None when it is not queued any more."""
        return await self._claims((message_id, epoch, now))

    async def _claim_all(self, claims: Sequence[tuple[str, int, datetime]]) -> list[Document | None]:
        """Take messages, and see which of them this very step has taken."""
        step = new_id()
        writes = [_claim(*claim, step) for claim in claims]
        if len(writes) == 1:
            (query, update) = writes[0]
            after = ReturnDocument.AFTER
            return [await self._messages.find_one_and_update(query, update, return_document=after)]
        await self._messages.bulk_write([UpdateOne(*write) for write in writes], ordered=False)
        query = {"_id": {"$in": [message_id for message_id, _, _ in claims]}, "claim.step": step}
        taken = {message["_id"]: message for message in await self._messages.find(query).to_list(None)}
        return [taken.pop(message_id, None) for message_id, _, _ in claims]

    async def confirm(self, message_id: str, x_id: str, at: datetime, *, settled_by: str) -> bool:
        """X has the message under this id. Returns whether that was news.

        An echo or a look into X's list may have given the id to another message with the same text, whose outcome was
        not known; or X shows the text so changed that its echo was taken for a message from X's own app. What X
        answered is better evidence: the one goes back to `unknown`, the other is this message and is removed.

        Raises:
            DuplicateKeyError: when X gave the id to another message too, or this one was found by a look and another
                message has it meanwhile.
        """
        return await self._confirmations(Confirmation(message_id, x_id, at, settled_by))

    async def _confirm_all(self, confirmations: Sequence[Confirmation]) -> list[bool | Exception]:
        try:
            news = await self._confirm_in_one_step(confirmations)
        except DuplicateKeyError:
            return [await self._confirm_alone(each) for each in confirmations]
        return [_first(each.message_id, news) for each in confirmations]

    async def _confirm_in_one_step(self, confirmations: Sequence[Confirmation]) -> set[str]:
        async def work(session: Session) -> list[Document]:
            return await confirm_in(self._database, session, confirmations, self._name)

        async with session_of(self._client) as session:
            try:
                news = await session.with_transaction(work)
            except BulkWriteError as error:
                raise _duplicate_in(error) or error from None
        return {message["_id"] for message in news if self._told(message)}

    async def _confirm_alone(self, confirmation: Confirmation) -> bool | Exception:
        """Confirm one message, and take its id from another that has it on weaker evidence."""

        async def correct(session: Session) -> list[Document]:
            await _take_back_in(self._database, session, confirmation.message_id, confirmation.x_id)
            return await confirm_in(self._database, session, [confirmation], self._name)

        try:
            news = await self._confirm_in_one_step([confirmation])
        except DuplicateKeyError as error:
            if confirmation.settled_by != "answer":
                return error
            try:
                async with session_of(self._client) as session:
                    corrected = await session.with_transaction(correct)
                news = {message["_id"] for message in corrected if self._told(message)}
            except BulkWriteError as still:
                return _duplicate_in(still) or still
            except PyMongoError as still:
                return still
        except PyMongoError as error:
            return error
        return confirmation.message_id in news

    async def release(self, message_id: str) -> None:
        """X certainly does not have it: it may be sent again."""
        await self._messages.update_one(
            {"_id": message_id, "status": "sending"}, {"$set": {"status": "queued"}, "$unset": {"claim": ""}}
        )

    async def take_back(self, message_id: str, epoch: int) -> None:
        """Undo a claim of this epoch under which X was not called, if it was written."""
        await self._messages.update_one(
            {"_id": message_id, "status": "sending", "claim.epoch": epoch},
            {"$set": {"status": "queued"}, "$unset": {"claim": ""}, "$inc": {"attempts": -1}},
        )

    async def keep_media(self, message_id: str, media: UploadedMedia) -> None:
        """X has the attachment of a claimed message under this id; the attempts to send it count from here."""
        await self._messages.update_one(
            {"_id": message_id, "status": "sending"},
            {"$set": {"media": media, "attachments.0.mediaId": media["id"], "attempts": 0}},
        )

    async def doubt(self, message_ids: Sequence[str]) -> None:
        """Nobody knows whether X has them."""
        await self._messages.update_many(
            {"_id": {"$in": list(message_ids)}, "status": "sending"}, {"$set": {"status": "unknown"}}
        )

    async def fail(self, message_id: str, failure: Failure, now: datetime) -> bool:
        """It will not be sent. Returns whether it was still under way.

        Where X refuses the contact, nothing automatic is sent to them until they write.
        """

        async def work(session: Session) -> Document | None:
            message = await self._messages.find_one_and_update(
                {"_id": message_id, "pending": True}, _failed(failure), session=session
            )
            if message is None:
                return None
            if "campaign" in message:
                await campaign_outcomes.failed_in(self._database, session, message, failure.reason, now)
            await note_messages_in(self._database, session, [message], "failed", now, failure.reason)
            if failure.reason in SUPPRESSING:
                suppression = Suppression(reason=failure.reason, at=now)
                await self._database["contacts"].update_one(
                    {"_id": message["contactId"]}, {"$set": {"suppression": suppression}}, session=session
                )
            return message

        async with session_of(self._client) as session:
            return self._told(await session.with_transaction(work))

    def _told(self, message: Document | None) -> bool:
        """Tell whose flow goes on with a message; returns whether there is one."""
        if message is not None and "flow" in message:
            self._of_flows(message["contactId"])
        return message is not None

    async def sender(self, account_id: str) -> Document | None:
        """Return the account, for its actor; without its tokens."""
        return await self._database["accounts"].find_one({"_id": account_id}, {"tokens": 0})

    async def attached(self, account_id: str, x_ids: Sequence[str]) -> set[str]:
        """Return which of these messages of X belong to a message of ours already."""
        query = {"accountId": account_id, "twitterMessageId": {"$in": list(x_ids), "$type": "string"}}
        return {str(m["twitterMessageId"]) async for m in self._messages.find(query, {"twitterMessageId": 1})}


def _failed(failure: Failure) -> Document:
    """Return the update that ends a message for good."""
    return {
        "$set": {"status": "failed", "failure": failure.to_document()},
        "$unset": {"pending": "", "claim": ""},
    }


def _claim(message_id: str, epoch: int, now: datetime, step: str) -> tuple[Document, Document]:
    """Return the update that claims a message, with its condition."""
    claim = {"epoch": epoch, "at": now, "step": step}
    change = {"$set": {"status": "sending", "claim": claim}, "$inc": {"attempts": 1}}
    return {"_id": message_id, "status": "queued"}, change


def _first(message_id: str, news: set[str]) -> bool:
    """Return whether a message is news, the first time that it is asked for."""
    if message_id not in news:
        return False
    news.remove(message_id)
    return True


def _duplicate_in(error: BulkWriteError) -> DuplicateKeyError | None:
    """Return what a write by itself would have raised, where one of several met a key that exists."""
    for each in error.details.get("writeErrors", []):
        if each["code"] == _DUPLICATE_KEY:
            return DuplicateKeyError(each["errmsg"], each["code"], each)
    return None
