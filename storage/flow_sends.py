"""Messages of flows on their way into the outbox: what they are made of, and the step that queues them.

A message has the id that its visit stands for, and is queued in the transaction that deletes the event by which it was
to be: there is one, whatever is repeated. What becomes of it is told by `storage/flow_events.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from storage.client import Client, Collection, Database, Document, Session, session_of
from storage.conversation_sums import started_in
from storage.templates import TemplateDocument
from storage.together import Together

_MOST_AT_ONCE = 128


class QueueSuperseded(Exception):
    """The event was taken by somebody else, the contact is gone, or a conversation was opened meanwhile."""


class Wanted(NamedTuple):
    """What a message is made of: whom it is for, and which template."""

    contact_id: str
    account_id: str
    merchant_id: str
    template_id: str


@dataclass(frozen=True, slots=True)
class Material:
    """What is there of it; `conversation` is the open one."""

    contact: Document | None
    account: Document | None
    template: TemplateDocument | None
    conversation: Document | None


@dataclass(frozen=True, slots=True)
class FlowMessage:
    """A message that is to be queued, by which event, and the conversation that is opened for it, if one is."""

    event_id: str
    message: Document
    opened: Document | None


class FlowSends:
    """Reads and queues for many executors together; `queued` is told the account of each message."""

    def __init__(self, client: Client, database: Database, queued: Callable[[str], None]) -> None:
        self._client = client
        self._database = database
        self._queued = queued
        self._materials = Together(self._read_all, most=_MOST_AT_ONCE)
        self._messages = Together(self._queue_all, most=_MOST_AT_ONCE)

    async def material(self, wanted: Wanted) -> Material:
        """Return what a message is made of.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        return await self._materials(wanted)

    async def queue(self, message: FlowMessage) -> None:
        """Put a message into the outbox.

        Raises:
            QueueSuperseded: when it is to be looked at anew; nothing is written.
            PyMongoError: when the database failed; nothing is written then, or all of it.
        """
        await self._messages(message)

    async def _read_all(self, wanted: Sequence[Wanted]) -> list[Material]:
        accounts, contacts, templates, conversations = await asyncio.gather(
            _by_id(self._database["accounts"], (each.account_id for each in wanted), {"tokens": 0}),
            _by_id(self._database["contacts"], (each.contact_id for each in wanted)),
            _by_id(self._database["templates"], (each.template_id for each in wanted)),
            self._open_ones(wanted),
        )
        found: list[Material] = []
        for each in wanted:
            template = templates.get(each.template_id)
            if template is not None and template["merchantId"] != each.merchant_id:
                template = None
            found.append(
                Material(
                    contacts.get(each.contact_id),
                    accounts.get(each.account_id),
                    cast("TemplateDocument | None", template),
                    conversations.get((each.account_id, each.contact_id)),
                )
            )
        return found

    async def _open_ones(self, wanted: Sequence[Wanted]) -> dict[tuple[str, str], Document]:
        query = {
            "accountId": {"$in": sorted({each.account_id for each in wanted})},
            "contactId": {"$in": sorted({each.contact_id for each in wanted})},
            "status": "open",
        }
        return {
            (each["accountId"], each["contactId"]): each async for each in self._database["conversations"].find(query)
        }

    async def _queue_all(self, messages: Sequence[FlowMessage]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(messages)
        try:
            await self._queue(messages)
        except (QueueSuperseded, BulkWriteError):
            outcomes = [await self._alone(each) for each in messages]
        queued = [each for each, outcome in zip(messages, outcomes, strict=True) if outcome is None]
        for account_id in sorted({each.message["accountId"] for each in queued}):
            self._queued(account_id)
        return outcomes

    async def _alone(self, message: FlowMessage) -> Exception | None:
        try:
            await self._queue([message])
        except (QueueSuperseded, BulkWriteError):
            return QueueSuperseded()
        except Exception as error:  # noqa: BLE001  # the caller gets it, and deals with it
            return error
        return None

    async def _queue(self, messages: Sequence[FlowMessage]) -> None:
        async def work(session: Session) -> None:
            event_ids = [each.event_id for each in messages]
            deleted = await self._database["flowEvents"].delete_many({"_id": {"$in": event_ids}}, session=session)
            if deleted.deleted_count != len(messages):
                raise QueueSuperseded
            await self._open(session, [each.opened for each in messages if each.opened is not None])
            inserts = [
                UpdateOne({"_id": each.message["_id"]}, {"$setOnInsert": each.message}, upsert=True)
                for each in messages
            ]
            await self._database["messages"].bulk_write(inserts, ordered=False, session=session)

        async with session_of(self._client) as session:
            await session.with_transaction(work)

    async def _open(self, session: Session, conversations: Sequence[Document]) -> None:
        if not conversations:
            return
        inserts = [InsertOne(each) for each in conversations]
        await self._database["conversations"].bulk_write(inserts, ordered=False, session=session)
        counted = await self._database["contacts"].bulk_write(
            [
                UpdateOne(
                    {"_id": each["contactId"], "merchantId": each["merchantId"]}, {"$inc": {"conversationCount": 1}}
                )
                for each in conversations
            ],
            ordered=False,
            session=session,
        )
        if counted.matched_count != len(conversations):
            raise QueueSuperseded
        await started_in(self._database, session, conversations)


async def _by_id(collection: Collection, ids: Iterable[str], shown: Document | None = None) -> dict[str, Document]:
    found = collection.find({"_id": {"$in": sorted(set(ids))}}, shown)
    return {each["_id"]: each async for each in found}
