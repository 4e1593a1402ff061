"""Who may call what, asked of every route there is: a route that is added later is asked too."""

from __future__ import annotations

from itertools import product

import pytest

from domain.ids import new_id
from domain.roles import Role
from gateway.app import API_ROUTES
from gateway.openapi import public_path, short_path
from gateway.openapi_examples import REQUESTS
from gateway.routing import AnyRoute
from tests.gateway.conftest import Api

ROUTES = [route for route in API_ROUTES if not route.public]

#: What changes nothing, though it isn't a GET.
READS = frozenset(
    {
        ("POST", "/templates/{templateId}/preview"),
        ("POST", "/segments/{segmentId}/preview"),
        ("POST", "/automation/flows/{flowId}/simulate"),
    }
)
#: What is everybody's own.
OWN = frozenset({("PUT", "/api/v1/auth/password")})

#: What agents change: their own work. Everything else is configuration.
AGENTS_WORK = ("/conversations", "/contacts", "/ai/conversations")


def name(route: AnyRoute) -> str:
    return f"{route.method} {short_path(route.path)}"


def key(route: AnyRoute) -> tuple[str, str]:
    return route.method, short_path(public_path(route.path))


def path_of(route: AnyRoute) -> str:
    """Return the path with ids that nobody has: what is refused must be refused before anything is looked up."""
    path = public_path(route.path)
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = path[:start] + new_id() + path[end + 1 :]
    return path


@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_nobody_gets_in_without_a_token(api: Api, route: AnyRoute) -> None:
    answer = await api.http.request(route.method, path_of(route), json=REQUESTS.get(key(route)))
    assert answer.status == 401
    assert (await answer.json())["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(("role", "route"), [*product(Role, ROUTES)], ids=lambda value: getattr(value, "path", value))
async def test_a_role_passes_where_its_route_names_it_and_nowhere_else(api: Api, role: Role, route: AnyRoute) -> None:
    caller = api.as_role(role.value)
    status, answer = await caller.call(route.method, path_of(route), json=REQUESTS.get(key(route)))
    if role in route.roles:
        assert status != 403
        assert status < 500 or answer["code"] == "TWITTER_API_ERROR"
    else:
        assert (status, answer["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_a_token_with_a_role_that_does_not_exist_may_nothing(api: Api, route: AnyRoute) -> None:
    status, _ = await api.as_role("superuser").call(route.method, path_of(route), json=REQUESTS.get(key(route)))
    assert status == 403


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_a_route_has_the_roles_that_the_contract_gives_it(route: AnyRoute) -> None:
    assert {Role.OWNER, Role.ADMIN} <= route.roles
    assert (key(route) in READS) is (route.method != "GET" and not route.changes)
    if route.method != "GET" and key(route) not in READS | OWN:
        assert Role.VIEWER not in route.roles
        assert (Role.AGENT in route.roles) is short_path(route.path).startswith(AGENTS_WORK)
