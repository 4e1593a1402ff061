from __future__ import annotations

import time

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.metrics import REQUESTS, SECONDS

_METHODS = frozenset(hdrs.METH_ALL) - {hdrs.METH_ANY}


@web.middleware
async def metrics(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and time each request by the pattern of its route; what the caller made up never becomes a label."""
    method = request.method if request.method in _METHODS else "other"
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    status = "aborted"
    start = time.perf_counter()
    try:
        response = await handler(request)
        status = str(response.status)
        return response
    finally:
        SECONDS.labels(route=route, method=method).observe(time.perf_counter() - start)
        REQUESTS.labels(route=route, method=method, status=status).inc()
