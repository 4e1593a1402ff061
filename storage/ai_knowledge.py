"""What a merchant's chatbot knows: snippets, found by their words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.dialogue_knowledge import MOST_SNIPPETS, Hit, asked_terms, best, terms_of
from domain.dialogue_prompt import Snippet
from domain.errors import Conflict
from storage.client import Database, Document, aggregated
from storage.paging import Slice, find_page

_NEWEST_FIRST = [("_id", DESCENDING)]


class SnippetDocument(TypedDict):
    """A piece of knowledge; `titleTerms` and `terms` are what it is found by."""

    _id: str
    merchantId: str
    title: str
    text: str
    titleTerms: list[str]
    terms: list[str]
    createdAt: datetime
    updatedAt: datetime


class AiKnowledge:
    """The snippets of all merchants."""

    def __init__(self, database: Database) -> None:
        self._collection = database["aiKnowledge"]

    async def page(self, merchant_id: str, part: Slice) -> tuple[list[SnippetDocument], int]:
        """Return a part of the snippets, newest first, and how many there are."""
        documents, total = await find_page(self._collection, {"merchantId": merchant_id}, _NEWEST_FIRST, part)
        return cast("list[SnippetDocument]", documents), total

    async def get(self, merchant_id: str, snippet_id: str) -> SnippetDocument | None:
        """Return one snippet of the merchant."""
        found = await self._collection.find_one({"_id": snippet_id, "merchantId": merchant_id})
        return cast("SnippetDocument | None", found)

    async def add(self, merchant_id: str, snippet_id: str, title: str, text: str, now: datetime) -> SnippetDocument:
        """Store a snippet and return it; one with this very id is there already where a request is repeated.

        Raises:
            Conflict: when the merchant has as many as there may be.
        """
        document: Document = {
            "_id": snippet_id,
            "merchantId": merchant_id,
            "createdAt": now,
            **_fields(title, text, now),
        }
        others = {"merchantId": merchant_id, "_id": {"$ne": snippet_id}}
        if await self._collection.count_documents(others, limit=MOST_SNIPPETS) >= MOST_SNIPPETS:
            raise Conflict(f"There are {MOST_SNIPPETS} snippets already")
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            same = await self.get(merchant_id, snippet_id)
            if same is None:
                raise
            return same
        return cast("SnippetDocument", document)

    async def change(
        self, merchant_id: str, snippet_id: str, title: str, text: str, now: datetime
    ) -> SnippetDocument | None:
        """Replace what a snippet says and return it; nothing where it is gone."""
        changed = await self._collection.find_one_and_update(
            {"_id": snippet_id, "merchantId": merchant_id},
            {"$set": _fields(title, text, now)},
            return_document=ReturnDocument.AFTER,
        )
        return cast("SnippetDocument | None", changed)

    async def remove(self, merchant_id: str, snippet_id: str) -> bool:
        """Delete a snippet; answers whether the merchant had it."""
        result = await self._collection.delete_one({"_id": snippet_id, "merchantId": merchant_id})
        return result.deleted_count == 1

    async def find(self, merchant_id: str, texts: Sequence[str], take: int) -> list[Snippet]:
        """Return the merchant's snippets that fit best what a customer has said, the best first."""
        terms = asked_terms(texts)
        if not terms:
            return []
        ids = best(await self._hits(merchant_id, terms), take)
        found = self._collection.find({"_id": {"$in": ids}, "merchantId": merchant_id}, {"title": 1, "text": 1})
        snippets = {each["_id"]: Snippet(each["title"], each["text"]) async for each in found}
        return [snippets[each] for each in ids if each in snippets]

    async def _hits(self, merchant_id: str, terms: list[str]) -> list[Hit]:
        """Return which of the merchant's snippets have which of the terms.

        The database's own measure does not tell a rare word from a common one, so all that have any are looked at.
        """

        def of(field: str) -> dict[str, object]:
            return {"$setIntersection": [f"${field}", {"$literal": terms}]}

        # Terms hold letters and digits alone: none is read as an order to the search (`-word`, `"phrase"`).
        matching = {"merchantId": merchant_id, "$text": {"$search": " ".join(terms)}}
        pipeline: list[Document] = [
            {"$match": matching},
            {"$limit": MOST_SNIPPETS},
            {"$project": {"inTitle": of("titleTerms"), "inText": of("terms")}},
        ]
        return [
            Hit(each["_id"], frozenset(each["inTitle"]), frozenset(each["inText"]))
            for each in await aggregated(self._collection, pipeline)
        ]


def _fields(title: str, text: str, now: datetime) -> dict[str, object]:
    return {
        "title": title,
        "text": text,
        "titleTerms": terms_of(title),
        "terms": terms_of(text),
        "updatedAt": now,
    }
