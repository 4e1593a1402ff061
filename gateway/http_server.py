"""The server under the application: what it answers by itself has the API's shape too (contract, part 2).

A request that is no HTTP, or over the limits of its parser (8,190 bytes for the request line and for each header),
reaches no route and no middleware. The parser's own words about it are not passed on: they quote what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from aiohttp import hdrs, http_exceptions, web
from aiohttp.typedefs import Handler
from prometheus_client import Counter

from domain.errors import InvalidRequest, MktxError
from domain.ids import new_id
from gateway.answers import JSON, dumps, failure
from gateway.middlewares.request_id import HEADER
from gateway.whole_calls import WholeCallConnection, WholeCalls

log = structlog.get_logger()

UNREADABLE = Counter("mktx_http_unreadable_total", "Requests that the HTTP server refused by itself, by kind", ["kind"])

_SERVER_ERROR = 500


class Runner(web.AppRunner):
    """Runs an application on a server whose own answers are failures of the API.

    A POST to exactly one of the `express` addresses goes straight to its handler: the way through router, middlewares
    and signals costs a third of what the shortest handler does. Calls that come in one piece do not even get that far
    if `whole_calls` takes them.
    """

    __slots__ = ("_express", "_whole_calls")

    def __init__(
        self,
        app: web.Application,
        *,
        express: Mapping[str, Handler] | None = None,
        whole_calls: WholeCalls | None = None,
        keepalive_timeout: float = 75,
        shutdown_timeout: float = 60,
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            # A compressed body is refused unread; inflating it first would be a gift to whoever sends bombs.
            auto_decompress=False,
            keepalive_timeout=keepalive_timeout,
            shutdown_timeout=shutdown_timeout,
            handle_signals=False,
        )
        self._express = dict(express or {})
        self._whole_calls = whole_calls

    async def _make_server(self) -> web.Server:
        made, express = await super()._make_server(), self._express

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            handler = express.get(request.raw_path) if request.method == hdrs.METH_POST else None
            if handler is not None and isinstance(request, web.Request) and hdrs.EXPECT not in request.headers:
                return await handler(request)
            try:
                return await made.request_handler(request)
            except web.HTTPExpectationFailed as error:
                # An `Expect` header is looked at before any middleware.
                return _answer(InvalidRequest("The Expect header can't be met", status=error.status))

        server = _Server(handle, request_factory=made.request_factory, **self._kwargs)
        server.whole_calls = self._whole_calls
        return server


class _Server(web.Server):
    whole_calls: WholeCalls | None = None

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, calls=self.whole_calls, **self._kwargs)


class _Connection(WholeCallConnection):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it quotes the request
    ) -> web.StreamResponse:
        """Answer what never became a request of the application; the connection is closed."""
        kind = type(exc).__name__
        UNREADABLE.labels(kind=kind).inc()
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun already")
        if status >= _SERVER_ERROR:
            log.error("request.broke", exc_info=exc)
            error = MktxError("Something went wrong on our side")
        else:
            log.info("request.unreadable", kind=kind, address=request.remote)
            error = InvalidRequest(_reason(exc))
        response = _answer(error)
        response.force_close()
        return response


def _reason(error: BaseException | None) -> str:
    if isinstance(error, http_exceptions.LineTooLong):
        return "The request line or a header is too long"
    return "The request is not valid HTTP"


def _answer(error: MktxError) -> web.Response:
    request_id = new_id()
    payload = failure(error) | {"requestId": request_id}
    headers = {HEADER: request_id, hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(
        body=dumps(payload), status=error.http_status, content_type=JSON, charset="utf-8", headers=headers
    )
