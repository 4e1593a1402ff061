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
_VARIABLES: Node = {"shop_name": "GoodGo Shop", "discount_code": "WELCOME10"}
_FLOW: Node = {
    "name": "Welcome Flow",
    "accountId": None,
    "trigger": {"type": "new_follower", "config": {}},
    "nodes": _NODES,
    "connections": _CONNECTIONS,
    "reEntry": "after_completed",
    "version": 1,
}
_ENTRY: Node = {"node": "node-1", "outcome": "done", "at": TIME, "error": None, "branch": "next", "visit": 1}
_EXECUTION: Node = {
    "status": "completed",
    "currentNodeId": None,
    "startedAt": TIME,
    "completedAt": TIME,
    "history": [_ENTRY],
}
_BUSINESS_HOURS: Node = {
    "enabled": True,
    "timezone": "Asia/Ho_Chi_Minh",
    "schedule": {"monday": {"start": "09:00", "end": "18:00"}, "tuesday": {"start": "09:00", "end": "18:00"}},
}
_CONVERSATIONS: Node = {
    "total": 567,
    "open": 45,
    "closed": 522,
    "new": 540,
    "averageResponseTime": "5m 30s",
    "medianResponseTime": "2m 10s",
    "p90ResponseTime": "14m 5s",
    "averageResponseSeconds": 330.0,
    "medianResponseSeconds": 130.0,
    "p90ResponseSeconds": 845.0,
    "responses": 1_100,
    "messages": {"received": 2_300, "sent": 1_900, "sentBySource": {"agent": 1_200, "bot": 700}},
}
_CAMPAIGNS: Node = {
    "active": 3,
    "completed": 12,
    "totalMessagesSent": 15_000,
    "totalSent": 15_100,
    "delivered": 15_000,
    "failed": 100,
    "skipped": 20,
    "opened": 9_000,
    "clicked": 1_500,
    "replied": 600,
    "optedOut": 30,
    "blocked": 2,
    "openRate": 0.6,
    "clickRate": 0.1,
    "replyRate": 0.04,
    "deliveryRate": 0.99,
}
_EXECUTIONS: Node = {"totalExecutions": 890, "completed": 850, "failed": 10, "cancelled": 5, "activeFlows": 5}
_ATTRIBUTES: Node = {"purchaseCount": 5, "totalSpent": 1250000, "lastPurchaseDate": "2026-01-15"}
_CONDITIONS: list[Node] = [
    {"field": "tags", "operator": "contains", "value": "vip"},
    {"field": "attributes.purchaseCount", "operator": "greaterThan", "value": 5},
    {"field": "lastInteractionAt", "operator": "after", "value": "2026-01-01T00:00:00Z"},
]
_ENDPOINT: Node = {
    "url": "https://example.com/webhooks/mktx",
    "events": ["message.created", "conversation.closed"],
    "accountId": None,
    "description": "Order desk",
    "statusReason": None,
    "failingSince": None,
}
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
    ("POST", "/api-keys"): {
        "name": "Order system",
        "roles": ["agent"],
        "scopes": ["contacts:write", "conversations:read"],
        "expiresAt": None,
    },
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
    ("POST", "/templates/{templateId}/preview"): {"variables": {"name": "John", **_VARIABLES}},
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
    ("POST", "/automation/flows/{flowId}/deactivate"): {"runningExecutions": "finish"},
    ("POST", "/automation/flows/{flowId}/trigger"): {"contactId": ID, "variables": _VARIABLES},
    ("POST", "/automation/flows/{flowId}/simulate"): {
        "contact": {"displayName": "John Doe", "tags": ["vip"], "attributes": {"purchaseCount": 5}},
        "startAt": TIME,
        "replies": [{"text": "yes", "after": 60}, None],
        "variables": _VARIABLES,
    },
    ("POST", "/ai/conversations/{conversationId}/message"): {"message": "What's the status of my order #12345?"},
    ("POST", "/ai/conversations/{conversationId}/escalate"): {"reason": "complex_query"},
    ("POST", "/ai/knowledge"): {"title": "Returns", "text": "Goods can be sent back within 30 days, free of charge."},
    ("PUT", "/ai/knowledge/{snippetId}"): {"text": "Goods can be sent back within 60 days, free of charge."},
    ("POST", "/ai/tools"): {
        "name": "look_up_order",
        "description": "The state of one order of the shop, and when it arrives",
        "url": "https://shop.example.com/orders/{{orderId}}",
        "parameters": [{"name": "orderId", "description": "The order's number", "pattern": "[0-9]{3,12}"}],
        "headers": {"Authorization": "Bearer shop-secret"},
    },
    ("PUT", "/ai/tools/{toolId}"): {"description": "The state of one order of the shop"},
    ("POST", "/webhook-endpoints"): {name: _ENDPOINT[name] for name in ("url", "events", "accountId", "description")},
    ("PUT", "/webhook-endpoints/{endpointId}"): {"events": ["message.created"], "description": "Help desk"},
    ("POST", "/webhook-endpoints/{endpointId}/rotate-secret"): {"overlapSeconds": 86400},
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
    "AiContextAnswer": {
        "context": [
            {"role": "user", "content": "What's the status of my order?"},
            {"role": "assistant", "content": "I'd be happy to help! What's your order number?"},
        ],
        "currentIntent": "order_status_query",
        "slots": {"orderId": "12345"},
    },
    "AiReplyAnswer": {
        "intent": "order_status_query",
        "confidence": 0.95,
        "response": "Let me check that for you. Order #12345 was shipped on January 15 and is expected to arrive on "
        "January 20.",
        "slots": {"orderId": "12345"},
    },
    "AiSettingsAnswer": {
        "enabled": True,
        "model": "gpt-4",
        "temperature": 0.7,
        "maxTokens": 500,
        "autoEscalationThreshold": 0.6,
        "systemPrompt": "You are a helpful customer service assistant for GoodGo Shop...",
        "escalationWords": ["complaint"],
        "humanSilenceSeconds": 3600,
        "dailyTokenBudget": None,
        "answerDelaySeconds": 2.0,
        "accountIds": [],
    },
    "EndpointAnswer": _ENDPOINT,
    "EndpointWithSecret": {**_ENDPOINT, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    "SecretAnswer": {"expiresAt": None},
    "DeliveryAnswer": {
        "type": "message.created",
        "status": "pending",
        "reason": None,
        "attempts": 1,
        "lastAttempt": {"at": TIME, "status": 500, "error": None, "milliseconds": 84, "answer": "not today"},
        "endedAt": None,
    },
    "EscalationAnswer": {"reason": "complex_query", "by": ID},
    "SnippetAnswer": {"title": "Returns", "text": "Goods can be sent back within 30 days, free of charge."},
    "ToolAnswer": {
        "name": "look_up_order",
        "description": "The state of one order of the shop, and when it arrives",
        "url": "https://shop.example.com/orders/{{orderId}}",
        "host": "shop.example.com",
        "parameters": [
            {
                "name": "orderId",
                "type": "text",
                "description": "The order's number",
                "required": True,
                "pattern": "[0-9]{3,12}",
            }
        ],
        "headerNames": ["Authorization"],
    },
    "UsageAnswer": {
        "dailyTokenBudget": 100_000,
        "tokensToday": 1_250,
        "days": [{"day": "2026-01-18", "promptTokens": 1_000, "completionTokens": 250, "tokens": 1_250, "calls": 3}],
    },
    "Period": {"startDate": "2026-01-01T00:00:00Z", "endDate": "2026-01-18T23:59:59Z"},
    "ContactFigures": {"total": 1234, "new": 156, "active": 456},
    "OverviewConversations": {"total": 567, "open": 45, "closed": 522, "averageResponseTime": "5m 30s"},
    "OverviewCampaigns": {"active": 3, "completed": 12, "totalMessagesSent": 15_000},
    "OverviewAutomation": {"activeFlows": 5, "totalExecutions": 890},
    "OverviewAnswer": {"timeline": [], "previous": None, "change": None},
    "ContactAnalytics": {"total": 1234, "new": 156, "active": 456, "timeline": [], "previous": None, "change": None},
    "ConversationAnalytics": {**_CONVERSATIONS, "timeline": [], "previous": None, "change": None},
    "CampaignAnalytics": {**_CAMPAIGNS, "campaigns": [], "timeline": [], "previous": None, "change": None},
    "AutomationAnalytics": {**_EXECUTIONS, "flows": [], "timeline": [], "previous": None, "change": None},
    "Engagement": {"messagesSent": 15, "messagesReceived": 18},
    "ChangedFlow": {**_FLOW, "name": "Updated Welcome Flow", "runningOldVersions": 3},
    "DeactivatedFlow": {**_FLOW, "status": "inactive", "runningExecutions": 3},
    "ExecutionAnswer": _EXECUTION,
    "ExecutionDetails": {**_EXECUTION, "version": 1, "failure": None},
    "FlowAnswer": _FLOW,
    "ListedFlow": {name: value for name, value in _FLOW.items() if name != "nodes"} | {"nodeCount": len(_NODES)},
    "FlowDetails": {
        **_FLOW,
        "nodeCounts": [{"nodeId": "node-1", "entered": 890, "done": 888, "failed": 2, "cancelled": 0}],
    },
    "FlowStats": {"started": 890, "running": 12, "completed": 870, "failed": 6, "cancelled": 2},
    "HistoryEntryAnswer": _ENTRY,
    "SimulationAnswer": {
        "status": "completed",
        "currentNodeId": None,
        "failure": None,
        "variables": _VARIABLES,
        "path": [_ENTRY],
    },
    "SimulatedEffectAnswer": {"node": "node-1", "type": "send_message", "attempt": 1, "text": "Hello John Doe!"},
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
