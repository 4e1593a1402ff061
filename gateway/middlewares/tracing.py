from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from config.tracing import span

_HEADER = "traceparent"


@web.middleware
async def tracing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have each request be a span, named by the pattern of its route; a caller's own trace is gone on with."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    with span(f"{request.method} {route}", parent=request.headers.get(_HEADER, "")):
        return await handler(request)
