"""Every route, whoever calls it: a route that is missing from these tables fails."""

from __future__ import annotations

import pytest

from domain.dialogue_tools import Tool
from domain.ids import new_id
from gateway.app import API_ROUTES
from gateway.paths import API
from gateway.routing import AnyRoute
from storage.campaigns import CampaignFields
from storage.contact_erasure import ContactErasures
from storage.contact_imports import ContactImports, NewImport
from storage.segments import SegmentDocument
from storage.templates import TemplateFields
from tests.gateway.conftest import NOW, Api
from tests.gateway.flows import ENDS, MANUAL, active_flow, execution, flow
from tests.gateway.people import api_key, colleague
from tests.gateway.webhook_endpoints import delivery, endpoint

ROUTES = [route for route in API_ROUTES if not route.public]
ROLES = ("owner", "admin", "agent", "viewer")

#: Stands in a body for an account of the merchant that calls.
OWN_ACCOUNT = "an account of the caller's"

#: Stand in a body for a template and a contact of the merchant that calls.
OWN_TEMPLATE = "a template of the caller's"
OWN_CONTACT = "a contact of the caller's"

#: Stands in a body for a contact of the merchant that calls.
OTHER_CONTACT = "another contact of the caller's"

#: Stands in a body for an e-mail address that nobody has.
NEW_EMAIL = "an address of nobody's"

#: The password of whoever calls, where a body has it.
OLD_PASSWORD = "the password of the caller"

#: Who may call what, and with what body; the shape of a route's path is its key.
TABLE: dict[tuple[str, str], tuple[set[str], object]] = {
    ("POST", "/accounts"): ({"owner", "admin"}, {"oauthToken": "unknown", "oauthTokenSecret": "unknown"}),
    ("GET", "/accounts"): (set(ROLES), None),
    ("GET", "/accounts/{accountId}"): (set(ROLES), None),
    ("PUT", "/accounts/{accountId}"): ({"owner", "admin"}, {"autoReplyEnabled": True}),
    ("DELETE", "/accounts/{accountId}"): ({"owner", "admin"}, None),
    ("POST", "/accounts/{accountId}/reactivate"): ({"owner", "admin"}, None),
    ("GET", "/accounts/{accountId}/limits"): (set(ROLES), None),
    ("PUT", "/api/v1/auth/password"): (
        set(ROLES),
        {"oldPassword": OLD_PASSWORD, "newPassword": "correct horse battery"},
    ),
    ("POST", "/users/{userId}/password-reset"): ({"owner", "admin"}, None),
    ("GET", "/users"): (set(ROLES), None),
    ("POST", "/users"): ({"owner", "admin"}, {"email": NEW_EMAIL, "name": "Ann", "roles": ["agent"]}),
    ("GET", "/users/{userId}"): (set(ROLES), None),
    ("PUT", "/users/{userId}"): ({"owner", "admin"}, {"name": "Ann", "status": "disabled"}),
    ("GET", "/api-keys"): ({"owner", "admin"}, None),
    ("POST", "/api-keys"): ({"owner", "admin"}, {"name": "Till", "roles": ["agent"]}),
    ("DELETE", "/api-keys/{apiKeyId}"): ({"owner", "admin"}, None),
    ("GET", "/audit"): ({"owner", "admin"}, None),
    ("GET", "/contacts"): (set(ROLES), None),
    ("GET", "/contacts/{contactId}"): (set(ROLES), None),
    ("GET", "/contacts/{contactId}/conversations"): (set(ROLES), None),
    ("POST", "/contacts"): ({"owner", "admin", "agent"}, {"accountId": OWN_ACCOUNT, "twitterUserId": "4711"}),
    ("PUT", "/contacts/{contactId}"): ({"owner", "admin", "agent"}, {"displayName": "John Doe (VIP)"}),
    ("PUT", "/contacts/{contactId}/attributes"): ({"owner", "admin", "agent"}, {"attributes": {"tier": "gold"}}),
    ("DELETE", "/contacts/{contactId}"): ({"owner", "admin", "agent"}, None),
    ("GET", "/contacts/{contactId}/export"): ({"owner", "admin", "agent"}, None),
    ("POST", "/contacts/import"): (
        {"owner", "admin", "agent"},
        {"accountId": OWN_ACCOUNT, "format": "csv", "content": "twitterUserId\n4711\n"},
    ),
    ("GET", "/contacts/imports/{importId}"): (set(ROLES), None),
    ("GET", "/contacts/erasures"): ({"owner", "admin"}, None),
    ("GET", "/contacts/erasures/{erasureId}"): ({"owner", "admin"}, None),
    ("POST", "/contacts/{contactId}/merge"): ({"owner", "admin", "agent"}, {"contactId": OTHER_CONTACT}),
    ("POST", "/contacts/{contactId}/tags"): ({"owner", "admin", "agent"}, {"tags": ["vip"]}),
    ("DELETE", "/contacts/{contactId}/tags/{tagName}"): ({"owner", "admin", "agent"}, None),
    ("GET", "/conversations"): (set(ROLES), None),
    ("GET", "/conversations/{conversationId}"): (set(ROLES), None),
    ("GET", "/conversations/{conversationId}/messages"): (set(ROLES), None),
    ("POST", "/conversations/{conversationId}/messages"): ({"owner", "admin", "agent"}, {"content": "hello"}),
    ("POST", "/conversations/{conversationId}/assign"): ({"owner", "admin", "agent"}, {"userId": None}),
    ("PUT", "/conversations/{conversationId}/close"): ({"owner", "admin", "agent"}, {"reason": "resolved"}),
    ("PUT", "/conversations/{conversationId}/read"): ({"owner", "admin", "agent"}, None),
    ("GET", "/conversations/unread"): (set(ROLES), None),
    ("GET", "/conversations/{conversationId}/notes"): (set(ROLES), None),
    ("POST", "/conversations/{conversationId}/notes"): ({"owner", "admin", "agent"}, {"text": "a regular"}),
    ("PUT", "/conversations/{conversationId}/notes/{noteId}"): ({"owner", "admin", "agent"}, {"text": "a regular"}),
    ("DELETE", "/conversations/{conversationId}/notes/{noteId}"): ({"owner", "admin", "agent"}, None),
    ("GET", "/messages/search"): (set(ROLES), None),
    ("GET", "/templates"): (set(ROLES), None),
    ("POST", "/templates"): ({"owner", "admin"}, {"name": "Welcome Message", "content": "Hi {{name}}"}),
    ("GET", "/templates/{templateId}"): (set(ROLES), None),
    ("PUT", "/templates/{templateId}"): ({"owner", "admin"}, {"name": "Updated Welcome Message"}),
    ("DELETE", "/templates/{templateId}"): ({"owner", "admin"}, None),
    ("POST", "/templates/{templateId}/preview"): (set(ROLES), {"variables": {"name": "John"}}),
    ("GET", "/segments"): (set(ROLES), None),
    ("POST", "/segments"): ({"owner", "admin"}, {"name": "VIP Customers", "conditions": []}),
    ("GET", "/segments/{segmentId}"): (set(ROLES), None),
    ("PUT", "/segments/{segmentId}"): ({"owner", "admin"}, {"name": "Updated VIP Customers"}),
    ("DELETE", "/segments/{segmentId}"): ({"owner", "admin"}, None),
    ("POST", "/segments/{segmentId}/preview"): (set(ROLES), None),
    ("GET", "/campaigns"): (set(ROLES), None),
    ("POST", "/campaigns"): (
        {"owner", "admin"},
        {"name": "January Promotion", "type": "promotional", "templateId": OWN_TEMPLATE},
    ),
    ("GET", "/campaigns/{campaignId}"): (set(ROLES), None),
    ("PUT", "/campaigns/{campaignId}"): ({"owner", "admin"}, {"name": "Updated Campaign Name"}),
    ("DELETE", "/campaigns/{campaignId}"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/start"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/pause"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/resume"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/retry-failed"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/unschedule"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/cancel"): ({"owner", "admin"}, None),
    ("POST", "/campaigns/{campaignId}/test"): ({"owner", "admin"}, {"contactIds": [OWN_CONTACT]}),
    ("GET", "/campaigns/{campaignId}/metrics"): (set(ROLES), None),
    ("GET", "/campaigns/{campaignId}/recipients"): (set(ROLES), None),
    ("GET", "/campaigns/{campaignId}/runs"): (set(ROLES), None),
    ("GET", "/campaigns/{campaignId}/results"): (set(ROLES), None),
    ("GET", "/analytics/overview"): (set(ROLES), None),
    ("GET", "/analytics/contacts"): (set(ROLES), None),
    ("GET", "/analytics/conversations"): (set(ROLES), None),
    ("GET", "/analytics/campaigns"): (set(ROLES), None),
    ("GET", "/analytics/automation"): (set(ROLES), None),
    ("GET", "/automation/flows"): (set(ROLES), None),
    ("POST", "/automation/flows"): ({"owner", "admin"}, {"name": "Welcome Flow", "trigger": MANUAL, "nodes": ENDS}),
    ("GET", "/automation/flows/{flowId}"): (set(ROLES), None),
    ("PUT", "/automation/flows/{flowId}"): ({"owner", "admin"}, {"name": "Updated Welcome Flow"}),
    ("DELETE", "/automation/flows/{flowId}"): ({"owner", "admin"}, None),
    ("POST", "/automation/flows/{flowId}/activate"): ({"owner", "admin"}, None),
    ("POST", "/automation/flows/{flowId}/deactivate"): ({"owner", "admin"}, {"runningExecutions": "cancel"}),
    ("POST", "/automation/flows/{flowId}/trigger"): ({"owner", "admin"}, {"contactId": OTHER_CONTACT}),
    ("POST", "/automation/flows/{flowId}/simulate"): (set(ROLES), {"contact": {"tags": ["vip"]}}),
    ("GET", "/automation/flows/{flowId}/executions"): (set(ROLES), None),
    ("GET", "/automation/flows/{flowId}/executions/{executionId}"): (set(ROLES), None),
    ("POST", "/automation/flows/{flowId}/executions/{executionId}/retry"): ({"owner", "admin"}, None),
    ("POST", "/automation/flows/{flowId}/executions/{executionId}/cancel"): ({"owner", "admin"}, None),
    ("POST", "/ai/conversations/{conversationId}/message"): ({"owner", "admin", "agent"}, {"message": "hello"}),
    ("GET", "/ai/conversations/{conversationId}/context"): (set(ROLES), None),
    ("POST", "/ai/conversations/{conversationId}/escalate"): ({"owner", "admin", "agent"}, {"reason": "complex_query"}),
    ("POST", "/ai/conversations/{conversationId}/hand-back"): ({"owner", "admin", "agent"}, None),
    ("GET", "/ai/settings"): (set(ROLES), None),
    ("PUT", "/ai/settings"): ({"owner", "admin"}, {"enabled": True}),
    ("GET", "/ai/usage"): (set(ROLES), None),
    ("GET", "/ai/knowledge"): (set(ROLES), None),
    ("POST", "/ai/knowledge"): ({"owner", "admin"}, {"title": "Returns", "text": "Within 30 days."}),
    ("GET", "/ai/knowledge/{snippetId}"): (set(ROLES), None),
    ("PUT", "/ai/knowledge/{snippetId}"): ({"owner", "admin"}, {"text": "Within 14 days."}),
    ("DELETE", "/ai/knowledge/{snippetId}"): ({"owner", "admin"}, None),
    ("GET", "/ai/tools"): (set(ROLES), None),
    ("POST", "/ai/tools"): (
        {"owner", "admin"},
        {"name": "stock", "description": "What is in stock", "url": "https://shop.example.com/stock"},
    ),
    ("GET", "/ai/tools/{toolId}"): (set(ROLES), None),
    ("PUT", "/ai/tools/{toolId}"): ({"owner", "admin"}, {"description": "What is left"}),
    ("DELETE", "/ai/tools/{toolId}"): ({"owner", "admin"}, None),
    ("GET", "/events"): (set(ROLES), None),
    ("GET", "/webhook-endpoints"): ({"owner", "admin"}, None),
    ("POST", "/webhook-endpoints"): (
        {"owner", "admin"},
        {"url": "https://shop.example.com/hooks", "events": ["message.created"]},
    ),
    ("GET", "/webhook-endpoints/{endpointId}"): ({"owner", "admin"}, None),
    ("PUT", "/webhook-endpoints/{endpointId}"): ({"owner", "admin"}, {"events": ["message.updated"]}),
    ("DELETE", "/webhook-endpoints/{endpointId}"): ({"owner", "admin"}, None),
    ("POST", "/webhook-endpoints/{endpointId}/rotate-secret"): ({"owner", "admin"}, {"overlapSeconds": 60}),
    ("POST", "/webhook-endpoints/{endpointId}/test"): ({"owner", "admin"}, None),
    ("GET", "/webhook-endpoints/{endpointId}/deliveries"): ({"owner", "admin"}, None),
    ("GET", "/webhook-endpoints/{endpointId}/deliveries/{deliveryId}"): ({"owner", "admin"}, None),
    ("POST", "/webhook-endpoints/{endpointId}/deliveries/{deliveryId}/retry"): ({"owner", "admin"}, None),
}

#: What is asked of routes that answer nothing without it.
QUERIES = {
    "/messages/search": "?q=order",
    "/analytics/overview": "?startDate=2026-01-01&endDate=2026-01-18",
}


def name(route: AnyRoute) -> str:
    return f"{route.method} {route.path.removeprefix(API)}"


def row(route: AnyRoute) -> tuple[set[str], object]:
    return TABLE[(route.method, route.path.removeprefix(API))]


async def filled(body: object, owner: Api) -> object:
    """Return a body with the id of an account of this merchant where it stands for one."""
    if isinstance(body, dict) and body.get("accountId") == OWN_ACCOUNT:
        return body | {"accountId": await owner.account()}
    if isinstance(body, dict) and body.get("oldPassword") == OLD_PASSWORD:
        password_hash = await owner.deps.passwords.hash(OLD_PASSWORD)
        await colleague(owner, *owner.roles, _id=owner.user_id, passwordHash=password_hash)
    if isinstance(body, dict) and body.get("contactId") == OTHER_CONTACT:
        return body | {"contactId": await owner.contact(await owner.account())}
    if isinstance(body, dict) and body.get("email") == NEW_EMAIL:
        return body | {"email": f"{new_id()}@example.com"}
    if isinstance(body, dict) and body.get("templateId") == OWN_TEMPLATE:
        return body | {"templateId": await template(owner)}
    if isinstance(body, dict) and body.get("contactIds") == [OWN_CONTACT]:
        return body | {"contactIds": [await owner.contact(await owner.account())]}
    return body


async def contact_import(owner: Api, account_id: str) -> str:
    """Return the id of an import that this merchant has."""
    new = NewImport(new_id(), account_id, owner.user_id, rows=[], wrong=[])
    await ContactImports(owner.database).begin(owner.merchant_id, new, NOW)
    return new.id


async def template(owner: Api) -> str:
    """Return the id of a template that this merchant has."""
    templates = owner.deps.repositories.templates
    fields: TemplateFields = {
        "name": new_id(),
        "type": "text",
        "content": "Hi {{name}}",
        "variables": ["name"],
        "options": [],
        "buttons": [],
    }
    return (await templates.add(owner.merchant_id, new_id(), fields, NOW))["_id"]


async def segment(owner: Api) -> str:
    """Return the id of a segment that this merchant has."""
    new: SegmentDocument = {
        "_id": new_id(),
        "merchantId": owner.merchant_id,
        "name": new_id(),
        "conditions": [],
        "contactCount": 0,
        "countedAt": NOW,
        "version": 1,
        "createdAt": NOW,
        "updatedAt": NOW,
    }
    return (await owner.deps.repositories.segments.add(new))["_id"]


async def campaign(owner: Api) -> str:
    """Return the id of a draft that this merchant has."""
    fields: CampaignFields = {
        "name": "January Promotion",
        "type": "promotional",
        "accountId": None,
        "templateId": await template(owner),
        "segmentIds": [],
        "excludeSegmentIds": [],
        "schedule": {"startAt": None, "endAt": None, "recurrence": None, "timezone": "UTC"},
        "variables": {},
        "variants": [],
        "controlShare": 0.0,
    }
    return (await owner.deps.repositories.campaigns.add(owner.merchant_id, new_id(), fields, NOW))["_id"]


async def note(owner: Api, conversation_id: str) -> str:
    """Return the id of a note of this person's about a conversation."""
    notes = owner.deps.repositories.notes
    added = await notes.add(owner.merchant_id, conversation_id, new_id(), owner.user_id, "a regular", NOW)
    assert added is not None
    return added["_id"]


async def flow_of(route: AnyRoute, owner: Api) -> str:
    """Return the id of a flow that this merchant has, active where the route asks for that."""
    make = active_flow if route.path.endswith("/trigger") else flow
    made = await make(owner.as_role("owner"), nodes=ENDS)
    return str(made["id"])


async def execution_of(route: AnyRoute, owner: Api, flow_id: str) -> str:
    """Return the id of an execution of a flow: one that has failed where the route asks for that."""
    return await execution(owner, flow_id, status="failed" if route.path.endswith("/retry") else "running")


async def snippet(owner: Api) -> str:
    """Return the id of something that this merchant's chatbot knows."""
    knowledge = owner.deps.repositories.ai_knowledge
    return (await knowledge.add(owner.merchant_id, new_id(), "Returns", "Within 30 days.", NOW))["_id"]


async def tool(owner: Api) -> str:
    """Return the id of a look-up that this merchant's chatbot has."""
    orders = Tool(new_id(), "orders", "The state of all orders", "https://shop.example.com/orders")
    return (await owner.deps.repositories.ai_tools.add(owner.merchant_id, orders, {}, NOW))["_id"]


async def erasure(owner: Api, account_id: str) -> str:
    """Return the id of a contact that this merchant has erased."""
    contact_id = await owner.contact(account_id)
    await ContactErasures(owner.database, owner.deps.settings).erase(
        owner.merchant_id, contact_id, owner.user_id, owner.deps.clock
    )
    return contact_id


async def path_of(route: AnyRoute, owner: Api) -> str:
    """Return the route's path with ids of documents that this merchant has."""
    account_id = await owner.account()
    contact_id = await owner.contact(account_id)
    conversation_id = await owner.conversation(account_id, contact_id)
    user_id = await colleague(owner)
    api_key_id = await api_key(owner)
    flow_id = await flow_of(route, owner)
    endpoint_id = await endpoint(owner)
    return route.path.format(
        accountId=account_id,
        contactId=contact_id,
        conversationId=conversation_id,
        userId=user_id,
        apiKeyId=api_key_id,
        tagName="vip",
        importId=await contact_import(owner, account_id),
        erasureId=await erasure(owner, account_id) if "{erasureId}" in route.path else "",
        templateId=await template(owner),
        segmentId=await segment(owner),
        campaignId=await campaign(owner),
        flowId=flow_id,
        executionId=await execution_of(route, owner, flow_id),
        noteId=await note(owner, conversation_id),
        snippetId=await snippet(owner),
        toolId=await tool(owner),
        endpointId=endpoint_id,
        deliveryId=await delivery(owner, endpoint_id),
    ) + QUERIES.get(route.path.removeprefix(API), "")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_a_role_may_do_what_the_table_says(api: Api, route: AnyRoute, role: str) -> None:
    allowed, body = row(route)
    body = await filled(body, api)
    status, answer = await api.as_role(role).call(route.method, await path_of(route, api), json=body)
    assert (status == 403) is (role not in allowed)
    # X knows no such token, so that connecting is refused by X and by nobody else.
    # The account has no tokens, so that there is nobody to be asked for about it.
    assert status in {200, 403} or answer["code"] == "TWITTER_API_ERROR" or route.path.endswith("/reactivate")


@pytest.mark.parametrize("route", [route for route in ROUTES if "{" in route.path], ids=name)
async def test_an_id_of_another_merchant_is_as_unknown_as_any(api: Api, route: AnyRoute) -> None:
    _, body = row(route)
    foreign = await path_of(route, api)
    unknown = route.path.format(
        accountId=new_id(),
        contactId=new_id(),
        conversationId=new_id(),
        userId=new_id(),
        apiKeyId=new_id(),
        tagName="vip",
        importId=new_id(),
        erasureId=new_id(),
        templateId=new_id(),
        segmentId=new_id(),
        campaignId=new_id(),
        flowId=new_id(),
        executionId=new_id(),
        noteId=new_id(),
        snippetId=new_id(),
        toolId=new_id(),
        endpointId=new_id(),
        deliveryId=new_id(),
    )
    stranger = api.other_merchant()
    status, answer = await stranger.call(route.method, foreign, json=body)
    unknown_status, unknown_answer = await stranger.call(route.method, unknown, json=body)
    assert status == unknown_status == 404
    assert answer | {"requestId": None} == unknown_answer | {"requestId": None}
