"""Notes about a conversation, from people of the merchant to each other: nothing here is ever sent to X."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from storage.client import Database, Document, Session, session_of
from storage.paging import Slice, find_page

_OLDEST_FIRST = [("_id", ASCENDING)]


class NoteDocument(TypedDict):
    """What somebody noted about a conversation."""

    _id: str
    merchantId: str
    conversationId: str
    contactId: str
    authorUserId: str
    text: str
    createdAt: datetime
    updatedAt: datetime


class Notes:
    """The notes of all conversations; `noteCount` of a conversation says how many it has."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._notes = database["conversationNotes"]
        self._conversations = database["conversations"]

    async def add(
        self, merchant_id: str, conversation_id: str, note_id: str, user_id: str, text: str, now: datetime
    ) -> NoteDocument | None:
        """Store a note and return it; nothing where the merchant has no such conversation.

        One with this very id is there already where a request is repeated.
        """

        async def work(session: Session) -> Document | None:
            # Written to, so that no note is left of a contact that is erased, or is merged, at this moment.
            conversation = await self._count(session, merchant_id, conversation_id, 1)
            if conversation is None:
                return None
            note: Document = {
                "_id": note_id,
                "merchantId": merchant_id,
                "conversationId": conversation_id,
                "contactId": conversation["contactId"],
                "authorUserId": user_id,
                "text": text,
                "createdAt": now,
                "updatedAt": now,
            }
            await self._notes.insert_one(note, session=session)
            return note

        try:
            async with session_of(self._database.client) as session:
                return cast("NoteDocument | None", await session.with_transaction(work))
        except DuplicateKeyError:
            return await self.get(merchant_id, conversation_id, note_id)

    async def page(self, merchant_id: str, conversation_id: str, part: Slice) -> tuple[list[NoteDocument], int]:
        """Return a part of a conversation's notes, oldest first, and how many there are."""
        query = {"merchantId": merchant_id, "conversationId": conversation_id}
        documents, total = await find_page(self._notes, query, _OLDEST_FIRST, part)
        return cast("list[NoteDocument]", documents), total

    async def get(self, merchant_id: str, conversation_id: str, note_id: str) -> NoteDocument | None:
        """Return one note of a conversation."""
        return cast("NoteDocument | None", await self._notes.find_one(_one(merchant_id, conversation_id, note_id)))

    async def change(
        self, merchant_id: str, conversation_id: str, note_id: str, text: str, now: datetime
    ) -> NoteDocument | None:
        """Replace the text of a note and return it; nothing where it is gone."""
        changed = await self._notes.find_one_and_update(
            _one(merchant_id, conversation_id, note_id),
            {"$set": {"text": text, "updatedAt": now}},
            return_document=ReturnDocument.AFTER,
        )
        return cast("NoteDocument | None", changed)

    async def remove(self, merchant_id: str, conversation_id: str, note_id: str) -> bool:
        """Delete a note; answers whether it was there."""

        async def work(session: Session) -> bool:
            result = await self._notes.delete_one(_one(merchant_id, conversation_id, note_id), session=session)
            if result.deleted_count:
                await self._count(session, merchant_id, conversation_id, -1)
            return result.deleted_count == 1

        async with session_of(self._database.client) as session:
            return await session.with_transaction(work)

    async def _count(self, session: Session, merchant_id: str, conversation_id: str, more: int) -> Document | None:
        return await self._conversations.find_one_and_update(
            {"_id": conversation_id, "merchantId": merchant_id},
            {"$inc": {"noteCount": more}},
            {"contactId": 1},
            session=session,
        )


def _one(merchant_id: str, conversation_id: str, note_id: str) -> dict[str, object]:
    return {"_id": note_id, "merchantId": merchant_id, "conversationId": conversation_id}
