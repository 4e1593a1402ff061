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
#: A condition on a tag says so by itself.
HAS_TAGS: dict[str, object] = {"tags": {"$gt": ""}}
IS_UNREAD: dict[str, object] = {"unreadCount": {"$gt": 0}}
CONVERSATIONS_UNREAD = "unread"
#: Messages that can be found by their words: docs/decisions/0006-searching-messages.md.
HAS_WORDS: dict[str, object] = {"words": {"$gt": ""}}
MESSAGES_BY_WORD = "words"
#: Names of the indexes of contacts, for queries that name theirs.
CONTACTS_BY_ID = "merchantId_1__id_1"
CONTACTS_BY_ACCOUNT = "merchantId_1_accountId_1__id_1"
CONTACTS_BY_TAG = "tags"
CONTACTS_BY_TERM = "merchantId_1_searchTerms_1"
CONTACTS_BY_ATTRIBUTE = "attributes"


def _sorted(*fields: str, by: str) -> IndexModel:
    """Return the index of a list: equal fields first, newest first, the id to make the order total."""
    return IndexModel([*((field, ASCENDING) for field in fields), (by, DESCENDING), ("_id", DESCENDING)])


def _plain(*fields: str, name: str | None = None) -> IndexModel:
    keys = [(field, ASCENDING) for field in fields]
    return IndexModel(keys) if name is None else IndexModel(keys, name=name)


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

#: Letters that wait for an account to be connected.
_UNROUTED = IndexModel(
    [("forUserId", ASCENDING), ("eventAt", ASCENDING), ("_id", ASCENDING)],
    partialFilterExpression={"forUserId": {"$exists": True}},
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
    "passwordResets": [_plain("userId"), _expires("expiresAt")],
    "loginAttempts": [_plain("key", "at"), _expires("at", _LOGIN_ATTEMPT_S)],
    "accounts": [
        _unique("twitterUserId", where={"connected": True}),
        _sorted("merchantId", by="connectedAt"),
        _plain("merchantId", "twitterUserId"),
    ],
    "contacts": [
        _unique("accountId", "twitterUserId"),
        _plain("merchantId", "_id", name=CONTACTS_BY_ID),
        _plain("merchantId", "accountId", "_id", name=CONTACTS_BY_ACCOUNT),
        IndexModel(
            [("merchantId", ASCENDING), ("tags", ASCENDING), ("_id", ASCENDING)],
            name=CONTACTS_BY_TAG,
            partialFilterExpression=HAS_TAGS,
        ),
        _plain("merchantId", "searchTerms", name=CONTACTS_BY_TERM),
        # Attributes are any that merchants give: docs/decisions/0007-indexes-of-contacts.md.
        IndexModel([("attributes.$**", ASCENDING)], name=CONTACTS_BY_ATTRIBUTE),
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
        # Who has an entry changes with the first message that nobody has read, and when somebody reads.
        IndexModel(
            [("merchantId", ASCENDING), ("status", ASCENDING), ("accountId", ASCENDING)],
            name=CONVERSATIONS_UNREAD,
            partialFilterExpression=IS_UNREAD,
        ),
        IndexModel(
            [("merchantId", ASCENDING), ("escalated", ASCENDING), ("status", ASCENDING)],
            partialFilterExpression={"escalated": True},
        ),
    ],
    "conversationNotes": [_plain("conversationId", "_id"), _plain("contactId")],
    "messages": [
        _unique("accountId", "twitterMessageId", where={"twitterMessageId": {"$type": "string"}}),
        _plain("conversationId", "at", "_id"),
        IndexModel(
            [("accountId", ASCENDING), ("priority", ASCENDING), ("createdAt", ASCENDING)],
            partialFilterExpression={"pending": True},
        ),
        # What is not searchable yet has no entry: the words are set after a message is stored.
        IndexModel(
            [("merchantId", ASCENDING), ("words", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)],
            name=MESSAGES_BY_WORD,
            partialFilterExpression=HAS_WORDS,
        ),
        _ERASED,
    ],
    "activities": [_sorted("merchantId", "accountId", by="at"), _sorted("merchantId", "contactId", by="at"), _ERASED],
    "templates": [_unique("merchantId", "name"), _plain("merchantId", "_id")],
    "segments": [_unique("merchantId", "name"), _plain("merchantId", "_id")],
    "campaigns": [_plain("merchantId", "_id")],
    "campaignRuns": [_plain("campaignId", "number"), _plain("status")],
    "campaignLanes": [
        _plain("runId"),
        IndexModel([("accountId", ASCENDING)], partialFilterExpression={"status": "active"}),
    ],
    "campaignRecipients": [
        _plain("merchantId", "campaignId", "_id"),
        _plain("contactId"),
        # What an account takes next, and what of a run is still open: who has an outcome is in it no more.
        IndexModel(
            [(name, ASCENDING) for name in ("runId", "status", "accountId", "dueAt", "_id")],
            partialFilterExpression={"open": True},
        ),
    ],
    "campaignCounts": [_plain("campaignId")],
    "trackedLinks": [_plain("recipientId"), _plain("contactId")],
    "contactMerges": [_plain("intoContactId")],
    "contactImports": [_plain("merchantId", "accountId"), _expires("createdAt", _IMPORT_DAYS * _DAY_S)],
    "erasureReceipts": [_plain("merchantId", "subject"), _plain("merchantId", "mergedSubjects")],
    "deadLetters": [_expires("at", _DEAD_LETTER_DAYS * _DAY_S), _UNROUTED],
    "reminders": [_plain("partition", "dueAt"), _plain("kind", "key", "name")],
    "idempotencyKeys": [_expires("createdAt", _DAY_S)],
}


async def ensure_indexes(database: Database) -> None:
    """Create what is missing; safe to call at every start and by several processes at once."""
    await asyncio.gather(*(database[name].create_indexes(models) for name, models in INDEXES.items()))
