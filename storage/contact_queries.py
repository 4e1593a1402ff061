"""Lists of contacts as queries of the database, and the indexes that serve them (docs/decisions/0007)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from domain.contact_names import literal_patterns, query_words
from storage.client import Collection, Document
from storage.indexes import CONTACTS_BY_ACCOUNT, CONTACTS_BY_ID, CONTACTS_BY_TAG, CONTACTS_BY_TERM
from storage.paging import Indexes

#: A tag that fewer contacts have is what a list of contacts with several tags goes by.
_RARE = 1_000


@dataclass(frozen=True, slots=True)
class ContactFilter:
    """Which contacts are asked for: all conditions hold, and all tags are there."""

    account_id: str | None = None
    tags: tuple[str, ...] = ()
    search: str | None = None


def contact_query(merchant_id: str, wanted: ContactFilter) -> Document | None:
    """Return the query, or nothing where no contact can match."""
    query: Document = {"merchantId": merchant_id}
    if wanted.account_id is not None:
        query["accountId"] = wanted.account_id
    if wanted.tags:
        query["tags"] = {"$all": list(wanted.tags)}
    if wanted.search is not None:
        asked = query_words(wanted.search)
        if not asked:
            return None
        # One range of the index for each word, exact: what matches is counted without looking at a contact, but where
        # what stands between words is asked for.
        query["$and"] = [
            *({"searchTerms": {"$regex": f"^{re.escape(word)}"}} for word in asked),
            *({"$or": _names_like(pattern)} for pattern in literal_patterns(wanted.search)),
        ]
    return query


def _names_like(pattern: str) -> list[Document]:
    return [{name: {"$regex": pattern, "$options": "i"}} for name in ("username", "displayName")]


def indexes_of(wanted: ContactFilter) -> Indexes:
    """Return the indexes that serve a list of contacts.

    A page of a search has none: names that few have are found by their terms, names that many have among the newest
    contacts, and which it is the database finds out fast.
    """
    if wanted.search is not None:
        return Indexes() if wanted.tags or wanted.account_id else Indexes(total=CONTACTS_BY_TERM)
    if wanted.tags:
        return Indexes(CONTACTS_BY_TAG, CONTACTS_BY_TAG)
    if wanted.account_id is not None:
        return Indexes(CONTACTS_BY_ACCOUNT, CONTACTS_BY_ACCOUNT)
    return Indexes(CONTACTS_BY_ID, CONTACTS_BY_ID)


async def led_by_rarest(contacts: Collection, merchant_id: str, tags: Sequence[str]) -> Document:
    """Return the query for contacts that have all of several tags, read by the one that few have.

    Left to itself the database goes by whichever tag served it last.
    """
    by_tag: list[Document] = [{"merchantId": merchant_id, "tags": tag} for tag in tags]
    counting = (contacts.count_documents(each, hint=CONTACTS_BY_TAG, limit=_RARE) for each in by_tag)
    counts = dict(zip(tags, await asyncio.gather(*counting), strict=True))
    rarest = min(tags, key=counts.__getitem__)
    if counts[rarest] == _RARE:
        return {"tags": {"$all": list(tags)}}
    # Said in this way, the other tags are no ranges of the index.
    return {"tags": rarest, "$nor": [{"tags": {"$ne": tag}} for tag in tags if tag != rarest]}
