"""Turns a route into what the server calls: parse, one call, answer."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import hdrs, web

from domain.ids import new_id
from gateway.answers import respond
from gateway.dependencies import DEPENDENCIES
from gateway.idempotency import once
from gateway.middlewares.authentication import PRINCIPAL
from gateway.middlewares.body_rules import JSON_BODY
from gateway.parsing import parse_body, parse_query
from gateway.payloads import payload_of
from gateway.routing import AnswerT, AnyRoute, BodyT, Call, Handler, QueryT, Route


def handler_of(route: Route[QueryT, BodyT, AnswerT]) -> Handler:
    """Return the server's handler of a route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = request.get(JSON_BODY)
        call = Call(
            deps=request.app[DEPENDENCIES],
            caller=request.get(PRINCIPAL),
            path=request.match_info,
            query=parse_query(route.query, request.query),
            body=parse_body(route.body, {} if body is None else body.value),
            resource_id=new_id(),
            address=request.remote or "",
            accept=request.headers.get(hdrs.ACCEPT, ""),
        )
        if route.idempotent:
            return await once(request, route, call)
        reply = await route.handler(call)
        if reply.stream is not None:
            return await reply.stream(request)
        return respond(request, payload_of(reply), status=reply.status)

    return handle


def add_routes(app: web.Application, routes: Sequence[AnyRoute]) -> dict[Handler, AnyRoute]:
    """Register routes and return them by handler, which is how middlewares find the route of a request."""
    by_handler: dict[Handler, AnyRoute] = {}
    for route in routes:
        handler = handler_of(route)
        app.router.add_route(route.method, route.path, handler)
        by_handler[handler] = route
    return by_handler
