"""One HTTP call of X: bounded in time and size, never redirected, its failure classified.

X's answers are untrusted: at most a mebibyte is read, and JSON is parsed only by who knows what it must hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
import orjson
from yarl import URL

from config.settings import Settings
from domain.clock import Clock
from domain.errors import XRefused
from domain.x_errors import XFailure, broken_connection, classify
from domain.x_rate_headers import RateHeaders, rate_headers

MOST_ANSWER_BYTES = 1024 * 1024
#: Calls of X under way at once in one process; more would wait for a connection, which counts as X's time.
MOST_CONNECTIONS = 200
_USER_AGENT = "mktx"

JsonObject = dict[str, object]


class XApiError(XRefused):
    """X refused, broke, or could not be reached; `failure` says which, and whether the call may have had its effect."""

    def __init__(self, failure: XFailure, *, x_status: int | None = None, limits: RateHeaders | None = None) -> None:
        super().__init__(
            f"X: {failure.reason}",
            details={"reason": failure.reason, "code": failure.x_code, "text": failure.x_text},
            retry_after_s=failure.retry_after_s,
        )
        self.failure = failure
        self.x_status = x_status
        self.limits = limits or RateHeaders()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as what it was made of."""
        return (_restored, (self.failure, self.x_status, self.limits))


def _restored(failure: XFailure, x_status: int | None, limits: RateHeaders) -> XApiError:
    return XApiError(failure, x_status=x_status, limits=limits)


@dataclass(frozen=True, slots=True)
class XAnswer:
    """A successful answer of X, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    failure: XFailure
    """What the answer means should its body not hold what was asked for."""

    async def json(self) -> JsonObject:
        """Return the body's JSON object (awaitable, as tweepy expects of an answer).

        Raises:
            XApiError: when the body is no JSON object.
        """
        return self.content()

    def content(self) -> JsonObject:
        """Return the body's JSON object; an empty body is an empty object.

        Raises:
            XApiError: when the body is no JSON object.
        """
        try:
            parsed: object = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError:
            raise self.unreadable() from None
        if not isinstance(parsed, dict):
            raise self.unreadable()
        return parsed

    def data(self) -> JsonObject:
        """Return the object under `data`.

        Raises:
            XApiError: when there is none; a 2xx that holds only `errors` is one of those.
        """
        data = self.content().get("data")
        if not isinstance(data, dict):
            raise self.unreadable()
        return data

    def limits(self) -> RateHeaders:
        """Return what the answer said of the limits."""
        return rate_headers(self.headers)

    def unreadable(self) -> XApiError:
        """Return the error of an answer that does not hold what was asked for."""
        return XApiError(self.failure, x_status=self.status, limits=self.limits())


@dataclass(frozen=True, slots=True)
class XRequest:
    """One call: where to, with what, and whether it could make a message (`send`)."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    form: aiohttp.FormData | None = None
    send: bool = False


def open_session() -> aiohttp.ClientSession:
    """Return the one long-lived session that all calls of X share; whoever opened it closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": _USER_AGENT},
    )


class XTransport:
    """Carries calls of X over a shared session."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        # Connecting gets its own, shorter limit, so that when the whole call's limit ends a call it was connected.
        self._timeout = aiohttp.ClientTimeout(total=settings.x_timeout_s, connect=settings.x_timeout_s / 2)

    async def call(self, request: XRequest) -> XAnswer:
        """Make one call and return its answer.

        A caller that is cancelled while this runs does not know the outcome either.

        Raises:
            XApiError: for every answer but a 2xx, and when there is none.
        """
        try:
            # The address is encoded and signed already: another encoding would break the signature.
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=_body_of(request),
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                status, headers = response.status, response.headers
                try:
                    body = await _read(response)
                except (aiohttp.ClientError, TimeoutError):
                    if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
                        raise
                    body = b""  # the status alone says that it was refused
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            failure = broken_connection(written=False, send=request.send, reason="x_unreachable")
            raise XApiError(failure) from error
        except TimeoutError as error:
            failure = broken_connection(written=True, send=request.send, reason="x_timeout")
            raise XApiError(failure) from error
        except (aiohttp.ClientError, OSError) as error:
            failure = broken_connection(written=True, send=request.send, reason="x_connection_broken")
            raise XApiError(failure) from error
        failure = classify(status, body, headers, self._clock.now(), send=request.send)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise XApiError(failure, x_status=status, limits=rate_headers(headers))
        return XAnswer(status, headers, body, failure)


def _body_of(request: XRequest) -> aiohttp.FormData | bytes | None:
    if request.form is not None:
        return request.form
    return None if request.json is None else orjson.dumps(request.json)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a body of bounded size; a longer one is given up, and its connection with it."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > MOST_ANSWER_BYTES:
            response.close()
            raise aiohttp.ClientPayloadError("the answer is too large")
    return bytes(content)
