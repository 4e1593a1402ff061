"""Turns a route into what the server calls: who is calling, what they ask for, one call, answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog
from aiohttp import hdrs, web

from domain.errors import InvalidContent
from domain.ids import new_id
from gateway.answers import respond
from gateway.authentication import PRINCIPAL, authenticated, check_allowed
from gateway.call_admission import admit
from gateway.dependencies import DEPENDENCIES
from gateway.idempotency import once
from gateway.models.base import NoBody
from gateway.parsing import joined, parse_body, parse_query
from gateway.payloads import payload_of
from gateway.principal import Principal
from gateway.request_body import WITHOUT_BODY, read_body
from gateway.routing import AnswerT, AnyRoute, BodyT, Call, Handler, QueryT, Route

_NO_BODY = NoBody()

#: The names of the fields that a request's body gave; the audit trail says which they were.
GIVEN_FIELDS: web.RequestKey[tuple[str, ...]] = web.RequestKey("given_fields", tuple)


def handler_of(route: Route[QueryT, BodyT, AnswerT]) -> Handler:
    """Return the server's handler of a route. Nothing is read for strangers, or for a merchant without calls left."""
    without_body = parse_body(route.body, {}) if route.method in WITHOUT_BODY else None

    async def identified(request: web.Request) -> web.StreamResponse:
        caller = request[PRINCIPAL] = await authenticated(request)
        # Requests of one connection share a context.
        former = structlog.contextvars.bind_contextvars(merchant_id=caller.merchant_id)
        try:
            await admit(request, caller)
            check_allowed(caller, route)
            return await carried_out(request, caller)
        finally:
            structlog.contextvars.reset_contextvars(**former)

    async def carried_out(request: web.Request, caller: Principal | None = None) -> web.StreamResponse:
        given = await read_body(request, route) if without_body is None else None
        if isinstance(given, dict):
            request[GIVEN_FIELDS] = tuple(given)
        before = Call(
            deps=request.app[DEPENDENCIES],
            caller=caller,
            path=request.match_info,
            query=parse_query(route.query, request.query),
            body=_NO_BODY,
            resource_id=new_id() if without_body is None else "",
            address=request.remote or "",
            accept=request.headers.get(hdrs.ACCEPT, ""),
        )
        call = before.with_body(await _body_of(route, before, given) if without_body is None else without_body)
        if route.idempotent:
            return await once(request, route, call)
        reply = await route.handler(call)
        if reply.stream is not None:
            return await reply.stream(request)
        return respond(request, payload_of(reply), status=reply.status)

    return carried_out if route.public else identified


async def _body_of(route: Route[QueryT, BodyT, AnswerT], call: Call[QueryT, NoBody], given: object) -> BodyT:
    try:
        return parse_body(route.body, given)
    except InvalidContent as error:
        if route.further_problems is None:
            raise
        further = await route.further_problems(call, given)
        raise InvalidContent(error.message, problems=joined(error.problems, further)) from None


def add_routes(app: web.Application, routes: Sequence[AnyRoute]) -> dict[Handler, AnyRoute]:
    """Register routes and return them by handler, which is how middlewares find the route of a request.

    Each path answers every method by itself: `PUT /contacts/import` is no change of a contact with the id `import`.
    """
    by_handler: dict[Handler, AnyRoute] = {}
    by_path: defaultdict[str, list[AnyRoute]] = defaultdict(list)
    for route in routes:
        by_path[route.path].append(route)
    for path, of_path in by_path.items():
        resource = app.router.add_resource(path)
        for route in of_path:
            handler = handler_of(route)
            by_handler[handler] = route
            for method in _methods_of(route):
                resource.add_route(method, handler)
        resource.add_route(hdrs.METH_ANY, _refusal(of_path))
    return by_handler


def _methods_of(route: AnyRoute) -> tuple[str, ...]:
    """Return what a route answers to: to HEAD as to GET (RFC 9110, 9.1), but for what has no end."""
    return (route.method, hdrs.METH_HEAD) if route.method == hdrs.METH_GET and not route.streams else (route.method,)


def _refusal(routes: Iterable[AnyRoute]) -> Handler:
    """Return the handler of the methods that a path does not have; such a call counts as any other."""
    allowed = {method for route in routes for method in _methods_of(route)}
    public = all(route.public for route in routes)

    async def refused(request: web.Request) -> web.StreamResponse:
        if not public and hdrs.AUTHORIZATION in request.headers:
            await admit(request, await authenticated(request))
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refused
