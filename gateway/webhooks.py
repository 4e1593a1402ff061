"""X's webhook: the challenge, and the signed calls that bring events (contract, part 4).

This is the hot path: verify, parse, one durable group commit, answer. It goes past what serves people's requests.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence

import orjson
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pymongo.errors import PyMongoError

from config.origin import REQUEST
from config.settings import Settings
from config.tracing import is_tracing, span, traceparent
from domain.clock import Clock
from domain.errors import (
    InvalidRequest,
    MktxError,
    Overloaded,
    PayloadTooLarge,
    Problem,
    Unauthenticated,
    UnsupportedMedia,
)
from domain.ids import new_id
from domain.lone_message import lone_message
from domain.x_normalise import UnknownEnvelope, normalise
from domain.x_signature import crc_answer, is_signed
from gateway.answers import HEADERS, JSON, REQUEST_ID, dumps, failure, failure_headers
from gateway.body_deadline import read_in_time
from gateway.commit import REQUESTS, GroupCommit
from gateway.middlewares.errors import errors
from gateway.middlewares.request_id import HEADER
from gateway.paths import API
from gateway.whole_calls import Head, Taken, rendered
from storage.inbox import Arrival, Inbox, traced

log = structlog.get_logger()

PATH = f"{API}/webhooks/twitter"
VERIFY_PATH = f"{API}/webhooks/verify"
SIGNATURE_HEADER = "x-twitter-webhooks-signature"

_ANSWER = b'{"success":true,"data":null}'

_UNSIGNED = REQUESTS.labels("unsigned")
_UNREADABLE = REQUESTS.labels("unreadable")
_REFUSED = REQUESTS.labels("refused")
_UNAVAILABLE = REQUESTS.labels("unavailable")


class Webhooks:
    """Takes in what X calls: in one piece where it comes so (`gateway/whole_calls.py`), else as a request."""

    path = PATH

    def __init__(self, settings: Settings, commit: GroupCommit, inbox: Inbox, clock: Clock) -> None:
        former = settings.x_consumer_secret_old.get_secret_value().encode()
        self._secret = settings.x_consumer_secret.get_secret_value().encode()
        self._secrets = [secret for secret in (self._secret, former) if secret]
        self._largest_body = settings.max_body_bytes
        self._body_timeout_s = settings.request_body_timeout_s
        self._commit = commit
        self._inbox = inbox
        self._clock = clock
        self._process = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    def add_to(self, app: web.Application) -> Mapping[str, Handler]:
        """Register the paths, and return what the server may call by its address alone (`gateway/http_server.py`).

        X uses one address for the challenge and the calls.
        """
        app.router.add_post(PATH, self.receive)
        app.router.add_get(PATH, self._challenge)
        app.router.add_get(VERIFY_PATH, self._challenge)
        return {PATH: self.receive}

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Take a call of X; what is wrong with it is answered in the shape of all errors."""
        request_id = request[REQUEST_ID] = self._next_id()
        former = REQUEST.set(request_id)
        try:
            with span("webhook", parent=""):
                response = await errors(request, self._receive)
        finally:
            REQUEST.reset(former)
        response.headers[HEADER] = request_id
        if response.status != web.HTTPOk.status_code:
            self._count_refusal(response.status)
        return response

    def _next_id(self) -> str:
        return f"{self._process}-{next(self._numbers):x}"

    def take(self, message: Head, body: bytes) -> Taken | None:
        """Take a call that is signed, can be read and finds room; any other, and every one that is traced, is left."""
        start = time.monotonic()
        signature = _only(message.headers.getall(SIGNATURE_HEADER, []))
        if is_tracing() or len(body) > self._largest_body or not is_signed(body, signature, self._secrets):
            return None
        try:
            done = self._commit.add(self._read_events(body), start)
        except (UnknownEnvelope, orjson.JSONDecodeError, Overloaded):
            return None
        return Taken(done, self._next_id())

    def answer(self, taken: Taken) -> bytes:
        """Return the answer to a call whose events are durable, or are not known to be."""
        error = taken.done.exception()
        if error is None:
            return rendered(web.HTTPOk.status_code, {hdrs.CONTENT_TYPE: JSON, HEADER: taken.request_id}, _ANSWER)
        refused = error if isinstance(error, MktxError) else MktxError("Something went wrong on our side")
        log.warning("request.failed", code=refused.code, status=refused.http_status, request_id=taken.request_id)
        self._count_refusal(refused.http_status)
        headers = HEADERS | failure_headers(refused) | {HEADER: taken.request_id}
        return rendered(refused.http_status, headers, dumps(failure(refused) | {"requestId": taken.request_id}))

    @staticmethod
    def _count_refusal(status: int) -> None:
        if status == web.HTTPUnauthorized.status_code:
            _UNSIGNED.inc()
        elif status == web.HTTPBadRequest.status_code:
            _UNREADABLE.inc()
        elif status >= web.HTTPInternalServerError.status_code:
            _UNAVAILABLE.inc()
        else:
            _REFUSED.inc()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        start = time.monotonic()
        body = await self._read(request)
        if not is_signed(body, _only(request.headers.getall(SIGNATURE_HEADER, [])), self._secrets):
            raise Unauthenticated("The signature is missing or wrong")
        events = await self._events(body)
        if is_tracing():
            events = traced(events, traceparent())
        await self._commit.add(events, start)
        return web.Response(body=_ANSWER, content_type=JSON)

    async def _read(self, request: web.Request) -> bytes:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise UnsupportedMedia("A compressed body is not taken")
        if request.content_length is not None and request.content_length > request.client_max_size:
            raise PayloadTooLarge(f"The body is over {request.client_max_size} bytes")
        if request.content.is_eof():
            return await request.read()
        return await read_in_time(request, self._body_timeout_s)

    async def _events(self, body: bytes) -> Sequence[Arrival]:
        try:
            return self._read_events(body)
        except (UnknownEnvelope, orjson.JSONDecodeError) as error:
            reason = error.message if isinstance(error, MktxError) else "the body is no JSON"
            await self._bury(body, reason)
            raise InvalidRequest("The body is no event of X", problems=(Problem("body", reason),)) from None

    def _read_events(self, body: bytes) -> Sequence[Arrival]:
        payload = orjson.loads(body)
        lone = lone_message(payload, body)
        return normalise(payload, self._clock.now()) if lone is None else (lone,)

    async def _bury(self, body: bytes, reason: str) -> None:
        try:
            await self._inbox.bury_body(body, reason, new_id(), self._clock.now())
        except PyMongoError as error:
            # X will not send it again after a 400, and there is nothing in it that could be processed.
            log.warning("webhook.not_buried", error=type(error).__name__)

    async def _challenge(self, request: web.Request) -> web.StreamResponse:
        tokens = request.query.getall("crc_token", [])
        if len(tokens) != 1:
            raise InvalidRequest("The challenge is missing", problems=(Problem("crc_token", "must be given once"),))
        token = crc_answer(self._secret, tokens[0])
        return web.Response(body=orjson.dumps({"response_token": token}), content_type=JSON)


def _only(given: list[str]) -> str | None:
    """Return the one header that was given; of several nobody could say which one counts."""
    return given[0] if len(given) == 1 else None
