"""Finding messages by their words, newest first, within bounds: a search reads so much and so long, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import pymongo
from pymongo import DESCENDING
from pymongo.errors import ExecutionTimeout

from domain.errors import InvalidRequest, Problem
from domain.message_words import Asked
from storage.client import Database, Document
from storage.indexes import MESSAGES_BY_WORD
from storage.messages import MessageDocument
from storage.paging import Slice

#: Messages that a search finds at most: the newest that match. Phrases are looked for among as many.
MOST_FOUND = 1_000
_NEWEST_FIRST = [("at", DESCENDING), ("_id", DESCENDING)]
_LONGEST_S = 2.0
#: Words that more messages have are all equally common.
_MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages are looked at: all conditions hold. `since` is within, `until` is not."""

    account_id: str | None = None
    conversation_id: str | None = None
    contact_id: str | None = None
    direction: Literal["inbound", "outbound"] | None = None
    since: datetime | None = None
    until: datetime | None = None


class MessageSearch:
    """Finds messages that a host has made searchable (`storage/message_words.py`)."""

    def __init__(self, database: Database) -> None:
        self._messages = database["messages"]
        self._conversations = database["conversations"]

    async def page(
        self, merchant_id: str, asked: Asked, wanted: MessageFilter, part: Slice
    ) -> tuple[list[MessageDocument], int]:
        """Return a part of the messages that match, newest first, and how many match, at most `MOST_FOUND`.

        Raises:
            InvalidRequest: when it takes too long to find them.
        """
        take = max(0, min(part.take, MOST_FOUND - part.skip))
        async with _bounded():
            query = await self._query(merchant_id, asked, wanted)
            if asked.phrases:
                ids = [each["_id"] for each in await self._candidates(query, asked)]
                shown = ids[part.skip : part.skip + take]
                return await self._read({"_id": {"$in": shown}, "merchantId": merchant_id}, Slice(0, take)), len(ids)
            documents, total = await asyncio.gather(
                self._read(query, Slice(part.skip, take)), self._messages.count_documents(query, limit=MOST_FOUND)
            )
            return documents, total

    async def conversation_ids(self, merchant_id: str, asked: Asked, wanted: MessageFilter) -> list[str]:
        """Return the conversations of the newest `MOST_FOUND` messages that match.

        Raises:
            InvalidRequest: when it takes too long to find them.
        """
        async with _bounded():
            query = await self._query(merchant_id, asked, wanted)
            found = await self._candidates(query, asked)
        return list(dict.fromkeys(each["conversationId"] for each in found))

    async def _query(self, merchant_id: str, asked: Asked, wanted: MessageFilter) -> Document:
        said = await self._rarest_first(merchant_id, asked.words)
        query: Document = {"merchantId": merchant_id, "words": {"$all": said}}
        if wanted.account_id is not None:
            query["accountId"] = wanted.account_id
        if wanted.direction is not None:
            query["direction"] = wanted.direction
        if wanted.contact_id is not None:
            # A contact's conversations are few, and an index leads from them to their messages.
            of_contact = {"merchantId": merchant_id, "contactId": wanted.contact_id}
            found = self._conversations.find(of_contact, {"_id": 1})
            ids = {conversation["_id"] async for conversation in found}
            if wanted.conversation_id is not None:
                ids &= {wanted.conversation_id}
            query["conversationId"] = {"$in": sorted(ids)}
        elif wanted.conversation_id is not None:
            query["conversationId"] = wanted.conversation_id
        bounds = {"$gte": wanted.since, "$lt": wanted.until}
        at = {operator: moment for operator, moment in bounds.items() if moment is not None}
        if at:
            query["at"] = at
        return query

    async def _rarest_first(self, merchant_id: str, said: Sequence[str]) -> list[str]:
        """Return words in the order of how many messages have them: the database reads those that have the first."""
        if len(said) == 1:
            return list(said)

        async def count(word: str) -> int:
            query = {"merchantId": merchant_id, "words": word}
            return await self._messages.count_documents(query, limit=_MOST_COUNTED, hint=MESSAGES_BY_WORD)

        counts = await asyncio.gather(*(count(word) for word in said))
        return [word for _, word in sorted(zip(counts, said, strict=True))]

    async def _candidates(self, query: Document, asked: Asked) -> list[Document]:
        """Return ids and conversations of the newest messages with all the words, less those without the phrases."""
        fields = ["conversationId", *(["words"] if asked.phrases else [])]
        cursor = self._messages.find(query, dict.fromkeys(fields, 1)).sort(_NEWEST_FIRST).limit(MOST_FOUND)
        found = await cursor.to_list(None)
        return [each for each in found if asked.is_in(each["words"])] if asked.phrases else found

    async def _read(self, query: Document, part: Slice) -> list[MessageDocument]:
        if not part.take:
            return []
        cursor = self._messages.find(query, {"words": 0}).sort(_NEWEST_FIRST).skip(part.skip).limit(part.take)
        return cast("list[MessageDocument]", await cursor.to_list(None))


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Have the server give up what takes too long."""
    try:
        with pymongo.timeout(_LONGEST_S):
            yield
    except ExecutionTimeout:
        reason = "matches too much: add a rarer word, an account, a conversation or a time"
        raise InvalidRequest("The search takes too long", problems=(Problem("q", reason),)) from None
