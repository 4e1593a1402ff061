"""A collector of traces: an HTTP server that takes what OpenTelemetry's exporter sends, and keeps the spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Recorded:
    """One span as it arrived."""

    name: str
    process: str
    trace: str
    id: str
    parent: str
    links: frozenset[str]
    failed: bool
    attributes: dict[str, object]
    events: int


@dataclass
class Collector:
    url: str = ""
    spans: list[Recorded] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert named["service.name"] == "mktx"
            for scope in resource.scope_spans:
                self.spans += [_recorded(span, named["service.instance.id"]) for span in scope.spans]
        return web.Response()

    def named(self, name: str) -> list[Recorded]:
        return [span for span in self.spans if span.name == name]

    async def until(self, name: str, count: int = 1) -> list[Recorded]:
        async with asyncio.timeout(60):
            while len(self.named(name)) < count:
                await asyncio.sleep(0.05)
        return self.named(name)

    def parent_of(self, span: Recorded) -> Recorded:
        [parent] = [each for each in self.spans if each.id == span.parent]
        return parent


def _recorded(span, process: str) -> Recorded:
    return Recorded(
        name=span.name,
        process=process,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=frozenset(link.span_id.hex() for link in span.links),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes={each.key: each.value.string_value or each.value.int_value for each in span.attributes},
        events=len(span.events),
    )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Have a collector run."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    server = TestServer(app)
    await server.start_server()
    collector.url = str(server.make_url("/")).rstrip("/")
    yield collector
    await server.close()
