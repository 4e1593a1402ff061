from __future__ import annotations

from dataclasses import replace

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from domain.errors import NotAllowed, Unauthenticated
from domain.roles import capped, known_roles
from gateway.dependencies import DEPENDENCIES, Dependencies
from gateway.principal import Principal
from gateway.routing import route_of
from storage.api_keys import SCHEME

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)

_SCHEME = "bearer"


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let only those through who are known, and whose roles the route allows."""
    route = route_of(request)
    if route is None or route.public:
        return await handler(request)
    principal = request[PRINCIPAL] = await authenticated(request)
    with structlog.contextvars.bound_contextvars(merchant_id=principal.merchant_id):
        return await handler(request)


async def authenticated(request: web.Request) -> Principal:
    """Return who is calling; what lasts asks again whether it still holds.

    Raises:
        Unauthenticated: when the token does not hold, or the person was disabled.
        NotAllowed: when the roles don't allow the route.
    """
    deps, token, route = request.app[DEPENDENCIES], _bearer(request), route_of(request)
    known = await _machine(deps, token) if token.startswith(SCHEME) else await deps.tokens.verify(token)
    principal = await _as_of_today(deps, known)
    if route is not None and not principal.roles & route.roles:
        raise NotAllowed("Your role does not allow this")
    return principal


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
    return Principal(key["createdBy"], key["merchantId"], known_roles(key["roles"]), key["_id"])


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
    return replace(principal, roles=capped(principal.roles, standing.roles))


def _bearer(request: web.Request) -> str:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) != 1:
        raise Unauthenticated("Authentication is required" if not given else "More than one Authorization header")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise Unauthenticated("A bearer token is required")
    return token.strip()
