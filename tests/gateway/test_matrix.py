"""Every route, whoever calls it: a route that is missing from these tables fails."""

from __future__ import annotations

import pytest

from domain.ids import new_id
from gateway.app import API_ROUTES
from gateway.routing import API, AnyRoute
from tests.gateway.conftest import Api

ROUTES = [route for route in API_ROUTES if not route.public]
ROLES = ("owner", "admin", "agent", "viewer")

#: Who may call what, and with what body; the shape of a route's path is its key.
TABLE: dict[tuple[str, str], tuple[set[str], object]] = {
    ("POST", "/accounts"): ({"owner", "admin"}, {"oauthToken": "unknown", "oauthTokenSecret": "unknown"}),
    ("GET", "/accounts"): (set(ROLES), None),
    ("GET", "/accounts/{accountId}"): (set(ROLES), None),
    ("PUT", "/accounts/{accountId}"): ({"owner", "admin"}, {"autoReplyEnabled": True}),
    ("DELETE", "/accounts/{accountId}"): ({"owner", "admin"}, None),
    ("GET", "/accounts/{accountId}/limits"): (set(ROLES), None),
    ("GET", "/contacts"): (set(ROLES), None),
    ("GET", "/contacts/{contactId}"): (set(ROLES), None),
    ("GET", "/contacts/{contactId}/conversations"): (set(ROLES), None),
    ("GET", "/conversations"): (set(ROLES), None),
    ("GET", "/conversations/{conversationId}"): (set(ROLES), None),
    ("GET", "/conversations/{conversationId}/messages"): (set(ROLES), None),
    ("POST", "/conversations/{conversationId}/messages"): ({"owner", "admin", "agent"}, {"content": "hello"}),
    ("POST", "/conversations/{conversationId}/assign"): ({"owner", "admin", "agent"}, {"userId": None}),
    ("PUT", "/conversations/{conversationId}/close"): ({"owner", "admin", "agent"}, {"reason": "resolved"}),
}


def name(route: AnyRoute) -> str:
    return f"{route.method} {route.path.removeprefix(API)}"


def row(route: AnyRoute) -> tuple[set[str], object]:
    return TABLE[(route.method, route.path.removeprefix(API))]


async def path_of(route: AnyRoute, owner: Api) -> str:
    """Return the route's path with ids of documents that this merchant has."""
    account_id = await owner.account()
    contact_id = await owner.contact(account_id)
    conversation_id = await owner.conversation(account_id, contact_id)
    return route.path.format(accountId=account_id, contactId=contact_id, conversationId=conversation_id)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_a_role_may_do_what_the_table_says(api: Api, route: AnyRoute, role: str) -> None:
    allowed, body = row(route)
    status, answer = await api.as_role(role).call(route.method, await path_of(route, api), json=body)
    assert (status == 403) is (role not in allowed)
    # X knows no such token, so that connecting is refused by X and by nobody else.
    assert status in {200, 403} or answer["code"] == "TWITTER_API_ERROR"


@pytest.mark.parametrize("route", [route for route in ROUTES if "{" in route.path], ids=name)
async def test_an_id_of_another_merchant_is_as_unknown_as_any(api: Api, route: AnyRoute) -> None:
    _, body = row(route)
    foreign = await path_of(route, api)
    unknown = route.path.format(accountId=new_id(), contactId=new_id(), conversationId=new_id())
    stranger = api.other_merchant()
    status, answer = await stranger.call(route.method, foreign, json=body)
    unknown_status, unknown_answer = await stranger.call(route.method, unknown, json=body)
    assert status == unknown_status == 404
    assert answer | {"requestId": None} == unknown_answer | {"requestId": None}
