from __future__ import annotations

import time
from functools import cache

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client import Counter, Histogram

from gateway.metrics import REQUESTS, SECONDS
from gateway.routing import route_of

_METHODS = frozenset(hdrs.METH_ALL) - {hdrs.METH_ANY}


@web.middleware
async def metrics(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and time each request by the pattern of its route; what the caller made up never becomes a label.

    How long a client listens to a stream says nothing about how fast we are: that is not timed.
    """
    method = request.method if request.method in _METHODS else "other"
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    api_route = route_of(request)
    status = "aborted"
    start = time.perf_counter()
    try:
        response = await handler(request)
        status = str(response.status)
        return response
    finally:
        if api_route is None or not api_route.streams:
            _seconds(route, method).observe(time.perf_counter() - start)
        _requests(route, method, status).inc()


# Finding a labelled metric costs more than counting; routes, methods and statuses are few.
@cache
def _seconds(route: str, method: str) -> Histogram:
    return SECONDS.labels(route=route, method=method)


@cache
def _requests(route: str, method: str, status: str) -> Counter:
    return REQUESTS.labels(route=route, method=method, status=status)
