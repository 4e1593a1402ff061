from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NotRequired, TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.contact_fields import MOST_ATTRIBUTES, MOST_TAGS, AttributeValue
from domain.contact_names import query_words, search_terms
from domain.errors import Conflict, InvalidContent, Problem
from storage.client import Database, Document
from storage.indexes import HAS_TAGS
from storage.paging import Slice, find_page

# Ids grow with time. An order by the last interaction would cost every message the rewriting of index entries.
_NEWEST_FIRST = [("_id", DESCENDING)]
# The last code point there is: ends the range of texts that begin with a prefix.
_LAST = "\U0010ffff"
#: How often a change is tried that others get in the way of.
_ATTEMPTS = 20


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
    displayNameEdited: NotRequired[bool]
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


@dataclass(frozen=True, slots=True)
class NewContact:
    """A contact that the merchant makes known; names that are not given are made of the X user id.

    A display name that is given is the merchant's: what X says does not overwrite it.
    """

    id: str
    account_id: str
    twitter_user_id: str
    source: str
    username: str | None = None
    display_name: str | None = None
    tags: Sequence[str] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    consent: Consent = field(default_factory=lambda: Consent(state="none", at=None, source=None))


@dataclass(frozen=True, slots=True)
class ContactChange:
    """What is to change in a contact: a name by hand, attributes set and removed, tags added."""

    display_name: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    removed_attributes: frozenset[str] = frozenset()
    added_tags: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to change."""
        return not (self.display_name or self.attributes or self.removed_attributes or self.added_tags)


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

    async def add(self, merchant_id: str, new: NewContact, now: datetime) -> ContactDocument:
        """Store a new contact and return it; one with this very id is there already where a request is repeated.

        The moment it was made known stands for its interactions until there is one: events only move the later one on.

        Raises:
            Conflict: when the account knows the user.
        """
        document = _document(merchant_id, new, now)
        try:
            await self._collection.insert_one(dict(document))
        except DuplicateKeyError:
            same = await self.get(merchant_id, new.id)
            if same is None:
                raise Conflict("The account knows this user already") from None
            return same
        return document

    async def by_twitter_user(self, merchant_id: str, account_id: str, twitter_user_id: str) -> str | None:
        """Return the id of the contact that an account knows a user of X by."""
        query = {"accountId": account_id, "twitterUserId": twitter_user_id, "merchantId": merchant_id}
        found = await self._collection.find_one(query, {"_id": 1})
        return None if found is None else cast("str", found["_id"])

    async def change(
        self, merchant_id: str, contact_id: str, change: ContactChange, now: datetime
    ) -> ContactDocument | None:
        """Change a contact in one step and return it; nothing where the merchant has no such contact.

        Raises:
            InvalidContent: when it would have too many attributes or tags.
            Conflict: when others change its name all the time.
        """
        for _ in range(_ATTEMPTS):
            known = await self.get(merchant_id, contact_id)
            if known is None or change.is_empty:
                return known
            query: Document = {"_id": contact_id, "merchantId": merchant_id, **_within_limits(change)}
            changes: Document = {f"attributes.{name}": value for name, value in change.attributes.items()}
            if change.display_name is not None:
                # The terms are made of both names, and the other one is X's to change.
                query["username"] = known["username"]
                changes |= {"displayName": change.display_name, "displayNameEdited": True}
                changes["searchTerms"] = search_terms(known["username"], change.display_name)
            update: Document = {"$set": {**changes, "updatedAt": now}}
            if change.removed_attributes:
                update["$unset"] = {f"attributes.{name}": "" for name in change.removed_attributes}
            if change.added_tags:
                update["$addToSet"] = {"tags": {"$each": list(change.added_tags)}}
            changed = await self._collection.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
            if changed is not None:
                return cast("ContactDocument", changed)
            _refuse_over_limits(await self.get(merchant_id, contact_id), change)
        raise Conflict("The contact is being changed by others", retry_after_s=1)

    async def remove_tag(self, merchant_id: str, contact_id: str, tag: str, now: datetime) -> bool:
        """Take a tag from a contact; answers whether the merchant has such a contact."""
        query = {"_id": contact_id, "merchantId": merchant_id}
        result = await self._collection.update_one(
            {**query, "tags": tag}, {"$pull": {"tags": tag}, "$set": {"updatedAt": now}}
        )
        return result.matched_count == 1 or await self._collection.count_documents(query, limit=1) == 1

    async def set_consent(self, merchant_id: str, contact_id: str, consent: Consent, now: datetime) -> None:
        """Note what a contact agreed to elsewhere; who has opted out stays so."""
        query: Document = {"_id": contact_id, "merchantId": merchant_id, "consent.state": {"$ne": "opted_out"}}
        await self._collection.update_one(query, {"$set": {"consent": consent, "updatedAt": now}})

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


def _document(merchant_id: str, new: NewContact, now: datetime) -> ContactDocument:
    username = new.username or new.twitter_user_id
    display_name = new.display_name or username
    document: ContactDocument = {
        "_id": new.id,
        "merchantId": merchant_id,
        "accountId": new.account_id,
        "twitterUserId": new.twitter_user_id,
        "username": username,
        "displayName": display_name,
        "profileImageUrl": None,
        "searchTerms": search_terms(username, display_name),
        "tags": list(dict.fromkeys(new.tags)),
        "attributes": dict(new.attributes),
        "source": new.source,
        "consent": new.consent,
        "conversationCount": 0,
        "messagesSent": 0,
        "messagesReceived": 0,
        "responseSeconds": 0,
        "responseCount": 0,
        "firstInteractionAt": now,
        "lastInteractionAt": now,
        "createdAt": now,
        "updatedAt": now,
    }
    if new.display_name is not None:
        document["displayNameEdited"] = True
    return document


def _within_limits(change: ContactChange) -> Document:
    """Return the condition that a contact has not too much after the change, to be met in the write itself."""
    conditions: list[Document] = []
    if change.attributes:
        names = {"$map": {"input": {"$objectToArray": {"$ifNull": ["$attributes", {}]}}, "in": "$$this.k"}}
        united = {"$setUnion": [names, {"$literal": list(change.attributes)}]}
        kept = {"$setDifference": [united, {"$literal": list(change.removed_attributes)}]}
        conditions.append({"$lte": [{"$size": kept}, MOST_ATTRIBUTES]})
    if change.added_tags:
        united = {"$setUnion": [{"$ifNull": ["$tags", []]}, {"$literal": list(change.added_tags)}]}
        conditions.append({"$lte": [{"$size": united}, MOST_TAGS]})
    return {"$expr": {"$and": conditions}} if conditions else {}


def _refuse_over_limits(contact: ContactDocument | None, change: ContactChange) -> None:
    if contact is None:
        return
    if len({*contact["attributes"], *change.attributes} - change.removed_attributes) > MOST_ATTRIBUTES:
        reason = f"a contact has at most {MOST_ATTRIBUTES} attributes"
        raise InvalidContent("The contact would have too many attributes", problems=(Problem("attributes", reason),))
    if len({*contact["tags"], *change.added_tags}) > MOST_TAGS:
        reason = f"a contact has at most {MOST_TAGS} tags"
        raise InvalidContent("The contact would have too many tags", problems=(Problem("tags", reason),))
