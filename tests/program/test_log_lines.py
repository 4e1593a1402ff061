"""What the program writes: one JSON line an event, those of its hosts too, and never a secret or a message."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from domain.x_signature import sign
from program.log_lines import LogLines
from tests.domain.x_payloads import aaa, item
from tests.program.running_program import PATIENCE_S, Program, SimulatedX
from tests.program.test_nothing_lost_nothing_twice import until_quiet

WEBHOOK = "/api/v1/mkt-x/webhooks/twitter"
ACCOUNT = "101"
KEY = base64.b64encode(b"canary-key-of-exactly-32-bytes!!").decode()
CANARIES = {
    "MKTX_X_CONSUMER_SECRET_OLD": "canary-former-secret",
    "MKTX_JWT_SECRET": "canary-jwt-secret-of-at-least-32-bytes",
    "MKTX_OPENAI_API_KEY": "canary-openai-key",
    "MKTX_ADMIN_PASSWORD": "canary-password",
    "MKTX_ENCRYPTION_KEY": KEY,
}


@pytest.fixture(scope="module")
async def program(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Program, SimulatedX]]:
    folder = tmp_path_factory.mktemp("logs")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        x = SimulatedX(session, folder)
        await x.start()
        program = Program(session, folder, x, MKTX_LOG_LEVEL="debug", **CANARIES)
        await program.start()
        await program.until_ready()
        yield program, x
        await program.stop()
        await program.until_nothing_is_left()
        await x.stop()


async def log_in(program: Program, password: str) -> int:
    body = {"email": "owner@example.com", "password": password}
    status, answer = await program.call("POST", "/api/v1/auth/login", body)
    if status == 200:
        program.headers = {"Authorization": f"Bearer {answer['data']['accessToken']}"}
    return status


async def post_event(program: Program, body: bytes, secret: bytes) -> int:
    headers = {"x-twitter-webhooks-signature": sign(secret, body)}
    async with program._session.post(program.base_url + WEBHOOK, data=body, headers=headers) as response:
        return response.status


@pytest.mark.program
async def test_no_secret_no_token_and_no_message_is_ever_written(program: tuple[Program, SimulatedX]) -> None:
    running, x = program
    assert await log_in(running, "canary-wrong-password") == 401
    assert await log_in(running, "canary-password") == 200
    await x.order("accounts", {"ids": [ACCOUNT]})
    await x.order("customers", {"id": "200"})
    tokens = {"oauthToken": f"sandbox-token-{ACCOUNT}", "oauthTokenSecret": f"sandbox-secret-{ACCOUNT}"}
    assert (await running.api("POST", "/accounts", {**tokens, "oauthToken": "canary-bad-token"}))[0] == 400
    assert (await running.api("POST", "/accounts", tokens))[0] == 200

    old = CANARIES["MKTX_X_CONSUMER_SECRET_OLD"].encode()
    inbound = orjson.dumps(aaa(item("1", "200", ACCOUNT, "canary-inbound"), for_user=ACCOUNT))
    assert await post_event(running, inbound, old) == 200
    assert await post_event(running, b'{"canary-broken":', old) == 400
    assert await post_event(running, b'{"for_user_id":"31337","x_events":["canary-unknown"]}', old) == 200
    assert await post_event(running, inbound, b"canary-stranger") == 401
    await until_quiet(running)
    _, conversations = await running.api("GET", "/conversations")
    path = f"/conversations/{conversations['data'][0]['id']}/messages"
    assert (await running.api("POST", path, {"content": "canary-outbound", "type": "text"}))[0] == 200
    await x.order("faults", {"kind": "error", "match": "/2/dm_conversations", "error": "InternalServerError"})
    await running.api("POST", path, {"content": "canary-failing", "type": "text"}, **{"Idempotency-Key": "canary-key"})
    await running.api("POST", path, {"content": {"canary-invalid": 1}, "type": "canary-type"})
    async with running._session.get(running.base_url + "/api/v1/mkt-x/accounts?token=canary-query") as response:
        assert response.status == 401
    async with running._session.get(
        running.base_url + "/api/v1/mkt-x/accounts", headers={"Authorization": "Bearer canary.jwt.token"}
    ) as response:
        assert response.status == 401
    for spoilt in (
        "Authorization: Bearer canary-header\0",
        "X" * 9000 + "canary-name: a",
        "A: " + "canary-value" * 1000,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(f"GET /api/v1/mkt-x/accounts HTTP/1.1\r\nHost: x\r\n{spoilt}\r\n\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.close()
    running.kill("host")
    await until_host_line(running)
    await running.stop()
    await running.until_nothing_is_left()

    written = running.output.read_text()
    for log in (running.data_dir / "logs").glob("ray*"):
        written += log.read_text(errors="replace")
    token = running.headers["Authorization"].removeprefix("Bearer ")
    for secret in (
        KEY,
        "sandbox-consumer-secret",
        "sandbox-bearer-token",
        tokens["oauthToken"],
        tokens["oauthTokenSecret"],
        token,
        sign(old, inbound),
    ):
        assert secret not in written, secret
    assert re.findall(r"canary[\w.-]*", written) == []


async def until_host_line(program: Program) -> None:
    """Wait until a host has written that it is there; twice means that it was started again."""
    async with asyncio.timeout(PATIENCE_S):
        while len(host_lines(program, "host.ready")) < len(os.sched_getaffinity(0)) + 1:
            await asyncio.sleep(0.1)


def host_lines(program: Program, event: str) -> list[dict]:
    lines = [orjson.loads(line) for line in program.output.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["process"].startswith("host-") and line["event"] == event]


# --- the socket


async def test_lines_that_arrive_are_written_as_they_came(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "lines.sock"
    lines = LogLines(path)
    await lines.start()
    sent = ['{"event":"one"}\n', '{"event":"näme 😀"}\n', "x" * 50_000 + "\n"]
    for line in sent:
        await send(path, line.encode())
    await send(path, b"\xff broken\n")
    written = ""
    async with asyncio.timeout(PATIENCE_S):
        while "broken" not in written:
            await asyncio.sleep(0.01)
            written += capfd.readouterr().out
    lines.stop()
    assert written == "".join(sent) + "\ufffd broken\n"
    assert not path.exists()


async def test_a_socket_that_a_crash_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lines.sock"
    path.write_text("left")
    lines = LogLines(path)
    await lines.start()
    assert path.is_socket()
    lines.stop()
    lines.stop()


async def send(path: Path, data: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        await asyncio.to_thread(sender.sendto, data, str(path))
