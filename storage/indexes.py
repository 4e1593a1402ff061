"""Every index, in one place; the collections are described in docs/documents.md.

Each message moves its conversation in the index that the list of conversations is sorted by, and nothing else in any
index: every further index over such a time would be paid for by every message. What is filtered within a small set
(the conversations of one contact) is sorted without one.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel

from storage.client import Database

_DAY_S = 86_400
_DEAD_LETTER_DAYS = 30
#: How long the audit trail goes back.
_AUDIT_DAYS = 400
_LOGIN_ATTEMPT_S = 3_600
_IMPORT_DAYS = 30
#: For how long the key of an erased event is kept: X may deliver the event again.
REDELIVERY = timedelta(days=7)

#: Kept apart: the queries that are to use it name the same condition.
IS_ASSIGNED: dict[str, object] = {"assignedToUserId": {"$gt": ""}}
HAS_TAGS: dict[str, object] = {"tags.0": {"$exists": True}}


def _sorted(*fields: str, by: str) -> IndexModel:
    """Return the index of a list: equal fields first, newest first, the id to make the order total."""
    return IndexModel([*((field, ASCENDING) for field in fields), (by, DESCENDING), ("_id", DESCENDING)])


def _plain(*fields: str) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in fields])


def _unique(*fields: str, where: dict[str, object] | None = None) -> IndexModel:
    keys = [(field, ASCENDING) for field in fields]
    if where is None:
        return IndexModel(keys, unique=True)
    return IndexModel(keys, unique=True, partialFilterExpression=where)


def _expires(field: str, after_s: int = 0) -> IndexModel:
    return IndexModel([(field, ASCENDING)], expireAfterSeconds=after_s)


#: Only what was erased has an entry.
_ERASED = IndexModel(
    [("erasedAt", ASCENDING)],
    expireAfterSeconds=int(REDELIVERY.total_seconds()),
    partialFilterExpression={"erasedAt": {"$type": "date"}},
)

INDEXES: dict[str, list[IndexModel]] = {
    "users": [_unique("email"), _plain("merchantId")],
    "apiKeys": [_unique("prefix"), _plain("merchantId")],
    "audit": [
        _sorted("merchantId", by="at"),
        _sorted("merchantId", "actor.id", by="at"),
        _expires("at", _AUDIT_DAYS * _DAY_S),
    ],
    "refreshTokens": [_plain("family"), _plain("userId"), _expires("expiresAt")],
    "loginAttempts": [_plain("key", "at"), _expires("at", _LOGIN_ATTEMPT_S)],
    "accounts": [
        _unique("twitterUserId", where={"connected": True}),
        _sorted("merchantId", by="connectedAt"),
        _plain("merchantId", "twitterUserId"),
    ],
    "contacts": [
        _unique("accountId", "twitterUserId"),
        _plain("merchantId", "_id"),
        IndexModel(
            [("merchantId", ASCENDING), ("tags", ASCENDING), ("_id", ASCENDING)],
            partialFilterExpression=HAS_TAGS,
        ),
        _plain("merchantId", "searchTerms"),
    ],
    "conversations": [
        _unique("accountId", "contactId", where={"status": "open"}),
        _sorted("merchantId", "status", by="lastMessageAt"),
        IndexModel(
            [("assignedToUserId", ASCENDING), ("lastMessageAt", DESCENDING), ("_id", DESCENDING)],
            partialFilterExpression=IS_ASSIGNED,
        ),
        _plain("accountId"),
        _plain("contactId"),
    ],
    "messages": [
        _unique("accountId", "twitterMessageId", where={"twitterMessageId": {"$type": "string"}}),
        _plain("conversationId", "at", "_id"),
        IndexModel(
            [("accountId", ASCENDING), ("priority", ASCENDING), ("createdAt", ASCENDING)],
            partialFilterExpression={"pending": True},
        ),
        _ERASED,
    ],
    "activities": [_sorted("merchantId", "accountId", by="at"), _sorted("merchantId", "contactId", by="at"), _ERASED],
    "templates": [_unique("merchantId", "name"), _plain("merchantId", "_id")],
    "segments": [_unique("merchantId", "name"), _plain("merchantId", "_id")],
    "contactImports": [_plain("merchantId", "accountId"), _expires("createdAt", _IMPORT_DAYS * _DAY_S)],
    "erasureReceipts": [_plain("merchantId", "subject")],
    "deadLetters": [_expires("at", _DEAD_LETTER_DAYS * _DAY_S)],
    "reminders": [_plain("partition", "dueAt"), _plain("kind", "key", "name")],
    "idempotencyKeys": [_expires("createdAt", _DAY_S)],
}


async def ensure_indexes(database: Database) -> None:
    """Create what is missing; safe to call at every start and by several processes at once."""
    await asyncio.gather(*(database[name].create_indexes(models) for name, models in INDEXES.items()))
