"""Spans of what is done, sent to an OpenTelemetry collector; off unless `MKTX_TRACING_ENDPOINT` is set.

While it is off nothing of OpenTelemetry is loaded, and a span is one call that returns a constant. Names and attributes
of spans never hold what people write; of an error its class alone is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import structlog

from config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = structlog.get_logger()

#: What an attribute may be.
Attribute = str | int | bool

#: The path below a collector's address that takes spans (OTLP/HTTP).
_PATH: Final = "/v1/traces"
#: How long one delivery of spans may take, repetitions included; they are lost then.
_TIMEOUT_S: Final = 2.0
_EVERY_MS: Final = 1_000
#: A batch holds the events of many calls; a span with more links than this would be cut by the exporter anyway.
_MOST_LINKS: Final = 128
_PARENT: Final = "traceparent"
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class _Tracing:
    """What this process traces with; nothing while tracing is off."""

    provider: TracerProvider | None = None
    tracer: Tracer | None = None


def configure_tracing(settings: Settings, *, process: str) -> None:
    """Have this process send its spans where the settings say, under the name of the process."""
    if not settings.tracing_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # costs time
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": "mktx", "service.instance.id": process})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=settings.tracing_endpoint + _PATH, timeout=_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MS))
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer("mktx")
    log.info("tracing.on", endpoint=settings.tracing_endpoint)


def close_tracing() -> None:
    """Send what has not been sent yet, and trace no more; blocks for seconds where the collector does not answer."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider is not None:
        provider.shutdown()


def is_tracing() -> bool:
    """Whether spans go anywhere."""
    return _Tracing.tracer is not None


def span(
    name: str,
    *,
    parent: str | None = None,
    links: Collection[str] = (),
    **attributes: Attribute,
) -> AbstractContextManager[None]:
    """Have what is done within the block be one span; what it starts has it as its parent.

    `parent` and `links` are W3C traceparents. Without a parent it is what is being done already; an empty one begins a
    new trace.
    """
    tracer = _Tracing.tracer
    return _NOTHING if tracer is None else _recorded(tracer, name, parent, links, attributes)


def traceparent() -> str:
    """Return the W3C traceparent of what is being done; empty where that is not traced."""
    if _Tracing.tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_PARENT, "")


@contextmanager
def under(parent: str) -> Iterator[None]:
    """Have what is done within the block be a part of that trace; of none where it is empty."""
    if _Tracing.tracer is None:
        yield
        return
    from opentelemetry import context  # noqa: PLC0415

    token = context.attach(_context_of(parent))
    try:
        yield
    finally:
        context.detach(token)


def _context_of(parent: str) -> Context:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({_PARENT: parent}, Context())


@contextmanager
def _recorded(
    tracer: Tracer, name: str, parent: str | None, links: Collection[str], attributes: dict[str, Attribute]
) -> Iterator[None]:
    from opentelemetry.trace import Link, Status, StatusCode, get_current_span  # noqa: PLC0415

    linked = [Link(get_current_span(_context_of(each)).get_span_context()) for each in list(links)[:_MOST_LINKS]]
    with tracer.start_as_current_span(
        name,
        context=None if parent is None else _context_of(parent),
        attributes=attributes,
        links=linked,
        # An error's text may hold what a customer wrote.
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        try:
            yield
        except BaseException as error:
            recorded.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
