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

from domain.errors import InvalidRequest, PayloadTooLarge, Problem, UnsupportedMedia
from gateway.answers import JSON
from gateway.body_deadline import read_in_time
from gateway.dependencies import DEPENDENCIES
from gateway.models.base import NoBody
from gateway.parsing import parse_json
from gateway.routing import AnyRoute


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A body that was read: any JSON value."""

    value: object


JSON_BODY: web.RequestKey[JsonBody] = web.RequestKey("json_body", JsonBody)

#: What comes with a request of these methods is not looked at.
WITHOUT_BODY = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


async def read_body(request: web.Request, route: AnyRoute) -> object:
    """Return what the body of a request to a route holds, an empty object where there is none.

    Raises:
        InvalidRequest: when it is missing, or no JSON.
        UnsupportedMedia: when it is compressed, or declared as something else.
        PayloadTooLarge: when it is over the limit.
    """
    raw = await _read(request)
    if raw:
        body = request[JSON_BODY] = JsonBody(_parse(request, raw))
        return body.value
    if not _may_be_empty(route):
        raise InvalidRequest("The body is missing", problems=(Problem("body", "is missing"),))
    return {}


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
