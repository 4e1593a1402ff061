from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from pymongo import DESCENDING

from domain.contact_names import query_words
from storage.client import Database, Document
from storage.indexes import HAS_TAGS
from storage.paging import Slice, find_page

# Ids grow with time. An order by the last interaction would cost every message the rewriting of index entries.
_NEWEST_FIRST = [("_id", DESCENDING)]
# The last code point there is: ends the range of texts that begin with a prefix.
_LAST = "\U0010ffff"


class Consent(TypedDict):
    """What the contact agreed to, since when and how that is known."""

    state: str
    at: datetime | None
    source: str | None


class ContactDocument(TypedDict):
    """A person on X, as one account knows them."""

    _id: str
    merchantId: str
    accountId: str
    twitterUserId: str
    username: str | None
    displayName: str | None
    profileImageUrl: str | None
    searchTerms: list[str]
    tags: list[str]
    attributes: dict[str, object]
    source: str
    consent: Consent
    conversationCount: int
    messagesSent: int
    messagesReceived: int
    responseSeconds: float
    responseCount: int
    firstInteractionAt: datetime | None
    lastInteractionAt: datetime | None
    createdAt: datetime
    updatedAt: datetime


class ContactName(TypedDict):
    """What a list of conversations shows of a contact."""

    username: str | None
    displayName: str | None


@dataclass(frozen=True, slots=True)
class ContactFilter:
    """Which contacts are asked for: all conditions hold, and all tags are there."""

    account_id: str | None = None
    tags: tuple[str, ...] = ()
    search: str | None = None


class Contacts:
    """People on X who have to do with a merchant."""

    def __init__(self, database: Database) -> None:
        self._collection = database["contacts"]

    async def page(self, merchant_id: str, wanted: ContactFilter, part: Slice) -> tuple[list[ContactDocument], int]:
        """Return a part of the contacts, newest first, and how many there are."""
        query = _query(merchant_id, wanted)
        if query is None:
            return [], 0
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part)
        return cast("list[ContactDocument]", documents), total

    async def get(self, merchant_id: str, contact_id: str) -> ContactDocument | None:
        """Return one contact of the merchant."""
        query = {"_id": contact_id, "merchantId": merchant_id}
        return cast("ContactDocument | None", await self._collection.find_one(query))

    async def names(self, merchant_id: str, contact_ids: Iterable[str]) -> dict[str, ContactName]:
        """Return the names of several contacts by id."""
        query = {"_id": {"$in": list(contact_ids)}, "merchantId": merchant_id}
        found = self._collection.find(query, {"username": 1, "displayName": 1})
        return {
            document["_id"]: ContactName(username=document.get("username"), displayName=document.get("displayName"))
            async for document in found
        }

    async def count(self, merchant_id: str, account_id: str) -> int:
        """Return how many contacts an account has."""
        return await self._collection.count_documents({"merchantId": merchant_id, "accountId": account_id})


def _query(merchant_id: str, wanted: ContactFilter) -> Document | None:
    """Return the query, or nothing where no contact can match."""
    query: Document = {"merchantId": merchant_id}
    if wanted.account_id is not None:
        query["accountId"] = wanted.account_id
    if wanted.tags:
        query |= HAS_TAGS | {"tags": {"$all": list(wanted.tags)}}
    if wanted.search is not None:
        asked = query_words(wanted.search)
        if not asked:
            return None
        # $elemMatch keeps both bounds on one term: without it two different terms could satisfy one each.
        query["$and"] = [{"searchTerms": {"$elemMatch": {"$gte": word, "$lt": word + _LAST}}} for word in asked]
    return query
