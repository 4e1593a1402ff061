"""Calls that come in one piece: parsed by aiohttp, then answered without a task, a request or a response of their own.

What aiohttp builds around a handler costs more than verifying and storing a webhook call does
(docs/decisions/0009-short-way-of-webhooks.md). A call whose head and body arrive together, on a connection that has
nothing else to do, is therefore looked at where the parser hands it over. Whatever is not plainly such a call, or not
taken, goes on to aiohttp as if nobody had looked.

This module alone relies on how `aiohttp.web.RequestHandler` works inside; `tests/gateway/test_whole_calls.py` holds it
to that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, Protocol, TypeAlias

import structlog
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.http_parser import HttpRequestParser, RawRequestMessagePy

from gateway.metrics import UNHANDLED_ERRORS

log = structlog.get_logger()

#: The head of a message; the parser in C makes one of the same fields.
Head: TypeAlias = RawRequestMessagePy
#: What the parser hands over of one feed: messages with their bodies, whether the protocol changes, and what is left.
_Parsed: TypeAlias = tuple[Sequence[tuple[Head, StreamReader]], bool, bytes]

_NOTHING: _Parsed = ((), False, b"")
#: A larger body may make its reader stop the connection, which is left to aiohttp.
_LARGEST_BODY = 64 * 1024
_MAY_CHANGE_THE_BODY = (hdrs.CONTENT_ENCODING, hdrs.EXPECT)


class Taken(NamedTuple):
    """A call that will be answered; `done` ends when it can be."""

    done: asyncio.Future[None]
    request_id: str


class WholeCalls(Protocol):
    """Takes calls and answers them."""

    path: str

    def take(self, message: Head, body: bytes) -> Taken | None:
        """Take a POST to `path`; None sends it on to its handler, as it came."""
        ...

    def answer(self, taken: Taken) -> bytes:
        """Return the answer, from status line to body, to a call that is done."""
        ...


def rendered(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return an answer as it is sent."""
    head = _FIRST_LINES[status]
    for name, value in headers.items():
        head += f"{name}: {value}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{_LastLines.now()}".encode() + body


_FIRST_LINES: Mapping[int, str] = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


class _LastLines:
    """What ends the head of every answer, written once a second because of the date."""

    _second = 0
    _written = ""

    @classmethod
    def now(cls) -> str:
        second = int(time.time())
        if second != cls._second:
            date = formatdate(second, usegmt=True)
            cls._second, cls._written = second, f"Date: {date}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
        return cls._written


class _Parser:
    """Stands between a connection and its parser."""

    __slots__ = ("_connection", "_parser", "feed_eof", "message_consumed", "pause_reading")

    def __init__(self, connection: WholeCallConnection, parser: HttpRequestParser) -> None:
        self._connection = connection
        self._parser = parser
        self.feed_eof = parser.feed_eof
        self.message_consumed = parser.message_consumed
        self.pause_reading = parser.pause_reading

    def feed_data(self, data: bytes) -> _Parsed:
        connection = self._connection
        if connection.is_answering:
            connection.hold(data)
            return _NOTHING
        parsed: _Parsed = self._parser.feed_data(data)
        messages, upgraded, _ = parsed
        if len(messages) != 1 or upgraded:
            return parsed
        message, payload = messages[0]
        body = connection.body_if_whole(message, payload)
        if body is None:
            return parsed
        if connection.takes(message, body):
            self._parser.message_consumed()
            return _NOTHING
        return ((message, connection.unread(body)),), False, b""


class WholeCallConnection(web.RequestHandler):
    """A connection whose whole calls, if there is somebody to take them, never become requests."""

    __slots__ = ("_calls", "_held", "_taken")

    def __init__(self, *args: object, calls: WholeCalls | None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came
        self._calls = calls
        self._taken: Taken | None = None
        self._held = b""
        if calls is not None:
            self._parser = _Parser(self, self._parser)  # type: ignore[assignment,arg-type]  # has what is used of it

    @property
    def is_answering(self) -> bool:
        """Whether a call was taken and has no answer yet."""
        return self._taken is not None

    def hold(self, data: bytes) -> None:
        """Keep what comes while a call is under way: answers go out in the order of calls."""
        if data:
            self._held += data
            self._pause_reading_for_buffer()

    def body_if_whole(self, message: Head, payload: StreamReader) -> bytes | None:
        """Return a call's body if all of it is here and it may be for us; it is read then."""
        if (
            self._calls is None
            or message.path != self._calls.path
            or message.method != hdrs.METH_POST
            or message.version != HttpVersion11
            or message.should_close
            or message.chunked
            or not payload.is_eof()
            or payload.total_bytes > _LARGEST_BODY
            or any(name in message.headers for name in _MAY_CHANGE_THE_BODY)
            or not self._has_nothing_to_do()
        ):
            return None
        return payload.read_nowait()

    def _has_nothing_to_do(self) -> bool:
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages and not self.writing_paused

    def unread(self, body: bytes) -> StreamReader:
        """Return a body as it was before it was read."""
        payload = StreamReader(self, self._read_bufsize, loop=self._loop)
        payload.feed_data(body)
        payload.feed_eof()
        return payload

    def takes(self, message: Head, body: bytes) -> bool:
        """Say whether the call was taken; it is answered by and by then."""
        if self._calls is None:
            return False
        try:
            taken = self._calls.take(message, body)
        except Exception as error:
            # The connection has others to serve; the handler will meet with the same, and answer it.
            log.exception("call.broke")
            UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
            return False
        if taken is None:
            return False
        self._taken = taken
        taken.done.add_done_callback(self._answer)
        return True

    def _answer(self, _done: asyncio.Future[None]) -> None:
        taken, self._taken = self._taken, None
        # Nobody is there any more where there is no transport.
        if taken is None or self._calls is None or self.transport is None:
            return
        self.transport.write(self._calls.answer(taken))
        if self._force_close:
            self.transport.close()
            return
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        if self._held:
            data, self._held = self._held, b""
            self._buffer_paused = False
            self.data_received(data)
            if not self._buffer_paused:
                self._resume_reading_for_buffer()

    def _process_keepalive(self) -> None:
        if self.is_answering:
            # Whoever waits for an answer is not idle, however long the database takes.
            self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        super()._process_keepalive()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  # aiohttp's
        """Answer what was taken, then close."""
        if self._taken is not None:
            await asyncio.wait([self._taken.done], timeout=timeout)
            # The answer is written by what the future calls when it ends.
            await asyncio.sleep(0)
        await super().shutdown(timeout)
