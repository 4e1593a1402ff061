"""Calls that come in one piece: how they are told from others, and that nobody sees the difference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from aiohttp import web

from gateway.http_server import Runner
from gateway.middlewares.request_id import HEADER
from gateway.whole_calls import Head, Taken, rendered
from tests.gateway.conftest import eventually

PATH = "/hooks"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: shop\r\n"
KEEPALIVE_S = 30.0


def call(body: str, *headers: str, head: str = HEAD) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"{head}Content-Length: {len(body)}\r\n{lines}\r\n{body}".encode()


@dataclass
class Calls:
    """Takes every body that does not begin with `left`, and is done with one when it is told so."""

    path: str = PATH
    under_way: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def take(self, message: Head, body: bytes) -> Taken | None:
        assert message.path == PATH
        if body.startswith(b"broken"):
            raise ValueError
        if body.startswith(b"left"):
            return None
        done = self.under_way[body.decode()] = asyncio.get_running_loop().create_future()
        if body.startswith(b"now"):
            done.set_result(None)
        return Taken(done, body.decode())

    def answer(self, taken: Taken) -> bytes:
        return rendered(200, {HEADER: taken.request_id}, f"taken {taken.request_id}".encode())

    def finish(self, body: str) -> None:
        self.under_way[body].set_result(None)


async def handle(request: web.Request) -> web.Response:
    return web.Response(text=f"handled {(await request.text())[:20]}", headers={HEADER: "handler"})


@dataclass
class Server:
    calls: Calls
    runner: Runner
    port: int


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    app = web.Application(client_max_size=2**20)
    app.router.add_post(PATH, handle)
    app.router.add_get(PATH, handle)
    calls = Calls()
    runner = Runner(app, express={PATH: handle}, whole_calls=calls, keepalive_timeout=KEEPALIVE_S)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Server(calls, runner, int(runner.addresses[0][1]))
    await runner.cleanup()


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, server: Server) -> Connection:
        connection = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        # So that the server waits for a first request.
        await asyncio.sleep(0)
        return connection

    def send(self, sent: bytes) -> None:
        self.writer.write(sent)

    async def answer(self) -> str:
        return (await self.whole_answer())[1]

    async def whole_answer(self) -> tuple[dict[str, str], str]:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
            body = await self.reader.readexactly(int(headers["Content-Length"]))
        return headers, body.decode()

    async def is_closed(self) -> bool:
        async with asyncio.timeout(60):
            return await self.reader.read() == b""


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[Connection]:
    connection = await Connection.to(server)
    yield connection
    connection.writer.close()


async def until_taken(server: Server, body: str) -> None:
    await eventually(lambda: body in server.calls.under_way)


async def test_a_whole_call_is_taken_and_answered_when_it_is_done(server: Server, connection: Connection) -> None:
    for body in ("one", "two"):
        connection.send(call(body))
        await until_taken(server, body)
        server.calls.finish(body)
        headers, answer = await connection.whole_answer()
        assert (answer, headers[HEADER]) == (f"taken {body}", body)
    connection.send(call("now"))
    assert await connection.answer() == "taken now"


async def test_a_connection_serves_as_many_calls_as_there_are(connection: Connection) -> None:
    # More than aiohttp's parser lets wait unanswered: it would stop in the middle of the last ones.
    for _ in range(100):
        connection.send(call("now"))
        assert await connection.answer() == "taken now"
    connection.send(call("now") * 5)
    for _ in range(5):
        assert await connection.answer() in {"taken now", "handled now"}


async def test_a_taken_calls_head_is_like_that_of_any_answer(connection: Connection) -> None:
    connection.send(call("now"))
    taken, _ = await connection.whole_answer()
    connection.send(call("left"))
    handled, _ = await connection.whole_answer()
    assert taken.keys() == handled.keys() - {"Content-Type"}
    assert taken["Server"] == handled["Server"]
    assert len(taken["Date"]) == len(handled["Date"])


async def test_a_call_that_is_left_reaches_its_handler_as_it_came(connection: Connection) -> None:
    for body in ("left alone", "broken", "now", "left again"):
        connection.send(call(body))
        assert await connection.answer() == ("taken now" if body == "now" else f"handled {body}")


@pytest.mark.parametrize(
    "sent",
    [
        call("now", "Content-Encoding: identity"),
        call("now", "Expect: 100-continue"),
        call("now", "Connection: close"),
        call("now", head=f"POST {PATH} HTTP/1.0\r\nConnection: keep-alive\r\n"),
        call("now", head=f"POST {PATH}?a=b HTTP/1.1\r\nHost: shop\r\n"),
        call("", head=f"GET {PATH} HTTP/1.1\r\nHost: shop\r\n"),
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nnow\r\n0\r\n\r\n".encode(),
        call("now" * 30_000),
    ],
)
async def test_what_is_no_plain_call_goes_the_usual_way(server: Server, connection: Connection, sent: bytes) -> None:
    connection.send(sent)
    head = await connection.reader.readuntil(b"\r\n\r\n")
    if b"100 Continue" in head:
        head = await connection.reader.readuntil(b"\r\n\r\n")
    assert b"X-Request-Id: handler" in head
    assert server.calls.under_way == {}


def pieces(sent: bytes) -> Iterator[list[bytes]]:
    body = sent.index(b"\r\n\r\n") + 4
    for places in ([10], [body - 2], [body], [body + 1], [10, body]):
        ends = [0, *places, len(sent)]
        yield [sent[start:end] for start, end in pairwise(ends)]


async def test_a_call_that_comes_in_pieces_is_answered(connection: Connection) -> None:
    for parts in pieces(call("now")):
        for part in parts:
            connection.send(part)
            await connection.writer.drain()
            await asyncio.sleep(0.01)
        assert await connection.answer() in {"taken now", "handled now"}


@pytest.mark.parametrize("apart", [False, True])
async def test_answers_have_the_order_of_the_calls(server: Server, connection: Connection, *, apart: bool) -> None:
    bodies = ["one", "left", "two", "now", "left too", "three"]
    if apart:
        for body in bodies:
            connection.send(call(body))
            await connection.writer.drain()
            await asyncio.sleep(0.01)
    else:
        connection.send(b"".join(map(call, bodies)))

    async def finish() -> None:
        while True:
            for done in server.calls.under_way.values():
                if not done.done():
                    done.set_result(None)
            await asyncio.sleep(0)

    finishing = asyncio.create_task(finish())
    answers = [(await connection.answer()).removeprefix("taken ").removeprefix("handled ") for _ in bodies]
    finishing.cancel()
    assert answers == bodies


async def test_a_call_may_come_with_the_beginning_of_the_next(server: Server, connection: Connection) -> None:
    second = call("two")
    connection.send(call("one") + second[:30])
    await until_taken(server, "one")
    connection.send(second[30:])
    server.calls.finish("one")
    assert await connection.answer() == "taken one"
    await until_taken(server, "two")
    server.calls.finish("two")
    assert await connection.answer() == "taken two"


@pytest.mark.parametrize(
    ("sent", "answer"), [(call("left"), "handled left"), (b"GARBAGE\r\n\r\n", "The request is not valid HTTP")]
)
async def test_what_comes_while_a_call_is_under_way_is_answered_after_it(
    server: Server, connection: Connection, sent: bytes, answer: str
) -> None:
    connection.send(call("one"))
    await until_taken(server, "one")
    connection.send(sent)
    waiting = asyncio.create_task(connection.answer())
    assert not (await asyncio.wait([waiting], timeout=0.2))[0]
    server.calls.finish("one")
    assert await waiting == "taken one"
    assert answer in await connection.answer()


async def test_who_sends_on_and_on_while_a_call_is_under_way_is_not_read(
    server: Server, connection: Connection
) -> None:
    connection.send(call("one"))
    await until_taken(server, "one")
    more = call("now" + "." * 1000)
    count = 0
    # Until the server's and the system's buffers are full.
    while connection.writer.transport.get_write_buffer_size() < 2**20:
        connection.send(more)
        count += 1
        if not count % 100:
            await asyncio.sleep(0.001)
        assert count < 100_000, "all of it was read"
    server.calls.finish("one")
    assert await connection.answer() == "taken one"
    for _ in range(count):
        assert (await connection.answer()).startswith(("taken now", "handled now"))


async def test_who_has_gone_is_not_answered(server: Server, connection: Connection) -> None:
    connection.send(call("one"))
    await until_taken(server, "one")
    connection.writer.transport.abort()
    assert server.runner.server is not None
    await eventually(lambda: not server.runner.server.connections)
    server.calls.finish("one")
    other = await Connection.to(server)
    other.send(call("now"))
    assert await other.answer() == "taken now"
    other.writer.close()


async def test_a_server_that_stops_answers_what_it_has_taken(server: Server, connection: Connection) -> None:
    connection.send(call("one"))
    await until_taken(server, "one")
    stopping = asyncio.create_task(server.runner.cleanup())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    server.calls.finish("one")
    assert await connection.answer() == "taken one"
    assert await connection.is_closed()
    await stopping


async def test_an_idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not() -> None:
    app = web.Application()
    calls = Calls()
    runner = Runner(app, whole_calls=calls, keepalive_timeout=0.3)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = Server(calls, runner, int(runner.addresses[0][1]))
    connection = await Connection.to(server)
    connection.send(call("one"))
    await until_taken(server, "one")
    waiting = asyncio.create_task(connection.answer())
    assert not (await asyncio.wait([waiting], timeout=1.5))[0]
    calls.finish("one")
    assert await waiting == "taken one"
    assert await connection.is_closed()
    await runner.cleanup()
