"""The sums of analytics against full counts of the documents, on a real server whose transactions fail and repeat."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from config.settings import Settings
from domain.account_key import AccountKey
from domain.active_days import day_of
from domain.clock import SystemClock
from domain.events import EventKind, XEvent
from domain.flow_state import Execution
from domain.flow_triggers import ExecutionStatus
from domain.ids import new_id
from domain.rollup import MERCHANT, account_scope
from storage.client import Client, Database
from storage.contact_erasure import ContactErasures
from storage.contact_merge import ContactMerges
from storage.contacts import Contacts, NewContact
from storage.conversations import Conversations
from storage.flow_documents import ExecutionDocument
from storage.flow_executions import ExecutionWrite, FlowExecutions, FlowStep
from storage.flows import Flows
from storage.inbox import Inbox
from storage.ingest import Ingest
from storage.messages import AgentMessage, Messages
from storage.outbox import Outbox
from storage.recount import RecountFailed, recount, repair
from storage.rollup_folding import fold
from storage.rollups import Day, Rollups, Wanted
from tests.actors.desk import failing
from tests.storage.arrivals import START, arrive, connect, event, everything, ingest_of, message

#: What a commit is answered whose outcome is not known.
UNKNOWN: dict[str, Any] = {"errorCode": 112, "errorLabels": ["UnknownTransactionCommitResult"]}
ALWAYS = Wanted("0000", "9999", None, active=True)


async def check(client: Client, database: Database) -> None:
    """Compare all sums with a full count."""
    found = await recount(client, database)
    assert found.differences == []
    assert found.compared > 0


async def summed(database: Database, scope: str = MERCHANT) -> Day:
    """Return the sums of all days together."""
    total = Day("")
    for day in (await Rollups(database).days("m1", scope, ALWAYS)).values():
        total.measures.update(day.measures)
        total.active.update(day.active)
        by_hours: Counter[str] = Counter()
        for counts in day.hours.values():
            by_hours.update(counts)
        assert {name: n for name, n in by_hours.items() if n} == {name: n for name, n in day.measures.items() if n}
    return total


async def active_in(database: Database, first: str, last: str) -> int:
    days = await Rollups(database).days("m1", MERCHANT, replace(ALWAYS, first=first, last=last))
    return sum(n for day in days.values() for before, n in day.active.items() if before < first)


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.fixture
async def ingest(client: Client, database: Database) -> Ingest:
    await connect(database)
    await connect(database, "101")
    return ingest_of(client, database)


def random_event(chance: random.Random) -> XEvent:
    user, shop = str(chance.randint(200, 206)), chance.choice(["100", "101"])
    minutes = chance.randint(0, 4 * 1440)
    if chance.random() < 0.2:
        kind = chance.choice([EventKind.FOLLOW, EventKind.READ, EventKind.LIKE, EventKind.TYPING])
        return replace(event(kind, user=user, shop=shop), at=START + timedelta(minutes=minutes))
    return message(minutes=minutes, user=user, shop=shop, outbound=chance.random() < 0.3)


@pytest.mark.parametrize("seed", range(3))
async def test_after_failures_and_repetitions_the_sums_are_a_full_count(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest, seed: int
) -> None:
    chance = random.Random(seed)
    rival, seen = ingest_of(client, database, "rival"), list[XEvent]()
    conversations = Conversations(database)
    for _ in range(8):
        events = [random_event(chance) for _ in range(chance.randint(1, 30))]
        seen += events
        documents = await arrive(inbox, database, *events, *chance.sample(seen, min(3, len(seen))))
        failure = chance.choice(["commitTransaction", "insert", "update"])
        labels = {"errorLabels": ["TransientTransactionError"]} if failure != "commitTransaction" else {}
        async with failing(client, [failure], {"times": 1}, errorCode=112, **labels):
            await asyncio.gather(ingest.apply(documents), rival.apply(documents), return_exceptions=True)
        while left := await everything(database, "inbox"):
            await ingest.apply(left)
        for conversation in chance.sample(await everything(database, "conversations"), 1):
            await conversations.close("m1", conversation["_id"], "resolved", START + timedelta(days=5))
    await check(client, database)
    stored = [each for each in await everything(database, "messages") if each["status"] in {"received", "sent"}]
    sums = await summed(database)
    assert sums.measures["received"] == sum(each["direction"] == "inbound" for each in stored) > 0
    assert sums.measures["sent:native"] == sum(each["source"] == "native" for each in stored) > 0
    contacts = await everything(database, "contacts")
    assert sums.measures["contactsNew"] == len(contacts)
    assert sum(n for name, n in sums.measures.items() if name.startswith("responses:")) == sum(
        each["responseCount"] for each in contacts
    )
    assert sums.measures["responseSeconds"] == sum(each["responseSeconds"] for each in contacts)
    dialogues = await everything(database, "conversations")
    assert sums.measures["conversationsStarted"] == len(dialogues)
    assert sums.measures["conversationsClosed"] == sum(each["status"] == "closed" for each in dialogues)
    of_account = await summed(database, account_scope("account-100"))
    assert of_account.measures["received"] == sum(
        each["direction"] == "inbound" and each["accountId"] == "account-100" for each in stored
    )
    moments: dict[str, set[str]] = {}
    for each in stored:
        if each["direction"] == "inbound":
            moments.setdefault(each["contactId"], set()).add(day_of(each["at"]))
    for each in await everything(database, "activities"):
        moments.setdefault(each["contactId"], set()).add(day_of(each["at"]))
    days = sorted({day for found in moments.values() for day in found})
    for first in days:
        for last in days:
            wanted = sum(any(first <= day <= last for day in found) for found in moments.values())
            assert await active_in(database, first, last) == (wanted if first <= last else 0)


async def queued(database: Database, message_id: str, source: str = "agent") -> None:
    (conversation,) = await everything(database, "conversations")
    agent = AgentMessage(
        id=message_id,
        account_id="account-100",
        type="text",
        content="Answer",
        user_id="u1",
        conversation_id=conversation["_id"],
        contact_id=conversation["contactId"],
        twitter_user_id=conversation["twitterUserId"],
    )
    await Messages(database).queue("m1", agent, START)
    await database["messages"].update_one({"_id": message_id}, {"$set": {"source": source}})


async def test_a_message_counts_once_x_has_it_with_the_time_that_the_customer_waited(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest
) -> None:
    await ingest.apply(await arrive(inbox, database, message(minutes=0)))
    outbox = Outbox(client, database)
    for message_id, source in (("a", "agent"), ("b", "bot"), ("c", "test"), ("d", "agent")):
        await queued(database, message_id, source)
        await outbox.claim(message_id, 1, START)
    await check(client, database)
    at = START + timedelta(minutes=5)
    for number in range(2):
        async with failing(client, ["commitTransaction"], {"times": 1}, **UNKNOWN):
            await asyncio.gather(*(outbox.confirm(each, f"x-{each}", at, settled_by="answer") for each in "ab"))
            assert await outbox.confirm("c", "x-c", at, settled_by="answer") is (number == 0)
    sums = (await summed(database)).measures
    assert (sums["sent:agent"], sums["sent:bot"], sums["sent:test"]) == (1, 1, 0)
    assert sums["responseSeconds"] == 300
    await check(client, database)


async def test_an_answer_that_was_taken_for_another_message_counts_once(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest
) -> None:
    await ingest.apply(await arrive(inbox, database, message(minutes=0)))
    outbox = Outbox(client, database)
    await queued(database, "a")
    # X shows the text so changed that its echo looks like a message from X's own app.
    await ingest.apply(await arrive(inbox, database, message("Other", 5, outbound=True, x_id="777")))
    await outbox.claim("a", 1, START)
    assert (await summed(database)).measures["sent:native"] == 1
    assert await outbox.confirm("a", "777", START + timedelta(minutes=6), settled_by="answer")
    sums = (await summed(database)).measures
    assert (sums["sent:native"], sums["sent:agent"], sums["responseSeconds"]) == (0, 1, 300)
    await check(client, database)


async def test_what_is_made_through_the_api_counts_once(client: Client, database: Database, ingest: Ingest) -> None:
    assert isinstance(ingest, Ingest)
    contacts, conversations = Contacts(database), Conversations(database)
    new = NewContact(id=new_id(), account_id="account-100", twitter_user_id="900", source="manual")
    async with failing(client, ["commitTransaction"], {"times": 1}, **UNKNOWN):
        contact = await contacts.add("m1", new, START)
    assert await contacts.add("m1", new, START) == contact
    account = AccountKey("account-100", "m1", "100")
    opened = await conversations.open_with(account, contact, START, new_id())
    assert await conversations.open_with(account, contact, START, new_id()) == opened
    for _ in range(2):
        closed = await conversations.close("m1", opened["_id"], "done", START + timedelta(hours=2))
        assert closed is not None
        assert closed["status"] == "closed"
    assert await conversations.close("m2", opened["_id"], "done", START) is None
    sums = (await summed(database)).measures
    assert (sums["contactsNew"], sums["conversationsStarted"], sums["conversationsClosed"]) == (1, 1, 1)
    await check(client, database)


async def test_an_erased_contact_leaves_its_counts(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest, settings: Settings
) -> None:
    events = [message(minutes=n * 700, user=user) for n in range(4) for user in ("200", "201")]
    await ingest.apply(
        await arrive(inbox, database, *events, message("Yes", 2200, outbound=True), event(EventKind.FOLLOW))
    )
    before = await summed(database)
    contact = await database["contacts"].find_one({"twitterUserId": "200"})
    assert contact is not None
    await database["flowExecutions"].insert_one(
        {"_id": "e1", "merchantId": "m1", "accountId": "account-100", "contactId": contact["_id"], "flowId": "f1"}
        | {"status": "running", "startedAt": START, "completedAt": None}
    )
    found = await recount(client, database)
    await repair(client, database, found)
    await ContactErasures(database, settings, settle_s=0.1).erase("m1", contact["_id"], "user", SystemClock())
    after = await summed(database)
    gone = Counter(after.measures)
    gone.subtract(before.measures)
    changed = {name: n for name, n in gone.items() if n}
    assert changed == {"contactsRemoved": 1, "conversationsClosed": 1, "executions:started": 1}
    assert after.active == before.active
    await check(client, database)


async def test_contacts_that_become_one_are_one_in_every_period(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest
) -> None:
    # Both on the first day, the one on the second, the other on the third.
    moments = [("200", 0), ("201", 0), ("200", 1440), ("201", 2880), ("201", 3000)]
    await ingest.apply(await arrive(inbox, database, *(message(minutes=at, user=user) for user, at in moments)))
    assert await active_in(database, "2026-11-02", "2026-11-04") == 2
    kept, other = [each["_id"] for each in await everything(database, "contacts")]
    await ContactMerges(database).merge("m1", kept, other, "user", START + timedelta(days=3))
    assert await active_in(database, "2026-11-02", "2026-11-04") == 1
    assert await active_in(database, "2026-11-04", "2026-11-04") == 1
    await check(client, database)
    await ingest.apply(
        await arrive(inbox, database, message(minutes=5760, user="201"), message(minutes=1500, user="201"))
    )
    assert await active_in(database, "2026-11-02", "2026-11-06") == 1
    sums = (await summed(database)).measures
    assert (sums["contactsNew"], sums["contactsRemoved"], sums["conversationsClosed"]) == (2, 1, 1)
    await check(client, database)


async def test_a_broken_sum_is_found_and_set_right_while_others_write(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest
) -> None:
    await ingest.apply(await arrive(inbox, database, *(message(minutes=n, user=str(200 + n)) for n in range(10))))
    key = "m1|merchant|2026-11-02|ingest"
    broken = {"total.received": 7, "hours.10.received": -2, "active.0": 1}
    await database["rollups"].update_one({"_id": key}, {"$inc": broken})
    await database["rollups"].delete_one({"_id": "m1|account:account-100|2026-11-02|ingest"})
    found = await recount(client, database)
    shown = {(each.place.scope, each.path): (each.kept, each.counted) for each in found.differences}
    assert shown["merchant", "total.received"] == (17, 10)
    assert shown["merchant", "hours.10.received"] == (8, 10)
    assert shown["account:account-100", "total.contactsNew"] == (0, 10)
    # What is written between the count and the repair is not lost, and not counted twice.
    await ingest.apply(await arrive(inbox, database, *(message(minutes=n) for n in range(3))))
    await repair(client, database, found)
    await check(client, database)
    assert (await summed(database)).measures["received"] == 13


async def test_parts_of_days_that_are_over_become_one_document(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest
) -> None:
    rival = ingest_of(client, database, "rival")
    for writer in (ingest, rival, ingest):
        events = [message(minutes=number * 1440, user=str(200 + number)) for number in range(3)]
        await writer.apply(await arrive(inbox, database, *events))
    before = await summed(database)
    assert await fold(client, database, "2026-11-04") == 8
    assert await fold(client, database, "2026-11-04") == 0
    keys = {each["_id"] for each in await everything(database, "rollups", _id={"$gt": "m1|merchant|"})}
    whole, open_parts = {key for key in keys if key.endswith("|whole")}, {"ingest", "rival"}
    assert whole == {"m1|merchant|2026-11-02|whole", "m1|merchant|2026-11-03|whole"}
    assert {key for key in keys if key not in whole} == {f"m1|merchant|2026-11-04|{each}" for each in open_parts}
    assert await summed(database) == before
    # What comes late is a part again, which is folded in.
    await ingest.apply(await arrive(inbox, database, message(minutes=5)))
    await asyncio.gather(*(fold(client, database, "2026-11-05") for _ in range(3)))
    assert await database["rollups"].count_documents({"_id": {"$gt": "m1|merchant|"}}) == 3
    assert (await summed(database)).measures["received"] == 10
    await check(client, database)


async def test_two_that_repair_at_once_set_right_once(
    client: Client, database: Database, inbox: Inbox, ingest: Ingest
) -> None:
    await ingest.apply(await arrive(inbox, database, message()))
    for _ in range(2):
        await database["rollups"].delete_many({})
        found, same = await recount(client, database), await recount(client, database)
        await repair(client, database, found)
        with pytest.raises(RecountFailed):
            await repair(client, database, same)
        await check(client, database)
    assert (await summed(database)).measures["received"] == 1


async def test_an_execution_counts_as_it_is_and_no_more_as_it_was(client: Client, database: Database) -> None:
    await database["contacts"].insert_one(
        {"_id": "c1", "merchantId": "m1", "accountId": "account-100", "twitterUserId": "1", "createdAt": START}
    )
    executions = FlowExecutions(client, database, name="host-1")

    async def move(execution_id: str, status: ExecutionStatus, at: datetime) -> None:
        former = cast("ExecutionDocument | None", await database["flowExecutions"].find_one({"_id": execution_id}))
        execution = Execution(execution_id, "f1", "c1", status=status, node_id="n1")
        write = ExecutionWrite(execution, "m1", "account-100", 1, former)
        await executions.write(FlowStep("c1", at, (write,)))

    moves: list[tuple[str, ExecutionStatus]] = [("e1", "running"), ("e2", "running"), ("e1", "failed")]
    moves += [("e2", "completed"), ("e1", "running"), ("e1", "completed"), ("e3", "running"), ("e3", "cancelled")]
    for number, (execution_id, status) in enumerate(moves):
        await move(execution_id, status, START + timedelta(minutes=40 * number))
    for scope in (MERCHANT, "account:account-100", "flow:f1"):
        sums = (await summed(database, scope)).measures
        found = {name.removeprefix("executions:"): n for name, n in sums.items() if name.startswith("exec") and n}
        assert found == {"started": 3, "completed": 2, "cancelled": 1}
    differing = (await recount(client, database)).differences
    assert {each.path.split(".")[-1] for each in differing} == {"contactsNew"}


async def test_executions_of_a_deleted_flow_leave_their_counts(client: Client, database: Database) -> None:
    common = {"merchantId": "m1", "accountId": "account-100", "contactId": "c1", "flowId": "f1", "startedAt": START}
    await database["flowExecutions"].insert_many(
        [
            {**common, "_id": "e1", "status": "running", "completedAt": None},
            {**common, "_id": "e2", "status": "failed", "completedAt": START + timedelta(hours=1)},
        ]
    )
    await repair(client, database, await recount(client, database))
    await Flows(database).remove_executions("m1", "f1")
    assert await database["flowExecutions"].count_documents({}) == 0
    sums = (await summed(database, "flow:f1")).measures
    assert (sums["executions:started"], sums["executions:failed"]) == (2, 1)
    await check(client, database)
