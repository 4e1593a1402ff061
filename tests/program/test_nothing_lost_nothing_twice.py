"""Traffic in both directions while every part is killed in turn; afterwards the books must balance."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.program.running_program import PATIENCE_S, Program, SimulatedX

ACCOUNTS = ["101", "102", "103"]
FAULTS = ["accept_then_drop", "accept_then_500", "drop", "reset"]
SEND_PATH = "/2/dm_conversations/with/.*"


@pytest.fixture
async def program(session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX) -> AsyncIterator[Program]:
    settings = {
        "MKTX_X_MESSAGES_PER_DAY": "100000",
        "MKTX_X_TIMEOUT_S": "3",
        # Longer than any send may be late, so that a message that is given up is certainly not in X.
        "MKTX_X_SETTLE_TIMEOUT_S": "10",
    }
    program = Program(session, tmp_path, x, **settings)
    await program.start()
    await program.until_ready()
    await program.login()
    yield program
    await program.stop()
    await program.until_nothing_is_left()


async def connect(program: Program, x: SimulatedX) -> None:
    await x.order("accounts", {"ids": ACCOUNTS})
    for account in ACCOUNTS:
        body = {"oauthToken": f"sandbox-token-{account}", "oauthTokenSecret": f"sandbox-secret-{account}"}
        status, answer = await program.api("POST", "/accounts", body)
        assert status == 200, answer


class Agents:
    """People who answer customers, and repeat a request until it is answered, under the same idempotency key."""

    def __init__(self, program: Program, seed: int) -> None:
        self._program = program
        self._random = random.Random(seed)
        self.requests: dict[str, str] = {}
        self.sends: dict[str, str] = {}
        self._stop = asyncio.Event()

    async def work(self) -> None:
        conversations: list[str] = []
        for number in itertools.count():
            if self._stop.is_set():
                return
            if not conversations or number % 20 == 0:
                conversations = await self._conversations() or conversations
            if not conversations:
                await asyncio.sleep(0.2)
                continue
            await self._send(self._random.choice(conversations), f"answer {uuid4().hex}")

    def stop(self) -> None:
        self._stop.set()

    async def _conversations(self) -> list[str]:
        try:
            _, answer = await self._program.api("GET", "/conversations?take=50")
        except (aiohttp.ClientError, TimeoutError):
            return []
        return [conversation["id"] for conversation in answer.get("data") or []]

    async def _send(self, conversation: str, text: str) -> None:
        key = uuid4().hex
        self.requests[text] = key
        for _ in range(2000):
            try:
                status, answer = await self._program.api(
                    "POST",
                    f"/conversations/{conversation}/messages?wait=false",
                    {"content": text, "type": "text"},
                    **{"Idempotency-Key": key},
                )
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            if status == 200:
                self.sends[text] = answer["data"]["id"]
                return
            assert status in {409, 429, 503}, (status, answer)
            await asyncio.sleep(0.1)
        raise AssertionError("a send was never accepted")


async def until_quiet(program: Program) -> None:
    """Wait until the inbox is empty and no message is under way."""
    client = program.database()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            inbox = await client["mktx"]["inbox"].count_documents({})
            pending = await client["mktx"]["messages"].count_documents({"pending": True})
            if not inbox and not pending:
                break
            await asyncio.sleep(0.2)
    await client.close()


async def check_books(program: Program, x: SimulatedX, agents: Agents) -> None:
    client = program.database()
    stored = await client["mktx"]["messages"].find({}).to_list()
    letters = await client["mktx"]["deadLetters"].find({}).to_list()
    conversations = {c["_id"]: c for c in await client["mktx"]["conversations"].find({}).to_list()}
    contacts = await client["mktx"]["contacts"].find({}).to_list()
    await client.close()
    assert not letters

    # Every delivery that was answered 200 is one message in its conversation.
    acknowledged = {d["key"].split(":")[-1] for d in await x.every_delivery() if d["outcome"] == "acknowledged"}
    by_x_id = Counter(m["twitterMessageId"] for m in stored if m.get("twitterMessageId"))
    assert acknowledged, "nothing was delivered"
    assert not [x_id for x_id in acknowledged if by_x_id[x_id] != 1]
    assert not [x_id for x_id, count in by_x_id.items() if count > 1]

    # Every send is in X exactly once, or is reported as failed because nobody could tell.
    in_x = Counter(m["text"] for m in await x.every_message() if m["sender_id"] in ACCOUNTS)
    assert not [text for text, count in in_x.items() if count > 1]
    outbound = {m["content"]: m for m in stored if m["direction"] == "outbound"}
    assert len(outbound) == sum(m["direction"] == "outbound" for m in stored)
    for text in agents.sends:
        message = outbound[text]
        if message["status"] == "sent":
            assert in_x[text] == 1, message
        else:
            assert message["status"] == "failed", message
            assert message["failure"]["reason"] == "ambiguous", message
    assert not [text for text in in_x if text not in agents.requests]

    # The counters are what a full count says.
    for conversation_id, conversation in conversations.items():
        mine = [m for m in stored if m["conversationId"] == conversation_id and m.get("twitterMessageId")]
        assert conversation["messageCount"] == len(mine), conversation
    for contact in contacts:
        mine = [m for m in stored if m["contactId"] == contact["_id"] and m.get("twitterMessageId")]
        assert contact["messagesReceived"] == sum(m["direction"] == "inbound" for m in mine)
        assert contact["messagesSent"] == sum(m["direction"] == "outbound" for m in mine)


async def kill_and_come_back(program: Program, part: str, which: int) -> None:
    # What was killed before may have taken this part along: it is killed when it is there again.
    async with asyncio.timeout(PATIENCE_S):
        while not program.pids(part):
            await asyncio.sleep(0.1)
    program.kill(part, which)
    if part == "program":
        await program.process.wait()
        await program.until_nothing_is_left()
        await program.start()
    await program.until_ready()


async def run_under_fire(
    program: Program, x: SimulatedX, victims: list[str], seed: int, *, events: int, sends: int
) -> None:
    """Kill one victim after the other, each after so many sends; so many events come in for each of them."""
    await connect(program, x)
    for kind in FAULTS:
        await x.order("faults", {"kind": kind, "match": SEND_PATH, "probability": 0.02})
    load = {"count": events * len(victims), "rate": 60, "customers": 40, "accounts": ACCOUNTS}
    await x.order("rate", {"duplicates": 0.05})
    await x.order("load", load)
    agents = Agents(program, seed)
    work = [asyncio.create_task(agents.work()) for _ in range(3)]
    for number, part in enumerate(victims):
        sent = len(agents.sends)
        async with asyncio.timeout(PATIENCE_S):
            while len(agents.sends) < sent + sends:
                for task in work:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.05)
        await kill_and_come_back(program, part, number)
    async with asyncio.timeout(PATIENCE_S):
        while not (await x.order("load"))["load"]["done"]:
            await asyncio.sleep(0.2)
    agents.stop()
    await asyncio.gather(*work)
    await until_quiet(program)
    await check_books(program, x, agents)


@pytest.mark.program
async def test_books_balance_after_every_part_was_killed(program: Program, x: SimulatedX) -> None:
    await run_under_fire(program, x, ["host", "gateway", "mongod", "program"], seed=1, events=120, sends=8)


@pytest.mark.program
@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_books_balance_after_a_long_series_of_kills(program: Program, x: SimulatedX) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    parts = random.Random(seed).choices(["host", "gateway", "mongod", "program"], weights=[4, 3, 3, 1], k=30)
    await run_under_fire(program, x, parts, seed, events=250, sends=15)
