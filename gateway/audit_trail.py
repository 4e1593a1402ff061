"""Who changed what, when and from where: noted for every route in one place, never with what the request said.

Of a change it is noted which fields the request gave, of something new its id.

Noted are requests that changed something, and logins, those that were refused too where it is known whose they were.
Not noted are requests that were refused, answers given again under an `Idempotency-Key`, and the renewal of tokens.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from domain.ids import new_id
from gateway.answers import ANSWERED, REQUEST_ID
from gateway.authentication import PRINCIPAL
from gateway.dependencies import DEPENDENCIES
from gateway.dispatch import GIVEN_FIELDS
from gateway.idempotency import REPLAYED
from gateway.paths import API
from gateway.routing import AnyRoute, route_of
from storage.audit import Actor

_VERSION = "/api/v1"
_CHANGING = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH, hdrs.METH_DELETE})
_REFUSED = 400


@dataclass(frozen=True, slots=True)
class _Party:
    merchant_id: str
    actor: Actor


#: Whose login the request is; the route is public, so that no token says it.
_login_of: ContextVar[_Party | None] = ContextVar("login_of", default=None)


def note_login_of(merchant_id: str, user_id: str) -> None:
    """Say whose login this request is, whether it will be accepted or not."""
    _login_of.set(_Party(merchant_id, Actor(kind="user", id=user_id)))


@web.middleware
async def audit_trail(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note what a request has changed; its answer does not wait for that."""
    route = route_of(request) if request.method in _CHANGING else None
    if route is None or not route.changes:
        return await handler(request)
    # Requests of one connection share a context.
    reset = _login_of.set(None)
    try:
        response = await handler(request)
        _note(request, route, response)
    finally:
        _login_of.reset(reset)
    return response


def action_of(route: AnyRoute) -> str:
    """Return what a route does as the trail names it: `PUT /users/{userId}`."""
    path = route.path.removeprefix(API if route.path.startswith(API) else _VERSION)
    return f"{route.method} {path}"


def _note(request: web.Request, route: AnyRoute, response: web.StreamResponse) -> None:
    login = _login_of.get()
    party = login or _caller(request)
    if party is None or REPLAYED in response.headers or (response.status >= _REFUSED and login is None):
        return
    deps = request.app[DEPENDENCIES]
    deps.repositories.audit.note(
        {
            "_id": new_id(),
            "merchantId": party.merchant_id,
            "at": deps.clock.now(),
            "actor": party.actor,
            "action": action_of(route),
            "targets": {name: value for name, value in request.match_info.items() if name.endswith("Id")},
            "createdId": _created_id(request),
            "fields": sorted(request.get(GIVEN_FIELDS, ())),
            "requestId": request[REQUEST_ID],
            "address": request.remote or "",
            "status": response.status,
        }
    )


def _created_id(request: web.Request) -> str | None:
    """Return the id of what a request has made: the one in its answer that is not in its path."""
    answered = request[ANSWERED].get("data") if request.method == hdrs.METH_POST else None
    found = answered.get("id") if isinstance(answered, dict) else None
    return found if isinstance(found, str) and found not in request.match_info.values() else None


def _caller(request: web.Request) -> _Party | None:
    principal = request.get(PRINCIPAL)
    if principal is None:
        return None
    if principal.key_id is not None:
        return _Party(principal.merchant_id, Actor(kind="key", id=principal.key_id))
    return _Party(principal.merchant_id, Actor(kind="user", id=principal.user_id))
