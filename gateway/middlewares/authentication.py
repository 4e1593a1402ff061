from __future__ import annotations

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from domain.errors import NotAllowed, Unauthenticated
from gateway.dependencies import DEPENDENCIES
from gateway.principal import Principal
from gateway.routing import route_of

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)

_SCHEME = "bearer"


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let only those through who are known, and whose roles the route allows."""
    route = route_of(request)
    if route is None or route.public:
        return await handler(request)
    principal = await request.app[DEPENDENCIES].tokens.verify(_bearer(request))
    if not principal.roles & route.roles:
        raise NotAllowed("Your role does not allow this")
    request[PRINCIPAL] = principal
    with structlog.contextvars.bound_contextvars(merchant_id=principal.merchant_id):
        return await handler(request)


def _bearer(request: web.Request) -> str:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) != 1:
        raise Unauthenticated("Authentication is required" if not given else "More than one Authorization header")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise Unauthenticated("A bearer token is required")
    return token.strip()
