"""A campaign of many accounts while X fails in every way and all parts are killed; then the books must balance."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import pytest

from storage.client import Document
from tests.program.running_program import PATIENCE_S, Program, SimulatedX
from tests.program.test_nothing_lost_nothing_twice import kill_and_come_back, until_quiet

X_TIMEOUT_S = 3
SEND_PATH = "/2/dm_conversations/with/[0-9]+/messages$"
#: A window that is full for a second; what X told of it before would otherwise hold until that one's end.
ROOM_LEFT = {"x-rate-limit-limit": "1000000", "x-rate-limit-remaining": "500000"}
#: Every way in which X can fail one send: unperformed, performed without an answer, late, refused.
FAULTS: list[dict[str, object]] = [
    {"kind": "drop"},
    {"kind": "reset"},
    {"kind": "accept_then_drop"},
    {"kind": "accept_then_500"},
    {"kind": "accept_then_slow", "seconds": X_TIMEOUT_S + 1},
    {"kind": "slow", "seconds": 1},
    {"kind": "slow", "seconds": X_TIMEOUT_S + 1},
    {"kind": "echo_before_response"},
    {"kind": "error", "error": "InternalServerError"},
    {"kind": "error", "error": "ServiceUnavailable"},
    {"kind": "error", "error": "TooManyRequests", "seconds": 1, "headers": ROOM_LEFT},
    {"kind": "error", "error": "NoPermissionToMessage"},
    {"kind": "error", "code": 50},
    {"kind": "error", "status": 400, "body": {"title": "Invalid Request", "detail": "No."}},
    {"kind": "error", "status": 502, "body": "<html>Bad gateway</html>"},
]
#: What a recipient may have failed for: X refused this very message, or never showed one whose answer was lost.
REASONS = {"recipient_refuses_messages", "recipient_not_found", "refused", "ambiguous"}
PARTS = ["host", "gateway", "mongod", "program"]


@pytest.fixture
async def program(session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX) -> AsyncIterator[Program]:
    settings = {
        "MKTX_X_MESSAGES_PER_DAY": "100000",
        "MKTX_X_CAMPAIGN_MESSAGES_PER_DAY": "100000",
        "MKTX_X_TIMEOUT_S": str(X_TIMEOUT_S),
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


async def called(program: Program, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Return what a call answers, repeated until it is answered, under the same idempotency key."""
    key = uuid4().hex
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                headers = {} if method == "GET" else {"Idempotency-Key": key}
                status, answer = await program.api(method, path, body, **headers)
            except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
                status, answer = 503, {}
            if status == 200:
                return dict(answer["data"])
            assert status in {409, 429, 500, 503}, (path, status, answer)
            await asyncio.sleep(0.2)


class Campaign:
    """One campaign of a merchant with some accounts, each of which has the same number of contacts."""

    def __init__(self, program: Program, x: SimulatedX) -> None:
        self._program = program
        self._x = x
        self.shops: list[str] = []
        self.texts: dict[str, str] = {}  # by the person's id
        self.id = ""

    async def prepare(self, accounts: int, contacts: int) -> None:
        self.shops = [str(1000 + number) for number in range(accounts)]
        await self._x.order("accounts", {"ids": self.shops})
        numbers = itertools.count(2_000_000)
        for shop in self.shops:
            tokens = {"oauthToken": f"sandbox-token-{shop}", "oauthTokenSecret": f"sandbox-secret-{shop}"}
            account = await called(self._program, "POST", "/accounts", tokens)
            people = [str(next(numbers)) for _ in range(contacts)]
            for person in people:
                await self._x.order("customers", {"id": person, "username": f"user{person}"})
                self.texts[person] = f"Hello user{person}"
            rows = "".join(f"{person},user{person}\n" for person in people)
            await self._import(account["id"], f"twitterUserId,username\n{rows}")
        template = {"name": "Sale", "type": "text", "content": "Hello {{ username }}"}
        segment = {"name": "Everybody", "conditions": []}
        fields = {
            "name": "Sale",
            "type": "promotional",
            "templateId": (await called(self._program, "POST", "/templates", template))["id"],
            "segmentIds": [(await called(self._program, "POST", "/segments", segment))["id"]],
        }
        self.id = (await called(self._program, "POST", "/campaigns", fields))["id"]

    async def _import(self, account_id: str, content: str) -> None:
        body = {"accountId": account_id, "format": "csv", "content": content}
        job = await called(self._program, "POST", "/contacts/import", body)
        async with asyncio.timeout(PATIENCE_S):
            while job["status"] != "completed":
                await asyncio.sleep(0.1)
                job = await called(self._program, "GET", f"/contacts/imports/{job['id']}")
        assert job["counts"]["created"] == job["total"]

    async def start(self) -> None:
        await self._move("start", "running")

    async def pause_for_a_while(self) -> None:
        await self._move("pause", "paused")
        await asyncio.sleep(1)
        await self._move("resume", "running")

    async def _move(self, move: str, status: str) -> None:
        """Move the campaign, whatever part is being killed; one that is completed meanwhile stays so."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self._program.api("POST", f"/campaigns/{self.id}/{move}")
                except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
                    await asyncio.sleep(0.2)
                if (await self.state())["status"] in {status, "completed"}:
                    return

    async def state(self) -> dict[str, Any]:
        return await called(self._program, "GET", f"/campaigns/{self.id}")

    async def is_over(self) -> bool:
        return bool((await self.state())["status"] == "completed")

    async def until_over(self) -> None:
        """Wait for the end of the campaign, as long as it gets on."""
        done = -1
        while not await self.is_over():
            before, done = done, (await self.state())["progress"]["done"]
            assert done > before, f"the campaign has come to a standstill at {done}"
            await self._until_more(done)

    async def _until_more(self, done: int) -> None:
        for _ in range(120):
            state = await self.state()
            if state["status"] == "completed" or state["progress"]["done"] > done:
                return
            await asyncio.sleep(0.5)

    async def sent(self) -> int:
        return sum(message["sender_id"] in self.shops for message in await self._x.every_message())


class Books:
    """What the database and X have of a campaign that is over."""

    def __init__(self, campaign: Campaign, collections: dict[str, list[Document]], in_x: list[Document]) -> None:
        self.campaign = campaign
        self.recipients = collections["campaignRecipients"]
        self.lanes = collections["campaignLanes"]
        self.runs = collections["campaignRuns"]
        self.parts = collections["campaignCounts"]
        self.messages = collections["messages"]
        self.conversations = collections["conversations"]
        self.contacts = {each["_id"]: each for each in collections["contacts"]}
        self.in_x = in_x
        self.statuses = Counter(each["status"] for each in self.recipients)

    @classmethod
    async def of(cls, program: Program, x: SimulatedX, campaign: Campaign) -> Books:
        names = ["campaignRecipients", "campaignLanes", "campaignRuns", "campaignCounts", "messages", "conversations"]
        client = program.database()
        found = {name: await client["mktx"][name].find({}).to_list() for name in [*names, "contacts"]}
        await client.close()
        return cls(campaign, found, [m for m in await x.every_message() if m["sender_id"] in campaign.shops])

    def check_recipients(self) -> None:
        """Everybody is a recipient once, has an outcome, and X has the message once of whoever has been sent one."""
        people = {each["_id"]: self.contacts[each["contactId"]]["twitterUserId"] for each in self.recipients}
        assert sorted(people.values()) == sorted(self.campaign.texts)
        assert set(self.statuses) <= {"sent", "failed"}, self.statuses
        assert not [each for each in self.recipients if "open" in each]
        sent = [people[each["_id"]] for each in self.recipients if each["status"] == "sent"]
        held = Counter((message["recipient_id"], message["text"]) for message in self.in_x)
        assert held == Counter((person, self.campaign.texts[person]) for person in sent)

    def check_messages(self) -> None:
        """Each recipient has one message, which says the same, with X's id of it; there are no others."""
        messages = {each["_id"]: each for each in self.messages if "campaign" in each}
        assert sorted(messages) == sorted(each["messageId"] for each in self.recipients)
        for recipient in self.recipients:
            message = messages[recipient["messageId"]]
            assert message["campaign"]["recipientId"] == recipient["_id"]
            assert message["status"] == recipient["status"]
            if recipient["status"] == "failed":
                assert recipient["reason"] == message["failure"]["reason"]
                assert recipient["reason"] in REASONS
        x_ids = [each["twitterMessageId"] for each in messages.values() if each["status"] == "sent"]
        assert sorted(x_ids) == sorted(message["id"] for message in self.in_x)
        assert not [each for each in self.messages if each.get("pending") or each.get("source") == "native"]

    def check_counters(self) -> None:
        """Counters are what a full count says."""
        counted = Counter[str]()
        for part in self.parts:
            counted.update({name: value for name, value in part.items() if isinstance(value, int)})
        full = Counter(sent=len(self.recipients), delivered=self.statuses["sent"], failed=self.statuses["failed"])
        for name in ("opened", "clicked", "replied", "optedOut", "blocked"):
            full[name] = sum(each[f"{name}At"] is not None for each in self.recipients)
        assert +counted == +full
        assert full["replied"], "nobody has answered"
        assert {(each["status"], each["remaining"]) for each in self.lanes} == {("done", 0)}
        assert len(self.lanes) == len(self.campaign.shops)
        assert sum(each["total"] for each in self.lanes) == len(self.recipients)
        [run] = self.runs
        assert (run["status"], run["snapshot"]["total"]) == ("completed", len(self.recipients))

    def check_contacts(self) -> None:
        """So are the counters of contacts and conversations."""
        of_contact: dict[str, Counter[str]] = {each: Counter() for each in self.contacts}
        of_conversation = Counter[str]()
        for message in self.messages:
            if message["twitterMessageId"]:
                of_contact[message["contactId"]][message["direction"]] += 1
                of_conversation[message["conversationId"]] += 1
        dialogues = Counter(each["contactId"] for each in self.conversations)
        reached = {each["contactId"] for each in self.recipients if each["status"] == "sent"}
        for contact_id, contact in self.contacts.items():
            mine = of_contact[contact_id]
            assert (contact["messagesSent"], contact["messagesReceived"]) == (mine["outbound"], mine["inbound"])
            assert contact["conversationCount"] == dialogues[contact_id]
            assert len(contact.get("recentCampaigns", [])) == (contact_id in reached)
        for conversation in self.conversations:
            assert conversation["messageCount"] == of_conversation[conversation["_id"]]


async def check_books(program: Program, x: SimulatedX, campaign: Campaign) -> None:
    books = await Books.of(program, x, campaign)
    books.check_recipients()
    books.check_messages()
    books.check_counters()
    books.check_contacts()
    state = await campaign.state()
    total, delivered = len(books.recipients), books.statuses["sent"]
    assert (state["progress"]["done"], state["progress"]["remaining"]) == (total, 0)
    assert (state["metrics"]["totalSent"], state["metrics"]["delivered"]) == (total, delivered)


async def begin(program: Program, x: SimulatedX, accounts: int, contacts: int) -> Campaign:
    campaign = Campaign(program, x)
    await campaign.prepare(accounts, contacts)
    await x.order("rate", {"answers": 0.2, "duplicates": 0.05})
    for fault in FAULTS:
        await x.order("faults", {"match": SEND_PATH, "probability": 0.02, **fault})
    await campaign.start()
    return campaign


async def end(program: Program, x: SimulatedX, campaign: Campaign) -> None:
    await campaign.until_over()
    await x.order("rate", {"answers": 0, "duplicates": 0})
    await until_quiet(program)
    await check_books(program, x, campaign)


@pytest.mark.program
async def test_a_campaign_reaches_everybody_once_under_fire(program: Program, x: SimulatedX) -> None:
    campaign = await begin(program, x, accounts=4, contacts=60)
    for number, part in enumerate(("host", "mongod", "gateway")):
        sent = await campaign.sent()
        async with asyncio.timeout(PATIENCE_S):
            while await campaign.sent() < sent + 20:
                await asyncio.sleep(0.05)
        await kill_and_come_back(program, part, number)
        if number == 0:
            await campaign.pause_for_a_while()
    await end(program, x, campaign)


@pytest.mark.program
@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_campaign_of_5000_reaches_everybody_once_under_fire(program: Program, x: SimulatedX) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    campaign = await begin(program, x, accounts=20, contacts=250)
    for number in itertools.count():
        await asyncio.sleep(chance.uniform(2, 8))
        if await campaign.is_over():
            break
        part = chance.choices(PARTS, weights=[4, 3, 3, 1])[0]
        await kill_and_come_back(program, part, number)
        if chance.random() < 0.3:
            await campaign.pause_for_a_while()
    await end(program, x, campaign)
