"""Examples of the API description: requests as the API document has them, answers made from their schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.openapi_schemas import Node, Schemas

ID = "0198f0a2-7c3e-7b1a-9d55-1f0c6a3b2e11"
TIME = "2026-01-18T10:00:00Z"

_SEND_NODE: Node = {"id": "node-1", "type": "send_message", "config": {"templateId": ID, "delay": 0}}
_WAIT_NODE: Node = {"id": "node-2", "type": "wait", "config": {"duration": 86400}}
_NODES = [_SEND_NODE, _WAIT_NODE, {**_SEND_NODE, "id": "node-3"}]
_CONNECTIONS = [{"fromNodeId": "node-1", "toNodeId": "node-2"}, {"fromNodeId": "node-2", "toNodeId": "node-3"}]
_BUSINESS_HOURS: Node = {
    "enabled": True,
    "timezone": "Asia/Ho_Chi_Minh",
    "schedule": {"monday": {"start": "09:00", "end": "18:00"}, "tuesday": {"start": "09:00", "end": "18:00"}},
}
_ATTRIBUTES: Node = {"purchaseCount": 5, "totalSpent": 1250000, "lastPurchaseDate": "2026-01-15"}
_CONDITIONS: list[Node] = [
    {"field": "tags", "operator": "contains", "value": "vip"},
    {"field": "attributes.purchaseCount", "operator": "greaterThan", "value": 5},
    {"field": "lastInteractionAt", "operator": "after", "value": "2026-01-01T00:00:00Z"},
]
_WELCOME = (
    "Hi {{name}}, welcome to {{shop_name}}! Use code {{discount_code}} for 10% off your first order."  # Liquid's braces
)

#: A body of each operation that has one, by method and path below the base path. An operation that is not here is
#: shown with its model's own example, or one made from the schema.
REQUESTS: Mapping[tuple[str, str], Node] = {
    ("POST", "/api/v1/auth/login"): {"email": "user@example.com", "password": "password"},
    ("POST", "/api/v1/auth/refresh"): {"refreshToken": "refresh..."},
    ("POST", "/api/v1/auth/logout"): {"refreshToken": "refresh..."},
    ("PUT", "/api/v1/auth/password"): {"oldPassword": "password", "newPassword": "correct horse battery"},
    ("POST", "/api/v1/auth/password/reset"): {"token": "reset...", "newPassword": "correct horse battery"},
    ("POST", "/accounts"): {
        "oauthToken": "oauth_token_from_twitter",
        "oauthTokenSecret": "oauth_token_secret_from_twitter",
    },
    ("PUT", "/accounts/{accountId}"): {
        "autoReplyEnabled": True,
        "businessHours": _BUSINESS_HOURS,
    },
    ("POST", "/users"): {"email": "ann@example.com", "name": "Ann", "roles": ["agent"]},
    ("PUT", "/users/{userId}"): {"name": "Ann", "roles": ["agent"]},
    ("POST", "/api-keys"): {"name": "Order system", "roles": ["agent"], "expiresAt": None},
    ("POST", "/contacts"): {
        "accountId": ID,
        "twitterUserId": "987654321",
        "username": "customer_john",
        "displayName": "John Doe",
        "tags": ["vip", "customer"],
        "attributes": {"purchaseCount": 5},
        "consent": "opted_in",
    },
    ("PUT", "/contacts/{contactId}"): {
        "displayName": "John Doe (VIP)",
        "attributes": {"preferredLanguage": "en", "notes": "Premium customer"},
    },
    ("POST", "/contacts/{contactId}/tags"): {"tags": ["vip", "premium"]},
    ("POST", "/contacts/{contactId}/merge"): {"contactId": ID},
    ("PUT", "/contacts/{contactId}/attributes"): {
        "attributes": {
            "purchaseCount": 6,
            "totalSpent": 1500000,
            "lastPurchaseDate": "2026-01-18",
            "membershipTier": "gold",
        }
    },
    ("POST", "/conversations/{conversationId}/messages"): {
        "content": "Your order #12345 has been shipped!",
        "type": "text",
        "attachments": [{"type": "image", "url": "https://example.com/tracking.png"}],
    },
    ("PUT", "/conversations/{conversationId}/close"): {"reason": "resolved"},
    ("POST", "/conversations/{conversationId}/assign"): {"userId": ID},
    ("POST", "/templates"): {
        "name": "Welcome Message",
        "type": "text",
        "content": _WELCOME,
        "variables": ["name", "shop_name", "discount_code"],
    },
    ("PUT", "/templates/{templateId}"): {"name": "Updated Welcome Message", "content": "Hello {{name}}!"},
    ("POST", "/templates/{templateId}/preview"): {
        "variables": {"name": "John", "shop_name": "GoodGo Shop", "discount_code": "WELCOME10"}
    },
    ("POST", "/campaigns"): {
        "name": "January Promotion",
        "type": "promotional",
        "templateId": ID,
        "segmentIds": [ID],
        "schedule": {"startAt": "2026-01-20T10:00:00Z", "endAt": None, "recurrence": None},
    },
    ("PUT", "/campaigns/{campaignId}"): {
        "name": "Updated Campaign Name",
        "schedule": {"startAt": "2026-01-21T10:00:00Z"},
    },
    ("POST", "/campaigns/{campaignId}/test"): {"contactIds": [ID], "variables": {"discount_code": "TEST10"}},
    ("POST", "/segments"): {"name": "VIP Customers", "conditions": _CONDITIONS},
    ("PUT", "/segments/{segmentId}"): {"name": "Updated VIP Customers", "conditions": _CONDITIONS[:1]},
    ("POST", "/automation/flows"): {
        "name": "Welcome Flow",
        "trigger": {"type": "new_follower", "config": {}},
        "nodes": _NODES,
        "connections": _CONNECTIONS,
    },
    ("PUT", "/automation/flows/{flowId}"): {
        "name": "Updated Welcome Flow",
        "nodes": _NODES,
        "connections": _CONNECTIONS,
    },
    ("POST", "/ai/conversations/{conversationId}/message"): {"message": "What's the status of my order #12345?"},
    ("POST", "/ai/conversations/{conversationId}/escalate"): {"reason": "complex_query"},
    ("PUT", "/ai/settings"): {
        "enabled": True,
        "model": "gpt-4",
        "temperature": 0.7,
        "maxTokens": 500,
        "autoEscalationThreshold": 0.6,
        "systemPrompt": "You are a helpful customer service assistant for GoodGo Shop...",
    },
}

#: What a field of text looks like, by its name.
_TEXTS: Mapping[str, str] = {
    "accessToken": "eyJhbGci...",
    "refreshToken": "refresh...",
    "twitterUserId": "987654321",
    "twitterMessageId": "123456789",
    "webhookId": "1957142280",
    "username": "customer_john",
    "displayName": "John Doe",
    "email": "ann@example.com",
    "profileImageUrl": "https://pbs.twimg.com/profile_images/1/photo.jpg",
    "url": "https://example.com/tracking.png",
    "averageResponseTime": "5m 30s",
    "timezone": "Asia/Ho_Chi_Minh",
    "channel": "direct_message",
    "content": "Your order #12345 has been shipped!",
    "source": "inbound_message",
    "state": "inbound",
    "status": "active",
    "type": "text",
    "reason": "resolved",
    "closeReason": "resolved",
    "tags": "vip",
    "roles": "agent",
    "id": ID,
}
#: What the fields of a model look like where their names alone don't tell; those that are not there are left out.
FIELDS: Mapping[str, Node] = {
    "AccountAnswer": {
        "statusReason": None,
        "disconnectedAt": None,
        "businessHours": _BUSINESS_HOURS,
        "stopWords": None,
        "startWords": None,
        "optOutConfirmation": None,
        "quietHours": {"start": "21:00", "end": "08:00", "timezone": "Asia/Ho_Chi_Minh"},
    },
    "AccountDetails": {
        "statusReason": None,
        "disconnectedAt": None,
        "businessHours": _BUSINESS_HOURS,
        "stopWords": None,
        "startWords": None,
        "optOutConfirmation": None,
        "quietHours": {"start": "21:00", "end": "08:00", "timezone": "Asia/Ho_Chi_Minh"},
    },
    "AccountStatistics": {"totalContacts": 1234, "totalConversations": 567, "messagesThisMonth": 890},
    "AuditEntryAnswer": {"action": "PUT /contacts/{contactId}", "address": "203.0.113.7", "status": 200},
    "CampaignAnswer": {
        "name": "January Promotion",
        "statusReason": None,
        "accountId": None,
        "segmentIds": [ID],
        "variables": {"discount_code": "WELCOME10"},
        "variants": [],
        "runId": None,
        "nextRunAt": None,
        "startedAt": None,
        "completedAt": None,
    },
    "ContactAnswer": {
        "tags": ["vip", "customer"],
        "attributes": _ATTRIBUTES,
        "conversationCount": 3,
        "suppression": None,
    },
    "ContactDetails": {
        "tags": ["vip", "customer"],
        "attributes": _ATTRIBUTES,
        "conversationCount": 3,
        "suppression": None,
    },
    "ConsentAnswer": {"source": "message"},
    "ConversationAnswer": {"messageCount": 12, "closedAt": None, "closeReason": None},
    "ConversationDetails": {"messageCount": 12, "closedAt": None, "closeReason": None},
    "Engagement": {"messagesSent": 15, "messagesReceived": 18},
    "ImportAnswer": {"total": 1, "completedAt": None, "results": []},
    "InvitedUser": {"name": "Ann", "initialPassword": "shown-this-once"},
    "LimitWindow": {"name": "messages24h", "limit": 500, "used": 5, "remaining": 495},
    "MessageAnswer": {
        "direction": "outbound",
        "source": "agent",
        "status": "sent",
        "attachments": [{"type": "image", "url": "https://example.com/tracking.png", "mediaId": "123456789"}],
        "options": [],
        "buttons": [],
        "failure": None,
    },
    "NoteAnswer": {"text": "Wants a refund by Friday."},
    "ProgressAnswer": {"ratePerMinute": None, "estimatedCompletionAt": None},
    "RecipientAnswer": {"variant": "all", "reason": None, "optedOutAt": None, "blockedAt": None},
    "ScheduleAnswer": {"endAt": None, "recurrence": None},
    "TestedContact": {"error": None},
    "TokenPair": {"expiresIn": 3600},
    "UnreadAnswer": {"conversations": 3, "assignedToMe": 1, "complete": True},
    "UnreadOfAccount": {"conversations": 3},
    "UserAnswer": {"name": "Ann"},
}
_FORMATS = {"date-time": TIME, "date": "2026-01-18", "uuid": ID, "uri": "https://example.com/", "time": "10:00:00Z"}
_DEEPEST = 8


def sample(schemas: Schemas, schema: Node, name: str = "", depth: int = 0) -> Any:
    """Return a value that fits a schema: its own example where it has one, else the most telling that can be made."""
    schema = schemas.resolve(schema)
    named = _named(schema)
    if named:
        return named[0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            kinds = [kind for kind in schema[key] if kind.get("type") != "null"]
            return sample(schemas, kinds[0], name, depth) if kinds else None
    kind = schema.get("type")
    if kind == "object":
        return _object(schemas, schema, depth)
    if kind == "array":
        return [] if depth > _DEEPEST else [sample(schemas, schema.get("items", {}), name, depth + 1)]
    return _plain(schema, name)


def _named(schema: Node) -> list[Any]:
    """Return the values that a schema itself names, best first."""
    default = schema.get("default")
    return [
        *schema.get("examples", []),
        *schema.get("enum", []),
        *([schema["const"]] if "const" in schema else []),
        *([default] if default is not None else []),
    ]


def _object(schemas: Schemas, schema: Node, depth: int) -> Node:
    if depth > _DEEPEST:
        return {}
    required, told = schema.get("required", []), FIELDS.get(schema.get("title", ""), {})
    return {
        name: told[name] if name in told else sample(schemas, each, name, depth + 1)
        for name, each in schema.get("properties", {}).items()
        if name in required
    }


def _plain(schema: Node, name: str) -> object:
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return _text(schema, name)


def _text(schema: Node, name: str) -> str:
    if "format" in schema:
        return _FORMATS.get(schema["format"], "text")
    return _TEXTS.get(name) or (ID if name.endswith("Id") else "text")
