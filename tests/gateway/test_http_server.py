"""What the HTTP server answers by itself: in the API's shape, with a request id, and no byte of what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.http_server import Runner

HEAD = b" HTTP/1.1\r\nHost: shop\r\n"
LIVE = b"GET /health/live"
TOO_LONG = "The request line or a header is too long"
NOT_HTTP = "The request is not valid HTTP"


@pytest.fixture
async def port(deps: Dependencies) -> AsyncIterator[int]:
    runner = Runner(create_app(deps))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


async def answer_to(port: int, request_bytes: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send raw bytes on a new connection; returns status, headers in lower case, and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    if status.startswith("HTTP/1.0"):
        assert await reader.read() == b""  # the connection is closed
    writer.close()
    return int(status.split()[1]), headers, orjson.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (b"GET /" + b"planted" * 1300 + HEAD + b"\r\n", TOO_LONG),
        (LIVE + b"?" + b"planted" * 1300 + HEAD + b"\r\n", TOO_LONG),
        (LIVE + HEAD + b"planted" * 1300 + b": 1\r\n\r\n", TOO_LONG),
        (LIVE + HEAD + b"Authorization: Bearer " + b"planted" * 1300 + b"\r\n\r\n", TOO_LONG),
        (LIVE + HEAD + b"".join(b"planted-%d: 1\r\n" % number for number in range(2000)) + b"\r\n", NOT_HTTP),
        (b"PLANTED!! /x" + HEAD + b"\r\n", NOT_HTTP),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03planted", NOT_HTTP),
        (b"GET /planted HTTP/9.9\r\n\r\n", NOT_HTTP),
        (LIVE + HEAD + b"planted without a colon\r\n\r\n", NOT_HTTP),
        (LIVE + HEAD + b"a: planted\x00\r\n\r\n", NOT_HTTP),
        (LIVE + HEAD + b"Content-Length: planted\r\n\r\n", NOT_HTTP),
        (LIVE + HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NOT_HTTP),
        (LIVE + HEAD + b"Transfer-Encoding: planted\r\n\r\n", NOT_HTTP),
        (LIVE + b" HTTP/1.1\r\nX-Planted: planted\r\n\r\n", NOT_HTTP),
        (b"GET http://[planted HTTP/1.1\r\nHost: shop\r\n\r\n", NOT_HTTP),
    ],
)
async def test_what_is_no_http_or_too_long_is_refused_in_the_apis_shape(
    port: int, request_bytes: bytes, reason: str
) -> None:
    status, headers, answer = await answer_to(port, request_bytes)
    assert status == 400
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert answer == {
        "success": False,
        "error": reason,
        "code": "VALIDATION_ERROR",
        "details": {"field": None, "reason": reason, "errors": []},
        "requestId": headers["x-request-id"],
    }
    assert "planted" not in f"{headers}{answer}".lower()


async def test_an_expectation_that_is_not_known_is_refused_without_an_echo(port: int) -> None:
    status, headers, answer = await answer_to(port, LIVE + HEAD + b"Expect: planted\r\n\r\n")
    assert (status, answer["code"], answer["requestId"]) == (417, "VALIDATION_ERROR", headers["x-request-id"])
    assert "planted" not in f"{headers}{answer}"


async def test_what_breaks_before_anything_of_ours_is_answered_without_a_word_of_it() -> None:
    async def broken(_: web.Request) -> web.Response:
        raise ValueError("planted")

    app = web.Application()
    app.router.add_get("/broken", broken)
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    status, headers, answer = await answer_to(int(runner.addresses[0][1]), b"GET /broken" + HEAD + b"\r\n")
    await runner.cleanup()
    assert (status, answer["code"], answer["requestId"]) == (500, "INTERNAL_ERROR", headers["x-request-id"])
    assert "planted" not in f"{headers}{answer}"


async def test_what_is_within_the_limits_is_served(port: int) -> None:
    status, _, answer = await answer_to(port, LIVE + HEAD + b"a: " + b"b" * 8000 + b"\r\n\r\n")
    assert status == 200
    assert answer
