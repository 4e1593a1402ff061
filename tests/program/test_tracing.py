"""A run of the whole program, traced: from X's call to our answer in X, over processes, each step where it belongs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from domain.x_signature import sign
from tests.collector import Collector, Recorded, collecting
from tests.domain.x_payloads import aaa, item
from tests.program.running_program import PATIENCE_S, Program, SimulatedX

WEBHOOK = "/api/v1/mkt-x/webhooks/twitter"
SHOP = "101"
MESSAGES = "POST /api/v1/mkt-x/conversations/{conversationId}/messages"
SEND_PATH = "/2/dm_conversations/with/[0-9]+/messages$"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.fixture
async def program(
    session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX, collector: Collector
) -> AsyncIterator[Program]:
    settings = {
        "MKTX_TRACING_ENDPOINT": collector.url,
        "MKTX_OPENAI_BASE_URL": f"{x.base_url}/v1",
        "MKTX_OPENAI_API_KEY": "sandbox-model-key",
    }
    program = Program(session, tmp_path, x, **settings)
    await program.start()
    await program.until_ready()
    await program.login()
    await x.order("accounts", {"ids": [SHOP]})
    await x.order("customers", {"id": "200"})
    tokens = {"oauthToken": f"sandbox-token-{SHOP}", "oauthTokenSecret": f"sandbox-secret-{SHOP}"}
    status, account = await program.api("POST", "/accounts", tokens)
    assert status == 200, account
    confirmed = {"optOutConfirmation": "You will get nothing more from us."}
    status, answer = await program.api("PUT", f"/accounts/{account['data']['id']}", confirmed)
    assert status == 200, answer
    yield program
    await program.stop()
    await program.until_nothing_is_left()


async def customer_writes(program: Program, text: str, number: str) -> None:
    body = orjson.dumps(aaa(item(number, "200", SHOP, text), for_user=SHOP))
    headers = {"x-twitter-webhooks-signature": sign(b"sandbox-consumer-secret", body)}
    async with program._session.post(program.base_url + WEBHOOK, data=body, headers=headers) as response:
        assert response.status == 200


async def line_of_descent(collector: Collector, span: Recorded) -> list[Recorded]:
    """Return a span, its parent, and so on up to the first; processes send theirs in their own time."""
    line = [span]
    async with asyncio.timeout(PATIENCE_S):
        while line[-1].parent:
            if any(each.id == line[-1].parent for each in collector.spans):
                line.append(collector.parent_of(line[-1]))
            else:
                await asyncio.sleep(0.1)
    return line


async def sent(collector: Collector, source: str) -> Recorded:
    async with asyncio.timeout(PATIENCE_S):
        while not (found := [each for each in collector.named("send") if each.attributes["source"] == source]):
            await asyncio.sleep(0.1)
    return found[0]


def log_lines(program: Program, event: str) -> list[dict]:
    lines = [orjson.loads(line) for line in program.output.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


@pytest.mark.program
async def test_from_webhook_to_reply(program: Program, x: SimulatedX, collector: Collector) -> None:
    await customer_writes(program, "STOP", "9001")
    send = await sent(collector, "consent")
    line = await line_of_descent(collector, send)
    assert [span.name for span in line] == ["send", "ingest", "webhook"]
    assert [span.process.split("-")[0] for span in line] == ["host", "host", "gateway"]
    assert len({span.trace for span in line}) == 1
    assert line[1].links == {line[2].id}
    assert not any(span.failed for span in line)

    # An answer of the chatbot.
    await customer_writes(program, "START", "9002")
    status, answer = await program.api("PUT", "/ai/settings", {"enabled": True, "answerDelaySeconds": 0})
    assert status == 200, answer
    # Hosts know of that setting a little later.
    for number in itertools.count(9003):
        await customer_writes(program, "When are you open?", str(number))
        await asyncio.sleep(1)
        if any(span.attributes["source"] == "bot" for span in collector.named("send")) or number > 9060:
            break
    send = await sent(collector, "bot")
    line = await line_of_descent(collector, send)
    assert [span.name for span in line] == ["send", "conversation.handle", "ingest", "webhook"]
    assert [span.process.split("-")[0] for span in line] == ["host", "host", "host", "gateway"]

    # An answer of a person: the request, the turn of the account's actor in its host, and what it sent.
    _, conversations = await program.api("GET", "/conversations")
    path = f"/conversations/{conversations['data'][0]['id']}/messages"
    status, answer = await program.api("POST", path, {"content": "Hello", "type": "text"})
    assert status == 200, answer
    send = await sent(collector, "agent")
    [request] = await collector.until(MESSAGES)
    [turn] = await collector.until("account.deliver")
    assert (request.parent, turn.parent, send.parent) == ("", request.id, request.id)
    assert [span.process.split("-")[0] for span in (request, turn, send)] == ["gateway", "host", "host"]

    # Whoever asks finds what was done for it in every process, by the id that was given.
    await x.order("faults", {"kind": "error", "code": 326, "count": 1, "match": SEND_PATH})
    refused = {"content": "Hello again", "type": "text"}
    status, answer = await program.api("POST", path, refused, **{"X-Request-Id": "the-id-of-mine"})
    assert status >= 400, answer
    async with asyncio.timeout(PATIENCE_S):
        while not (lines := log_lines(program, "account.failed")):
            await asyncio.sleep(0.1)
    assert [(line["request_id"], line["process"].split("-")[0]) for line in lines] == [("the-id-of-mine", "host")]
    for line in log_lines(program, "request.failed"):
        assert line["request_id"]
