"""Makes messages searchable, after they are stored (docs/decisions/0006-searching-messages.md).

The transaction that stores messages, or sees that X has them, leaves a note of their ids: one small document for all
of them. Hosts take the notes and set the messages' words, which is what they are found by. The words are a part of the
message: they go when it is erased, and a message that is gone gets none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pymongo import UpdateOne

from domain.ids import new_id
from domain.message_words import words_of
from domain.partition import LANES
from storage.client import Database, Document, Session

#: Notes that are taken in one step; each holds as many messages as one transaction has written.
_NOTES = 2
#: Messages whose words are set with one write.
_BATCH = 500


async def note_in(database: Database, session: Session, message_ids: Sequence[str]) -> None:
    """Within a transaction: leave a note that these messages are to be made searchable."""
    if message_ids:
        note_id = new_id()
        lane = int(note_id[-1], 16) % LANES
        note = {"_id": f"{lane:02x}-{note_id}", "messageIds": list(message_ids)}
        await database["searchNotes"].insert_one(note, session=session)


class MessageWords:
    """Sets the words of messages that notes were left of."""

    def __init__(self, database: Database) -> None:
        self._messages = database["messages"]
        self._notes = database["searchNotes"]

    async def read(self, lanes: range, start: int) -> list[Document]:
        """Return the oldest notes of the lanes from `start` on, or else of those before it."""
        found = await self._scan(start, lanes.stop)
        if not found and start > lanes.start:
            found = await self._scan(lanes.start, start)
        return found

    async def _scan(self, start: int, stop: int) -> list[Document]:
        query = {"_id": {"$gte": f"{start:02x}-", "$lt": f"{stop:02x}-"}}
        return await self._notes.find(query).sort("_id", 1).limit(_NOTES).to_list(None)

    async def set(self, notes: Sequence[Document]) -> int:
        """Make the messages of some notes searchable and remove the notes; returns how many messages there were.

        Harmless when it is done twice, or by two hosts at once.
        """
        ids = [message_id for note in notes for message_id in note["messageIds"]]
        count = 0
        for start in range(0, len(ids), _BATCH):
            query: Document = {"_id": {"$in": ids[start : start + _BATCH]}, "words": {"$exists": False}}
            found = await self._messages.find(query, {"content": 1}).to_list(None)
            # Long texts take milliseconds each: what else the host does goes on meanwhile.
            updates = await asyncio.to_thread(_updates, found)
            if updates:
                await self._messages.bulk_write(updates, ordered=False)
            count += len(updates)
        await self._notes.delete_many({"_id": {"$in": [note["_id"] for note in notes]}})
        return count


def _updates(messages: Sequence[Document]) -> list[UpdateOne]:
    return [
        UpdateOne({"_id": message["_id"]}, {"$set": {"words": list(said)}})
        for message in messages
        if (said := words_of(message.get("content") or ""))
    ]
