from __future__ import annotations

import re

from aiohttp import web
from aiohttp.typedefs import Handler

from config.origin import REQUEST
from domain.ids import new_id
from gateway.answers import REQUEST_ID

HEADER = "X-Request-Id"
_FORM = re.compile(r"[A-Za-z0-9._-]{1,128}")


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the caller's id for the request, or make one; every log line about the request has it."""
    given = request.headers.get(HEADER, "")
    request[REQUEST_ID] = given if _FORM.fullmatch(given) else new_id()
    # Requests of one connection share a context.
    former = REQUEST.set(request[REQUEST_ID])
    try:
        return await handler(request)
    finally:
        REQUEST.reset(former)


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Name the request's id in an answer's head; a signal, so that streamed answers have it too."""
    if REQUEST_ID in request:  # else it never came as far, and the answer has an id already
        response.headers[HEADER] = request[REQUEST_ID]
