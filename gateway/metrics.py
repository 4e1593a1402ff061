"""What the HTTP side counts, and the page that Prometheus scrapes."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("mktx_http_requests_total", "HTTP requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "mktx_http_request_seconds",
    "Time from a request's head to its answer, in seconds.",
    ["route", "method"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
UNHANDLED_ERRORS = Counter("mktx_unhandled_errors_total", "Errors that nothing expected.", ["error"])


def registry() -> CollectorRegistry:
    """Return what is scraped: every process of the machine in multiprocess mode, else this process alone."""
    shared = CollectorRegistry()
    try:
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # the library types only a part of itself
    except ValueError:
        # The library's way to say that PROMETHEUS_MULTIPROC_DIR is not set.
        return REGISTRY
    return shared


async def metrics(_request: web.Request) -> web.Response:
    """Answer all metrics in Prometheus' text format."""
    # Multiprocess mode reads files, one a process and kind.
    body = await asyncio.to_thread(lambda: generate_latest(registry()))
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
