"""Every index, in one place; the collections are described in docs/documents.md.

Each message moves its conversation in the index that the list of conversations is sorted by, and nothing else in any
index: every further index over such a time would be paid for by every message. What is filtered within a small set
(the conversations of one contact) is sorted without one.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel

from storage.client import Database

_DAY_S = 86_400
_DEAD_LETTER_DAYS = 30
#: How long the audit trail goes back.
_AUDIT_DAYS = 400
_LOGIN_ATTEMPT_S = 3_600
_IMPORT_DAYS = 30
#: How long what models have cost can be looked at.
_USAGE_DAYS = 400
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
#: Those of the executions of a flow: all of them, by where they are, and those that are under way by version.
EXECUTIONS_BY_FLOW = "flow"
EXECUTIONS_BY_STATUS = "flowStatus"
EXECUTIONS_RUNNING = "flowRunning"
DELIVERIES_PENDING = "pending"


def _sorted(*fields: str, by: str, name: str | None = None) -> IndexModel:
    """Return the index of a list: equal fields first, newest first, the id to make the order total."""
    keys = [*((field, ASCENDING) for field in fields), (by, DESCENDING), ("_id", DESCENDING)]
    return IndexModel(keys) if name is None else IndexModel(keys, name=name)


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


#: What was sent to webhook endpoints, and those that were deleted, can be looked into for a week.
_WEBHOOK_DAYS = 7

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
        # What the chatbot has not looked at yet: mostly for seconds.
        IndexModel([("botDue", ASCENDING)], partialFilterExpression={"botDue": True}),
    ],
    "aiSessions": [_plain("contactId")],
    "aiKnowledge": [
        _plain("merchantId", "_id"),
        # Terms are folded and cut by us, so that the database has no language to know.
        IndexModel(
            [("merchantId", ASCENDING), ("titleTerms", TEXT), ("terms", TEXT)],
            name="terms",
            weights={"titleTerms": 3, "terms": 1},
            default_language="none",
        ),
    ],
    "aiTools": [_unique("merchantId", "name")],
    "aiUsage": [_expires("day", _USAGE_DAYS * _DAY_S)],
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
    # Parts of days that are to be made one document once the day is over; changed by no message.
    "rollups": [IndexModel([("loose", ASCENDING)], partialFilterExpression={"loose": {"$gt": ""}})],
    "activities": [_sorted("merchantId", "accountId", by="at"), _sorted("merchantId", "contactId", by="at"), _ERASED],
    "templates": [_unique("merchantId", "name"), _plain("merchantId", "_id")],
    "segments": [_unique("merchantId", "name"), _plain("merchantId", "_id")],
    "campaigns": [_plain("merchantId", "_id")],
    "deletedCampaigns": [_plain("merchantId", "_id")],
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
    "flows": [
        _plain("merchantId", "_id"),
        # What each process reads at its start.
        IndexModel([("merchantId", ASCENDING)], name="active", partialFilterExpression={"status": "active"}),
    ],
    "flowVersions": [_plain("merchantId")],
    "flowExecutions": [
        _sorted("merchantId", "flowId", by="startedAt", name=EXECUTIONS_BY_FLOW),
        _sorted("merchantId", "flowId", "status", by="startedAt", name=EXECUTIONS_BY_STATUS),
        # Who is over is in it no more. What it is limited to is in it, too: else every document would be looked at.
        IndexModel(
            [(name, ASCENDING) for name in ("merchantId", "flowId", "status", "version")],
            name=EXECUTIONS_RUNNING,
            partialFilterExpression={"status": "running"},
        ),
        # Whether a contact may go into a flow again.
        _plain("contactId", "flowId", "status"),
        # Whose messages are waited for: asked for the contacts of each batch of events.
        IndexModel([("contactId", ASCENDING)], name="listening", partialFilterExpression={"listening": True}),
    ],
    "flowEvents": [
        _plain("contactId"),
        # Those that are withdrawn when a flow is deactivated and its executions are cancelled.
        IndexModel([("flowId", ASCENDING)], name="starts", partialFilterExpression={"kind": "start"}),
    ],
    "segmentMembers": [_plain("contactId")],
    "flowCounts": [_plain("flowId")],
    "trackedLinks": [_plain("recipientId"), _plain("contactId")],
    "contactMerges": [_plain("intoContactId")],
    "contactImports": [_plain("merchantId", "accountId"), _expires("createdAt", _IMPORT_DAYS * _DAY_S)],
    "erasureReceipts": [
        _plain("merchantId", "subject"),
        _plain("merchantId", "mergedSubjects"),
        _plain("merchantId", "completedAt", "_id"),
    ],
    "deadLetters": [_expires("at", _DEAD_LETTER_DAYS * _DAY_S), _UNROUTED],
    "webhookEndpoints": [
        _unique("merchantId", "place", where={"place": {"$exists": True}}),
        _plain("merchantId", "_id"),
        _expires("deletedAt", _WEBHOOK_DAYS * _DAY_S),
    ],
    "webhookDeliveries": [
        # What is to be sent, and is in it no more once it is over.
        IndexModel(
            [("endpointId", ASCENDING), ("dueAt", ASCENDING), ("_id", ASCENDING)],
            name=DELIVERIES_PENDING,
            partialFilterExpression={"status": "pending"},
        ),
        _plain("endpointId", "status", "_id"),
        IndexModel([("contactId", ASCENDING)], partialFilterExpression={"contactId": {"$exists": True}}),
        _expires("endedAt", _WEBHOOK_DAYS * _DAY_S),
    ],
    "reminders": [_plain("partition", "dueAt"), _plain("kind", "key", "name")],
    "idempotencyKeys": [_expires("createdAt", _DAY_S)],
}


async def ensure_indexes(database: Database) -> None:
    """Create what is missing; safe to call at every start and by several processes at once."""
    await asyncio.gather(*(database[name].create_indexes(models) for name, models in INDEXES.items()))
