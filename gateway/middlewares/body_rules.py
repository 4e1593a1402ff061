"""What a body may be: JSON, not compressed, bounded in size and depth (contract, part 2).

| body | answer |
| --- | --- |
| compressed | 415 |
| too large | 413 |
| declared as JSON, but none | 400 |
| JSON, but not declared as it | 400 |
| neither | 415 |
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from domain.errors import InvalidRequest, PayloadTooLarge, Problem, UnsupportedMedia
from gateway.answers import JSON
from gateway.body_deadline import read_in_time
from gateway.dependencies import DEPENDENCIES
from gateway.models.base import NoBody
from gateway.parsing import parse_json
from gateway.routing import AnyRoute, route_of


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A body that was read: any JSON value."""

    value: object


JSON_BODY: web.RequestKey[JsonBody] = web.RequestKey("json_body", JsonBody)

_WITHOUT_BODY = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


@web.middleware
async def body_rules(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the body of an API request; other routes read their own."""
    route = route_of(request)
    if route is not None and request.method not in _WITHOUT_BODY:
        raw = await _read(request)
        if raw:
            request[JSON_BODY] = JsonBody(_parse(request, raw))
        elif not _may_be_empty(route):
            raise InvalidRequest("The body is missing", problems=(Problem("body", "is missing"),))
    return await handler(request)


async def _read(request: web.Request) -> bytes:
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise UnsupportedMedia("A compressed body is not taken")
    most = request.client_max_size
    if request.content_length is not None and request.content_length > most:
        raise PayloadTooLarge(f"The body is over {most} bytes")
    return await read_in_time(request, request.app[DEPENDENCIES].settings.request_body_timeout_s)


def _parse(request: web.Request, raw: bytes) -> object:
    # A missing header reads as application/octet-stream.
    declared = request.content_type == JSON
    try:
        value = parse_json(raw)
    except InvalidRequest:
        if declared:
            raise
        raise UnsupportedMedia("The body must be JSON, declared as application/json") from None
    if not declared:
        raise InvalidRequest(
            "The body must be declared as application/json",
            problems=(Problem(hdrs.CONTENT_TYPE, "must be application/json"),),
        )
    return value


def _may_be_empty(route: AnyRoute) -> bool:
    return route.body_optional or route.body is NoBody
