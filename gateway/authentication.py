"""Who is calling, and whether their roles allow it (contract, part 3)."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import hdrs, web

from domain.errors import NotAllowed, Unauthenticated
from domain.roles import capped, known_roles
from domain.scopes import is_within
from gateway.dependencies import DEPENDENCIES, Dependencies
from gateway.principal import Principal
from gateway.routing import AnyRoute
from storage.api_keys import SCHEME

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)

_SCHEME = "bearer"


async def authenticated(request: web.Request) -> Principal:
    """Return who is calling; what lasts asks again whether it still holds.

    Raises:
        Unauthenticated: when the token does not hold, or the person was disabled.
    """
    deps, token = request.app[DEPENDENCIES], _bearer(request)
    known = await _machine(deps, token) if token.startswith(SCHEME) else await deps.tokens.verify(token)
    return await _as_of_today(deps, known)


def check_allowed(principal: Principal, route: AnyRoute) -> None:
    """Compare somebody's roles, and the scopes of their key, with what a route asks for.

    Raises:
        NotAllowed: when they have none of the roles, or not the scope.
    """
    if principal.roles.isdisjoint(route.roles):
        raise NotAllowed("Your role does not allow this")
    if principal.scopes is not None and (route.scope is None or not is_within(principal.scopes, route.scope)):
        raise NotAllowed(f"The API key has not the scope {route.scope}" if route.scope else "No API key allows this")


async def _machine(deps: Dependencies, token: str) -> Principal:
    """Return whom an API key speaks for.

    Raises:
        Unauthenticated: when it does not hold, for whatever reason.
    """
    keys, now = deps.repositories.api_keys, deps.clock.now()
    key = await keys.proven(token, now)
    if key is None:
        raise Unauthenticated("The API key does not hold")
    if keys.is_use_due(key, now):
        deps.background.start("api_key.used", keys.used(key, now))
    scopes = key.get("scopes")
    return Principal(
        user_id=key["createdBy"],
        merchant_id=key["merchantId"],
        roles=known_roles(key["roles"]),
        key_id=key["_id"],
        scopes=None if scopes is None else frozenset(scopes),
    )


async def _as_of_today(deps: Dependencies, principal: Principal) -> Principal:
    """Return the principal with no more rights than the person has today; people kept elsewhere are taken as they are.

    A machine has no more rights than the person who made its key.

    Raises:
        Unauthenticated: when the person was disabled.
    """
    standing = await deps.repositories.standings.of(principal.merchant_id, principal.user_id, deps.clock.now())
    if standing is None:
        return principal
    if not standing.active:
        raise Unauthenticated("The user is disabled")
    roles = capped(principal.roles, standing.roles)
    return principal if roles == principal.roles else replace(principal, roles=roles)


def _bearer(request: web.Request) -> str:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) != 1:
        raise Unauthenticated("Authentication is required" if not given else "More than one Authorization header")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise Unauthenticated("A bearer token is required")
    return token.strip()
