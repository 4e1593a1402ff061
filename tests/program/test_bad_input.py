"""The running program under everything that can be sent to it, while honest signed events go on."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from domain.x_signature import sign
from tests.domain.x_payloads import aaa, item
from tests.program.running_program import PATIENCE_S, Program, SimulatedX
from tests.program.test_nothing_lost_nothing_twice import until_quiet

pytestmark = pytest.mark.program

API = "/api/v1/mkt-x"
WEBHOOK = f"{API}/webhooks/twitter"
SECRET = b"sandbox-consumer-secret"
ACCOUNT = "101"
HONEST = 300
MIB = 1024 * 1024

#: Signed bodies, and what the contract answers to each.
SIGNED: list[tuple[bytes, set[int]]] = [
    (b"", {400}),
    (b"{", {400}),
    (b"null", {400}),
    (b"[1]", {400}),
    (b"{}", {400}),
    (b"\xff\xfe", {400}),
    (b"[" * 100_000, {400}),
    (b'{"for_user_id":"101","x_events":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {400}),
    (b'{"for_user_id":"101","x_events":' + b"[" * 900 + b"]" * 900 + b"}", {200, 400}),
    (b'{"for_user_id":"101","x_events":[NaN]}', {400}),
    (b'{"for_user_id":"101","x_events":[1e999]}', {400}),
    (b'{"for_user_id":"101","x_events":[1' + b"0" * 400 + b"]}", {400}),
    (b'{"for_user_id":"101","x_events":["\\ud800"]}', {400}),
    (b'{"for_user_id":"101","x_events":[{"$set":{"a.b":1,"":2,"\\u0000":3}}]}', {200}),
    (b'{"for_user_id":{"$gt":""},"direct_message_events":[]}', {200}),
    (b'{"for_user_id":"101","direct_message_events":[null,1,"a",{},[],{"id":{"$ne":1}}]}', {200}),
    (b'{"for_user_id":"101","follow_events":[' + b"0," * 30_000 + b"0]}", {200}),
    (orjson.dumps(aaa(item("1", "666", ACCOUNT, "x" * 900_000), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("2", "666", ACCOUNT, "\0$where\u202e"), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("3", "666", ACCOUNT, at="99999999999999999999"), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("4", "666", ACCOUNT, at=-1), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("5" * 10_000, "666", ACCOUNT), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("6", ACCOUNT, ACCOUNT), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("7", "666", "31337"), for_user="31337")), {200}),
    (orjson.dumps(aaa(item("8", "666", ACCOUNT, attachment={"type": {"$gt": 1}}), for_user=ACCOUNT)), {200}),
    (orjson.dumps(aaa(item("9", "666", ACCOUNT), for_user=ACCOUNT, users={"666": {"name": "x" * 500_000}})), {200}),
    (b"x" * 5 * MIB, {413}),
]

#: What is no HTTP, or hardly.
RAW = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xab" * 200,
    b"\0" * 10_000,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"G\xc3\xa9T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".encode(),
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**30}\r\n\r\n".encode(),
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".encode(),
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n\r\n".encode(),
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n\r\n".encode(),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]

#: (method, path, body): what nobody who is logged in would send.
CALLS: list[tuple[str, str, bytes | None]] = [
    ("POST", "/api/v1/auth/login", b"[" * 100_000),
    ("POST", "/api/v1/auth/login", b'{"email":{"$ne":""},"password":{"$ne":""}}'),
    ("POST", "/api/v1/auth/login", b'{"email":"\\u0000@example.com","password":"' + b"x" * 100_000 + b'"}'),
    ("POST", f"{API}/accounts", b'{"oauthToken":1e999}'),
    ("PUT", f"{API}/accounts/%00", b"{}"),
    ("GET", f"{API}/accounts/..%2f..%2fetc%2fpasswd", None),
    ("GET", f"{API}/conversations?take=1e9&skip=-1", None),
    ("GET", f"{API}/conversations?status[$ne]=open", None),
    ("GET", f"{API}/contacts?search=" + "(" * 2000, None),
    ("GET", f"{API}/webhooks/verify?crc_token={'{'}", None),
    ("DELETE", WEBHOOK, None),
    ("TRACE", "/", None),
    ("GET", "/%ff%fe", None),
]


@pytest.fixture(scope="module")
async def x(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SimulatedX]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        x = SimulatedX(session, tmp_path_factory.mktemp("x"))
        await x.start()
        yield x
        await x.stop()


@pytest.fixture(scope="module")
async def program(x: SimulatedX, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        program = Program(session, tmp_path_factory.mktemp("bad"), x)
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


async def post(program: Program, body: bytes, **headers: str) -> int:
    sent = {"x-twitter-webhooks-signature": sign(SECRET, body), **headers}
    async with program._session.post(program.base_url + WEBHOOK, data=body, headers=sent) as response:
        answer = orjson.loads(await response.read())
        assert answer["success"] is (response.status == 200)
        assert response.headers["X-Request-Id"]
        return response.status


async def post_signed(program: Program, body: bytes, allowed: set[int]) -> None:
    assert await post(program, body) in allowed, body[:80]


async def post_forged(program: Program, body: bytes) -> None:
    assert await post(program, body, **{"x-twitter-webhooks-signature": sign(b"stranger", body)}) in {401, 413}


async def post_bomb(program: Program) -> None:
    assert await post(program, gzip.compress(b"0" * 100 * MIB), **{"Content-Encoding": "gzip"}) == 415


async def call(program: Program, method: str, path: str, body: bytes | None) -> None:
    headers = {**program.headers, "Content-Type": "application/json"}
    async with program._session.request(method, program.base_url + path, data=body, headers=headers) as response:
        said = (await response.read()).decode()
        assert 400 <= response.status < 500, (method, path, said)
        assert "Traceback" not in said


async def write_raw(program: Program, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(PATIENCE_S):
        try:
            answered = await reader.read()
        except ConnectionError:
            answered = b""
    writer.close()
    assert not answered.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5", b"HTTP/1.0 5")), (data[:80], answered[:200])


async def post_honest(program: Program, number: int) -> None:
    body = orjson.dumps(
        aaa(item(str(700_000 + number), str(2000 + number % 20), ACCOUNT, f"honest {number}"), for_user=ACCOUNT)
    )
    assert await post(program, body) == 200


async def test_bad_input_breaks_nothing_and_honest_events_are_all_stored(program: Program) -> None:
    before = {part: program.pids(part) for part in ("gateway", "host", "mongod")}
    mix = [post_honest(program, number) for number in range(HONEST)]
    for _ in range(2):
        mix += [post_signed(program, body, allowed) for body, allowed in SIGNED]
        mix += [post_forged(program, body) for body, _ in SIGNED]
        mix += [write_raw(program, data) for data in RAW]
        mix += [call(program, *each) for each in CALLS]
        mix += [post_bomb(program)]
    random.Random(1).shuffle(mix)
    slots = asyncio.Semaphore(25)

    async def one(work) -> None:
        async with slots:
            await work

    await asyncio.gather(*(one(work) for work in mix))
    await until_quiet(program)

    client = program.database()
    stored = await client["mktx"]["messages"].find({"content": {"$regex": "^honest "}}).to_list()
    await client.close()
    assert sorted(message["content"] for message in stored) == sorted(f"honest {number}" for number in range(HONEST))
    assert {part: program.pids(part) for part in before} == before
    # What strangers send is no error of the program, and can't fill its log.
    output = program.output.read_text()
    assert "Traceback" not in output
    assert '"level":"error"' not in output
