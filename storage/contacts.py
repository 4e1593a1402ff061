from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NotRequired, TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.consent import Suppression
from domain.consent_history import MOST_FORMER, consent_fields
from domain.contact_fields import MOST_ATTRIBUTES, MOST_TAGS, AttributeValue
from domain.contact_names import search_terms
from domain.errors import Conflict, InvalidContent, Problem
from domain.rollup import Tally
from storage.client import Database, Document, Session, session_of
from storage.contact_queries import ContactFilter, contact_query, indexes_of, led_by_rarest
from storage.indexes import CONTACTS_BY_ACCOUNT
from storage.paging import LargeTotals, Slice, find_page
from storage.rollups import add_in, shared_part

# Ids grow with time. An order by the last interaction would cost every message the rewriting of index entries.
_NEWEST_FIRST = [("_id", DESCENDING)]
#: How often a change is tried that others get in the way of.
_ATTEMPTS = 20


class Consent(TypedDict):
    """What the contact agreed to, since when and how that is known."""

    state: str
    at: datetime | None
    source: str | None


class MergedContact(TypedDict):
    """A contact that another one has taken up, and who it was."""

    contactId: str
    accountId: str
    twitterUserId: str


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
    consentHistory: NotRequired[list[Consent]]
    suppression: NotRequired[Suppression | None]
    conversationCount: int
    messagesSent: int
    messagesReceived: int
    responseSeconds: float
    responseCount: int
    firstInteractionAt: datetime | None
    lastInteractionAt: datetime | None
    merged: NotRequired[list[MergedContact]]
    createdAt: datetime
    updatedAt: datetime


class ContactName(TypedDict):
    """What a list of conversations shows of a contact."""

    username: str | None
    displayName: str | None


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
    """What is to change in a contact: a name by hand, attributes set and removed, tags added, what it agreed to.

    An opt-out is only taken back where that is meant (`takes_back_opt_out`).
    """

    display_name: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    removed_attributes: frozenset[str] = frozenset()
    added_tags: tuple[str, ...] = ()
    consent: Consent | None = None
    takes_back_opt_out: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to change."""
        return not (self.display_name or self.attributes or self.removed_attributes or self.added_tags or self.consent)


class Contacts:
    """People on X who have to do with a merchant."""

    def __init__(self, database: Database) -> None:
        self._collection = database["contacts"]
        self._totals = LargeTotals()

    async def page(self, merchant_id: str, wanted: ContactFilter, part: Slice) -> tuple[list[ContactDocument], int]:
        """Return a part of the contacts, newest first, and how many there are (`LargeTotals` says how true that is)."""
        query = contact_query(merchant_id, wanted)
        if query is None:
            return [], 0
        if len(wanted.tags) > 1:
            query |= await led_by_rarest(self._collection, merchant_id, wanted.tags)
        documents, total = await find_page(
            self._collection, query, _NEWEST_FIRST, part, indexes=indexes_of(wanted), totals=self._totals
        )
        return cast("list[ContactDocument]", documents), total

    async def get(self, merchant_id: str, contact_id: str, session: Session | None = None) -> ContactDocument | None:
        """Return one contact of the merchant."""
        query = {"_id": contact_id, "merchantId": merchant_id}
        return cast("ContactDocument | None", await self._collection.find_one(query, session=session))

    async def add(
        self, merchant_id: str, new: NewContact, now: datetime, session: Session | None = None
    ) -> ContactDocument:
        """Store a new contact and return it; one with this very id is there already where a request is repeated.

        The moment it was made known stands for its interactions until there is one: events only move the later one on.

        Raises:
            Conflict: when the account knows the user.
        """
        document = _document(merchant_id, new, now)
        try:
            if session is not None:
                await self._add_in(session, document)
            else:
                async with session_of(self._collection.database.client) as own:
                    await own.with_transaction(lambda session: self._add_in(session, document))
        except DuplicateKeyError:
            same = await self.get(merchant_id, new.id)
            if same is None:
                raise Conflict("The account knows this user already") from None
            return same
        return document

    async def _add_in(self, session: Session, document: ContactDocument) -> None:
        tally = Tally()
        tally.contact(document)
        await self._collection.insert_one(dict(document), session=session)
        await add_in(self._collection.database, session, tally, shared_part(document["_id"]))

    async def by_twitter_user(self, merchant_id: str, account_id: str, twitter_user_id: str) -> str | None:
        """Return the id of the contact that an account knows a user of X by, that it was merged into if it was."""
        query = {"accountId": account_id, "twitterUserId": twitter_user_id}
        found = await self._collection.find_one(query, {"merchantId": 1, "mergedInto": 1})
        if found is None:
            return None
        if "mergedInto" in found:
            kept = await self.get(merchant_id, found["mergedInto"])
            return None if kept is None else kept["_id"]
        return cast("str", found["_id"]) if found["merchantId"] == merchant_id else None

    async def change(
        self,
        merchant_id: str,
        contact_id: str,
        change: ContactChange,
        now: datetime,
        session: Session | None = None,
    ) -> ContactDocument | None:
        """Change a contact in one step and return it; nothing where the merchant has no such contact.

        Raises:
            InvalidContent: when it would have too many attributes or tags, or take an opt-out back in passing.
            Conflict: when others change its name all the time.
        """
        for _ in range(_ATTEMPTS):
            known = await self.get(merchant_id, contact_id, session)
            if known is None or change.is_empty:
                return known
            query: Document = {"_id": contact_id, "merchantId": merchant_id, **_within_limits(change)}
            changes: Document = {f"attributes.{name}": value for name, value in change.attributes.items()}
            if change.display_name is not None:
                # The terms are made of both names, and the other one is X's to change.
                query["username"] = known["username"]
                changes |= {"displayName": change.display_name, "displayNameEdited": True}
                changes["searchTerms"] = search_terms(known["username"], change.display_name)
            if change.consent is not None and not _is_opted_out_again(known, change):
                _refuse_silent_opt_in(known, change)
                changes |= consent_fields(known, change.consent)
                query["consent"] = known["consent"]
            update: Document = {"$set": {**changes, "updatedAt": now}}
            if change.removed_attributes:
                update["$unset"] = {f"attributes.{name}": "" for name in change.removed_attributes}
            if change.added_tags:
                update["$addToSet"] = {"tags": {"$each": list(change.added_tags)}}
            changed = await self._collection.find_one_and_update(
                query, update, return_document=ReturnDocument.AFTER, session=session
            )
            if changed is not None:
                return cast("ContactDocument", changed)
            _refuse_over_limits(await self.get(merchant_id, contact_id, session), change)
        raise Conflict("The contact is being changed by others", retry_after_s=1)

    async def remove_tag(self, merchant_id: str, contact_id: str, tag: str, now: datetime) -> bool:
        """Take a tag from a contact; answers whether the merchant has such a contact."""
        query = {"_id": contact_id, "merchantId": merchant_id}
        result = await self._collection.update_one(
            {**query, "tags": tag}, {"$pull": {"tags": tag}, "$set": {"updatedAt": now}}
        )
        return result.matched_count == 1 or await self._collection.count_documents(query, limit=1) == 1

    async def set_consent(
        self, merchant_id: str, contact_id: str, consent: Consent, now: datetime, *, takes_back_opt_out: bool = False
    ) -> None:
        """Note what a contact agreed to elsewhere; who has opted out stays so, unless that is to be taken back."""
        query: Document = {"_id": contact_id, "merchantId": merchant_id}
        if not takes_back_opt_out:
            query["consent.state"] = {"$ne": "opted_out"}
        known = {"$cond": [{"$eq": ["$consent.state", "none"]}, [], ["$consent"]]}
        former = {"$concatArrays": [{"$ifNull": ["$consentHistory", []]}, known]}
        history = {"$slice": [former, -MOST_FORMER]}
        changes = {"consent": {"$literal": consent}, "consentHistory": history, "updatedAt": now}
        await self._collection.update_one(query, [{"$set": changes}])

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
        query = {"merchantId": merchant_id, "accountId": account_id}
        return await self._collection.count_documents(query, hint=CONTACTS_BY_ACCOUNT)


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
        "firstInteractionAt": None,
        "lastInteractionAt": None,
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


def _is_opted_out_again(contact: ContactDocument, change: ContactChange) -> bool:
    """Whether a contact that has opted out is to be opted out: since when and how that is known stays."""
    both = contact["consent"]["state"] == "opted_out" and change.consent and change.consent["state"] == "opted_out"
    return bool(both) and not change.takes_back_opt_out


def _refuse_silent_opt_in(contact: ContactDocument, change: ContactChange) -> None:
    if change.consent is None or change.takes_back_opt_out:
        return
    if contact["consent"]["state"] == "opted_out" != change.consent["state"]:
        reason = "is needed: the contact has opted out, and how they agreed again must be said"
        raise InvalidContent("The contact has opted out", problems=(Problem("consentSource", reason),))


def _refuse_over_limits(contact: ContactDocument | None, change: ContactChange) -> None:
    if contact is None:
        return
    if len({*contact["attributes"], *change.attributes} - change.removed_attributes) > MOST_ATTRIBUTES:
        reason = f"a contact has at most {MOST_ATTRIBUTES} attributes"
        raise InvalidContent("The contact would have too many attributes", problems=(Problem("attributes", reason),))
    if len({*contact["tags"], *change.added_tags}) > MOST_TAGS:
        reason = f"a contact has at most {MOST_TAGS} tags"
        raise InvalidContent("The contact would have too many tags", problems=(Problem("tags", reason),))
