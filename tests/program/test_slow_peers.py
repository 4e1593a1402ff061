"""Two thousand peers that begin a request and never finish it, while honest ones are served."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from domain.x_signature import sign
from tests.domain.x_payloads import aaa, item
from tests.program.running_program import PATIENCE_S, Program, SimulatedX
from tests.program.test_nothing_lost_nothing_twice import until_quiet

pytestmark = pytest.mark.program

WEBHOOK = "/api/v1/mkt-x/webhooks/twitter"
SECRET = b"sandbox-consumer-secret"
ACCOUNT = "101"
PEERS = 2000
HONEST = 200

BODY = orjson.dumps(aaa(item("1", "666", ACCOUNT, "never finished"), for_user=ACCOUNT))
HEAD = (
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    f"x-twitter-webhooks-signature: {sign(SECRET, BODY)}\r\n"
)
HALVES = [
    b"",
    b"P",
    HEAD.encode(),
    HEAD.encode()[: len(HEAD) // 2],
    f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode(),
    f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:-1],
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + b"10\r\n" + BODY[:10],
    b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /health/live HTTP/1.1\r\nHos",
]


@pytest.fixture(scope="module")
async def program(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    folder = tmp_path_factory.mktemp("slow")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        x = SimulatedX(session, folder)
        await x.start()
        timeouts = {"MKTX_REQUEST_HEAD_TIMEOUT_S": "8", "MKTX_REQUEST_BODY_TIMEOUT_S": "8"}
        program = Program(session, folder, x, **timeouts)
        await program.start()
        await program.until_ready()
        await program.login()
        await x.order("accounts", {"ids": [ACCOUNT]})
        body = {"oauthToken": f"sandbox-token-{ACCOUNT}", "oauthTokenSecret": f"sandbox-secret-{ACCOUNT}"}
        status, answer = await program.api("POST", "/accounts", body)
        assert status == 200, answer
        yield program
        await program.stop()
        await program.until_nothing_is_left()
        await x.stop()


class Peer(asyncio.Protocol):
    """Says half of a request, and waits until it is hung up on."""

    def __init__(self, half: bytes) -> None:
        self._half = half
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._half)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def test_half_sent_requests_keep_nobody_waiting_and_are_closed_in_the_end(program: Program) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before = program.pids("gateway")
    loop = asyncio.get_running_loop()
    peers = [Peer(HALVES[number % len(HALVES)]) for number in range(PEERS)]
    for start in range(0, PEERS, 100):
        await asyncio.gather(
            *(
                loop.create_connection(lambda peer=peer: peer, "127.0.0.1", program.port)
                for peer in peers[start : start + 100]
            )
        )
    held = sum(not peer.lost.is_set() for peer in peers)
    assert held > PEERS * 0.9

    for number in range(HONEST):
        body = orjson.dumps(aaa(item(str(900_000 + number), "300", ACCOUNT, f"honest {number}"), for_user=ACCOUNT))
        headers = {"x-twitter-webhooks-signature": sign(SECRET, body)}
        async with program._session.post(program.base_url + WEBHOOK, data=body, headers=headers) as response:
            assert response.status == 200
        if number % 20 == 0:
            assert (await program.api("GET", "/conversations"))[0] == 200

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(peer.lost.wait() for peer in peers))
    await until_quiet(program)
    client = program.database()
    contents = [message["content"] for message in await client["mktx"]["messages"].find().sort("at", 1).to_list()]
    await client.close()
    assert sorted(contents) == sorted(f"honest {number}" for number in range(HONEST))
    assert program.pids("gateway") == before
