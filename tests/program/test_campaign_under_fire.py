"""A campaign of many accounts while X fails in every way and all parts are killed; then the books must balance."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from storage.client import Document
from tests.program.running_program import PATIENCE_S, Program, SimulatedX
from tests.program.test_nothing_lost_nothing_twice import kill_and_come_back, until_quiet
from tests.program.under_fire import (
    ACCOUNT_FAULTS,
    PARTS,
    REASONS,
    SEND_PATH,
    break_sends,
    called,
    connect,
    import_contacts,
    under_fire,
)


@pytest.fixture
async def program(session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX) -> AsyncIterator[Program]:
    async with under_fire(session, tmp_path, x) as program:
        yield program


class Campaign:
    """One campaign of a merchant with some accounts, each of which has the same number of contacts."""

    def __init__(self, program: Program, x: SimulatedX) -> None:
        self._program = program
        self._x = x
        self.shops: list[str] = []
        self.texts: dict[str, str] = {}  # by the person's id
        self.id = ""
        self.accounts: dict[str, str] = {}  # by the shop's id
        #: Why X has refused an account as a whole, each time; one recipient each may have failed for it.
        self.refusals: list[str] = []

    async def prepare(self, accounts: int, contacts: int) -> None:
        self.shops = [str(1000 + number) for number in range(accounts)]
        await self._x.order("accounts", {"ids": self.shops})
        numbers = itertools.count(2_000_000)
        for shop in self.shops:
            people = [str(next(numbers)) for _ in range(contacts)]
            self.texts |= {person: f"Hello user{person}" for person in people}
            self.accounts[shop] = await connect(self._program, shop)
            await import_contacts(self._program, self._x, self.accounts[shop], people)
        template = {"name": "Sale", "type": "text", "content": "Hello {{ username }}"}
        segment = {"name": "Everybody", "conditions": []}
        fields = {
            "name": "Sale",
            "type": "promotional",
            "templateId": (await called(self._program, "POST", "/templates", template))["id"],
            "segmentIds": [(await called(self._program, "POST", "/segments", segment))["id"]],
        }
        self.id = (await called(self._program, "POST", "/campaigns", fields))["id"]

    async def start(self) -> None:
        await self._move("start", "running")

    async def pause_for_a_while(self) -> None:
        await self._move("pause", "paused")
        await asyncio.sleep(1)
        await self._move("resume", "running")

    async def have_accounts_refused(self, chance: random.Random) -> None:
        """Have X refuse one account after the other as a whole, and put each in order as a person does."""
        reasons = itertools.cycle(ACCOUNT_FAULTS)
        while not await self.is_over():
            shop, reason = chance.choice(self.shops), next(reasons)
            where = {"path": SEND_PATH, "account": shop}
            fault = await self._x.order("faults", {"match": where, "count": 1, **ACCOUNT_FAULTS[reason]})
            self.refusals.append(reason)
            if await self._is_refused(self.accounts[shop]):
                await called(self._program, "POST", f"/accounts/{self.accounts[shop]}/reactivate")
            else:
                await self._x.call("DELETE", f"/sandbox/faults?id={fault['fault']['id']}")

    async def _is_refused(self, account_id: str) -> bool:
        """Wait until the account says why it stands still; false where it does not, as with nobody left to write to."""
        for _ in range(150):
            account = await called(self._program, "GET", f"/accounts/{account_id}")
            if account["status"] == "error":
                assert account["statusReason"] in ACCOUNT_FAULTS
                return True
            await asyncio.sleep(0.2)
        return False

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
        # An account that was put in order sends again within a minute.
        for _ in range(360):
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
                assert recipient["reason"] in REASONS | set(self.campaign.refusals)
        of_accounts = Counter(each["reason"] for each in self.recipients if each.get("reason") in ACCOUNT_FAULTS)
        assert of_accounts <= Counter(self.campaign.refusals)
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
    await break_sends(x)
    await campaign.start()
    return campaign


async def end(program: Program, x: SimulatedX, campaign: Campaign) -> None:
    await campaign.until_over()
    await x.order("rate", {"answers": 0, "duplicates": 0})
    await until_quiet(program)
    await check_books(program, x, campaign)


@pytest.mark.program
async def test_a_campaign_reaches_everybody_once_under_fire(program: Program, x: SimulatedX) -> None:
    campaign = await begin(program, x, accounts=4, contacts=90)
    for number, part in enumerate(("host", "mongod", "gateway")):
        sent = await campaign.sent()
        async with asyncio.timeout(PATIENCE_S):
            # On a slow machine so many sends may be given up as ambiguous that the campaign is over by then.
            while await campaign.sent() < sent + 20 and not await campaign.is_over():
                await asyncio.sleep(0.2)
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
    refusing = asyncio.create_task(campaign.have_accounts_refused(random.Random(seed + 1)))
    for number in itertools.count():
        await asyncio.sleep(chance.uniform(2, 8))
        if await campaign.is_over():
            break
        part = chance.choices(PARTS, weights=[4, 3, 3, 1])[0]
        await kill_and_come_back(program, part, number)
        if chance.random() < 0.3:
            await campaign.pause_for_a_while()
    await refusing
    await end(program, x, campaign)
    assert campaign.refusals
