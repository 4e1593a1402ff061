"""Executions of a flow across waits while X fails in every way and parts are killed; then the books must balance."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from storage.client import Document
from tests.program.running_program import PATIENCE_S, Program, SimulatedX
from tests.program.test_nothing_lost_nothing_twice import kill_and_come_back, until_quiet
from tests.program.under_fire import PARTS, REASONS, break_sends, called, connect, import_contacts, under_fire

FIRST, SECOND = "Welcome {}!", "Still there, {}?"
TAG = "welcomed"
ENDS = {"done", "failed"}


@pytest.fixture
async def program(session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX) -> AsyncIterator[Program]:
    async with under_fire(session, tmp_path, x) as program:
        yield program


class Welcome:
    """A flow of a message, a wait, a tag, a wait and a message, which every new contact goes through."""

    def __init__(self, program: Program, x: SimulatedX) -> None:
        self._program = program
        self._x = x
        self.shops: list[str] = []
        self.people: set[str] = set()
        self.id = ""

    async def prepare(self, waits_s: tuple[int, int]) -> None:
        nodes: list[dict[str, object]] = [
            {"id": "first", "type": "send_message", "config": {"templateId": await self._template(FIRST)}},
            {"id": "rest", "type": "wait", "config": {"duration": waits_s[0]}},
            {"id": "tag", "type": "add_tag", "config": {"tag": TAG}},
            {"id": "again", "type": "wait", "config": {"duration": waits_s[1]}},
            {"id": "second", "type": "send_message", "config": {"templateId": await self._template(SECOND)}},
        ]
        ways = [{"fromNodeId": a["id"], "toNodeId": b["id"]} for a, b in itertools.pairwise(nodes)]
        fields = {"name": "Welcome", "trigger": {"type": "new_contact"}, "nodes": nodes, "connections": ways}
        self.id = (await called(self._program, "POST", "/automation/flows", fields))["id"]
        await called(self._program, "POST", f"/automation/flows/{self.id}/activate")

    async def _template(self, text: str) -> str:
        fields = {"name": text, "type": "text", "content": text.format("{{ username }}")}
        return str((await called(self._program, "POST", "/templates", fields))["id"])

    async def meet(self, accounts: int, contacts: int) -> None:
        """Have accounts get to know people, each of whom starts the flow."""
        self.shops = [str(1000 + number) for number in range(accounts)]
        await self._x.order("accounts", {"ids": self.shops})
        numbers = itertools.count(2_000_000)
        for shop in self.shops:
            people = [str(next(numbers)) for _ in range(contacts)]
            self.people.update(people)
            await import_contacts(self._program, self._x, await connect(self._program, shop), people)

    async def over(self) -> int:
        stats = (await called(self._program, "GET", f"/automation/flows/{self.id}"))["stats"]
        return int(stats["completed"] + stats["failed"])

    async def steps(self) -> int:
        """Return how many visits of nodes have ended."""
        client = self._program.database()
        counts = await client["mktx"]["flowCounts"].find({}).to_list()
        await client.close()
        return sum(each.get(end, 0) for each in counts for end in ENDS)

    async def until_over(self) -> None:
        """Wait until every execution has ended, as long as they get on."""
        while (over := await self.over()) < len(self.people):
            steps = await self.steps()
            for _ in range(120):
                if await self.over() > over or await self.steps() > steps:
                    break
                await asyncio.sleep(0.5)
            else:
                pytest.fail(f"the executions have come to a standstill at {over}")


class Books:
    """What the database and X have once every execution has ended."""

    def __init__(self, flow: Welcome, collections: dict[str, list[Document]], in_x: list[Document]) -> None:
        self.flow = flow
        self.executions = collections["flowExecutions"]
        self.counts = collections["flowCounts"]
        self.messages = collections["messages"]
        self.left = [*collections["flowEvents"], *collections["reminders"]]
        self.contacts = {each["_id"]: each for each in collections["contacts"]}
        self.in_x = in_x

    @classmethod
    async def of(cls, program: Program, x: SimulatedX, flow: Welcome) -> Books:
        names = ["flowExecutions", "flowCounts", "flowEvents", "reminders", "messages", "contacts"]
        client = program.database()
        found = {name: await client["mktx"][name].find({}).to_list() for name in names}
        await client.close()
        return cls(flow, found, [m for m in await x.every_message() if m["sender_id"] in flow.shops])

    def check_executions(self) -> None:
        """Everybody went through once: every node that was come to ended once, in order, and nothing is left to do."""
        people = [self.contacts[each["contactId"]]["twitterUserId"] for each in self.executions]
        assert sorted(people) == sorted(self.flow.people)
        assert not self.left
        order = ["first", "rest", "tag", "again", "second"]
        for execution in self.executions:
            ended = [each for each in execution["history"] if each["outcome"] in ENDS]
            assert [each["nodeId"] for each in ended] == order[: len(ended)]
            assert [each["visit"] for each in ended] == list(range(1, len(ended) + 1))
            if execution["status"] == "completed":
                assert [each["outcome"] for each in ended] == ["done"] * len(order)
            else:
                assert (execution["status"], ended[-1]["outcome"]) == ("failed", "failed")
                assert (ended[-1]["nodeId"], ended[-1]["error"] in REASONS) in {("first", True), ("second", True)}
            assert (TAG in self.contacts[execution["contactId"]]["tags"]) == (len(ended) > order.index("tag"))

    def check_messages(self) -> None:
        """X has each message that an execution has sent once, and no other."""
        expected = Counter[tuple[str, str]]()
        for execution in self.executions:
            person = self.contacts[execution["contactId"]]["twitterUserId"]
            for entry in execution["history"]:
                if entry["outcome"] == "done" and entry["nodeId"] in {"first", "second"}:
                    text = FIRST if entry["nodeId"] == "first" else SECOND
                    expected[person, text.format(f"user{person}")] += 1
        assert Counter((message["recipient_id"], message["text"]) for message in self.in_x) == expected
        assert set(expected.values()) == {1}
        assert not [each for each in self.messages if each.get("pending") or each.get("source") == "native"]

    def check_counters(self) -> None:
        """The counters of the nodes are what a full count says."""
        counted = Counter[tuple[str, str]]()
        for each in self.counts:
            counted.update({(each["nodeId"], end): each.get(end, 0) for end in ENDS})
        full = Counter(
            (entry["nodeId"], entry["outcome"])
            for execution in self.executions
            for entry in execution["history"]
            if entry["outcome"] in ENDS
        )
        assert +counted == full


async def check_books(program: Program, x: SimulatedX, flow: Welcome) -> None:
    await until_quiet(program)
    await until_taken(program)
    books = await Books.of(program, x, flow)
    books.check_executions()
    books.check_messages()
    books.check_counters()


async def until_taken(program: Program) -> None:
    """Wait until executors have taken everything, and no reminder is due."""
    client = program.database()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            left = [await client["mktx"][name].count_documents({}) for name in ("flowEvents", "reminders")]
            if not any(left):
                break
            await asyncio.sleep(0.2)
    await client.close()


@pytest.mark.program
async def test_everybody_goes_through_a_flow_once_under_fire(program: Program, x: SimulatedX) -> None:
    flow = Welcome(program, x)
    await flow.prepare(waits_s=(4, 3))
    await break_sends(x)
    meeting = asyncio.create_task(flow.meet(accounts=4, contacts=50))
    for number, part in enumerate(("host", "mongod", "gateway")):
        steps = await flow.steps()
        async with asyncio.timeout(PATIENCE_S):
            while await flow.steps() < steps + 100:
                await asyncio.sleep(0.1)
        if number == 0:
            await meeting
        await kill_and_come_back(program, part, number)
    await flow.until_over()
    await check_books(program, x, flow)


@pytest.mark.program
@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_10000_executions_go_through_once_under_fire(program: Program, x: SimulatedX) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    flow = Welcome(program, x)
    await flow.prepare(waits_s=(60, 60))
    await break_sends(x)
    await flow.meet(accounts=20, contacts=500)
    for number in itertools.count():
        await asyncio.sleep(chance.uniform(3, 10))
        if await flow.over() == len(flow.people):
            break
        await kill_and_come_back(program, chance.choices(PARTS, weights=[4, 3, 3, 1])[0], number)
    await check_books(program, x, flow)
