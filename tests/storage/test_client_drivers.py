"""The same repositories over each driver: PyMongo and Motor on a real server, mongomock-motor for what needs none.

mongomock has no sessions, so what works in transactions (ingestion, confirmation of sends, splitting of the inbox's
documents) runs over real servers only; and it takes a partial unique index for one over everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import pytest
from mongomock_motor import AsyncMongoMockClient

from config.settings import Settings
from domain.errors import Conflict
from domain.events import EventKind
from domain.ids import new_id
from domain.partition import LANES
from storage.account_directory import AccountDirectory
from storage.accounts import Accounts, Identity, Tokens
from storage.actor_states import ActorStates, StaleActor
from storage.client import Client, Database, check, close_client, database_of, open_client
from storage.contact_queries import ContactFilter
from storage.contacts import Contacts
from storage.conversations import Assignee, ConversationFilter, Conversations
from storage.encryption import key_ring
from storage.epochs import next_epoch
from storage.inbox import Inbox, event_of
from storage.indexes import ensure_indexes
from storage.messages import AgentMessage, Messages
from storage.outbox import Outbox
from storage.paging import Slice
from storage.users import UserDocument, Users
from tests.storage.arrivals import START, arrive, check_counters, connect, event, everything, ingest_of, message

SERVERS = ["pymongo", "motor"]


async def opened(settings: Settings, driver: str) -> tuple[Client, Database]:
    if driver == "mongomock":
        client = cast(Client, AsyncMongoMockClient(tz_aware=True))
        database = client[settings.mongodb_database]
        # Not our partial ones: see above.
        await database["users"].create_index("email", unique=True)
        return client, database
    client = open_client(settings.model_copy(update={"mongodb_driver": driver}))
    # Another test may have had it before.
    await client.drop_database(settings.mongodb_database)
    database = database_of(client, settings)
    await ensure_indexes(database)
    return client, database


@pytest.fixture(params=[*SERVERS, "mongomock"])
async def any_driver(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[tuple[Client, Database]]:
    client, database = await opened(settings, request.param)
    yield client, database
    await client.drop_database(settings.mongodb_database)
    if request.param != "mongomock":
        await close_client(client)


@pytest.fixture(params=SERVERS)
async def server_driver(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[tuple[Client, Database]]:
    client, database = await opened(settings, request.param)
    yield client, database
    await client.drop_database(settings.mongodb_database)
    await close_client(client)


def user(email: str, merchant_id: str = "m1") -> UserDocument:
    return UserDocument(
        _id=new_id(),
        merchantId=merchant_id,
        email=email,
        passwordHash="hash",
        name="Ann",
        roles=["owner"],
        status="active",
        createdAt=START,
    )


async def test_users(any_driver: tuple[Client, Database]) -> None:
    users, ann = Users(any_driver[1]), user("Ann@Shop.example")
    await users.insert(ann)
    with pytest.raises(Conflict):
        await users.insert(user("ann@shop.example", "m2"))
    found = await users.by_email("ANN@shop.example")
    assert found is not None
    assert (found["_id"], found["email"], found["createdAt"]) == (ann["_id"], "ann@shop.example", START)
    assert await users.get("m2", ann["_id"]) is None
    assert await users.is_active("m1", ann["_id"])
    await users.set_password_hash("m1", ann["_id"], "new")
    changed = await users.get("m1", ann["_id"])
    assert changed is not None
    assert changed["passwordHash"] == "new"


async def test_accounts(any_driver: tuple[Client, Database], settings: Settings) -> None:
    accounts = Accounts(any_driver[1], key_ring(settings))
    tokens = Tokens("token", "secret")
    for number in range(3):
        identity = Identity(f"10{number}", "shop", "Shop", None)
        moment = START + timedelta(minutes=number)
        await accounts.connect("m1", f"a{number}", identity, tokens, webhook_id="1", defaults={"x": 1}, now=moment)
    page, total = await accounts.page("m1", "active", Slice(0, 2))
    assert ([account["_id"] for account in page], total) == (["a2", "a1"], 3)
    assert all("tokens" not in account for account in page)
    assert await accounts.tokens("m1", "a0") == tokens
    assert await accounts.tokens("m2", "a0") is None
    assert await accounts.is_connected("100")
    await accounts.set_status("m1", "a0", "error", "revoked", START)
    changed = await accounts.change("m1", "a0", {"autoReplyEnabled": True, "businessHours.enabled": True}, START)
    assert changed is not None
    assert (changed["statusReason"], changed["businessHours"]) == ("revoked", {"enabled": True})
    assert await accounts.disconnect("m1", "a0", START)
    assert not await accounts.disconnect("m1", "a0", START)
    assert await accounts.former_id("m1", "100") == "a0"
    assert set(await AccountDirectory(any_driver[1]).find(["100", "101"])) == {"101"}


async def test_contacts(any_driver: tuple[Client, Database]) -> None:
    database = any_driver[1]
    contacts = Contacts(database)
    for number in range(4):
        await database["contacts"].insert_one(
            {
                "_id": f"c{number}",
                "merchantId": "m1",
                "accountId": "a1",
                "twitterUserId": str(number),
                "username": f"user{number}",
                "displayName": "Ann Bee",
                "searchTerms": ["ann", "bee", f"user{number}"],
                "tags": ["vip"] if number % 2 else [],
                "lastInteractionAt": START + timedelta(minutes=number),
            }
        )
    page, total = await contacts.page("m1", ContactFilter(account_id="a1", search="be us"), Slice(1, 2))
    assert ([contact["_id"] for contact in page], total) == (["c2", "c1"], 4)
    assert [c["_id"] for c in (await contacts.page("m1", ContactFilter(tags=("vip",)), Slice()))[0]] == ["c3", "c1"]
    assert await contacts.page("m2", ContactFilter(), Slice()) == ([], 0)
    assert (await contacts.names("m1", ["c1", "c9"]))["c1"]["username"] == "user1"
    assert await contacts.count("m1", "a1") == 4
    assert await contacts.get("m2", "c1") is None


async def test_conversations(any_driver: tuple[Client, Database]) -> None:
    database = any_driver[1]
    conversations = Conversations(database)
    for number in range(3):
        await database["conversations"].insert_one(
            {
                "_id": f"v{number}",
                "merchantId": "m1",
                "accountId": "a1",
                "contactId": f"c{number}",
                "status": "open",
                "assignedToUserId": None,
                "lastMessageAt": START + timedelta(minutes=number),
                "waitingSince": START,
            }
        )
    assigned = await conversations.assign("m1", "v1", "u1")
    assert assigned is not None
    assert assigned["assignedToUserId"] == "u1"
    await database["conversations"].update_one({"_id": "v0"}, {"$set": {"status": "closed"}})
    unassigned = ConversationFilter(account_id="a1", status="open", assigned=Assignee(None))
    page, total = await conversations.page("m1", unassigned, Slice())
    assert ([c["_id"] for c in page], total) == (["v2"], 1)
    assert (await conversations.page("m1", ConversationFilter(), Slice()))[1] == 3
    assert await conversations.get("m2", "v1") is None


async def test_messages(any_driver: tuple[Client, Database]) -> None:
    messages = Messages(any_driver[1])
    for number in range(3):
        written = AgentMessage(f"m{number}", "a1", "v1", "c1", "200", "text", f"text {number}", "u1")
        await messages.queue("m1", written, START + timedelta(minutes=number))
        await messages.queue("m1", written, START)
    page, total = await messages.page("m1", "v1", Slice(0, 2), newest_first=True)
    assert ([m["_id"] for m in page], total) == (["m2", "m1"], 3)
    assert [m["_id"] for m in await messages.newest("m1", "v1", 2)] == ["m1", "m2"]
    assert await messages.withdraw("m1", "m0")
    assert not await messages.withdraw("m1", "m0")
    assert await messages.get("m2", "m1") is None
    outbox = Outbox(*any_driver)
    assert await outbox.claim("m1", 1, START) is not None
    assert await outbox.claim("m1", 2, START) is None
    await outbox.release("m1")
    await outbox.doubt(["m1", "m2"])
    assert [m["_id"] for m in await outbox.pending("a1")] == ["m1", "m2"]
    assert await outbox.accounts_with_pending() == ["a1"]


async def test_inbox(any_driver: tuple[Client, Database]) -> None:
    inbox = Inbox(*any_driver)
    events = [message(user=str(200 + n)) for n in range(10)]
    await inbox.add(events, START)
    await inbox.add([event(EventKind.FOLLOW)], START)
    documents = await inbox.read(range(LANES), 3, 1000)
    documents += [d for d in await inbox.read(range(3), 0, 1000) if d not in documents]
    read = {event_of(entry, document["receivedAt"]).key for document in documents for entry in document["events"]}
    assert read >= {e.key for e in events}
    assert await inbox.oldest() == START
    await inbox.bury(documents[0], "test", START)
    assert len(await everything(any_driver[1], "deadLetters")) == 1
    assert await inbox.pending() == 11 - len(documents[0]["events"])


async def test_states_and_epochs(any_driver: tuple[Client, Database]) -> None:
    database = any_driver[1]
    assert [await next_epoch(database) for _ in range(3)] == [1, 2, 3]
    states = ActorStates(database, "accountActors")
    version, state = await states.claim("a", 1)
    assert state == {}
    await states.save("a", 1, version, {"used": b"1"})
    assert (await states.claim("a", 2))[1] == {"used": b"1"}
    with pytest.raises(StaleActor):
        await states.save("a", 1, version + 1, {})
    with pytest.raises(StaleActor):
        await states.claim("a", 1)


async def test_ingestion_and_confirmation(server_driver: tuple[Client, Database]) -> None:
    client, database = server_driver
    await check(database)
    await connect(database)
    ingest, inbox = ingest_of(client, database), Inbox(client, database)
    ingested = await ingest.apply(await arrive(inbox, database, *(message() for _ in range(5)), message(shop="9")))
    assert (ingested.messages, ingested.unrouted) == (5, 1)
    (conversation,) = await everything(database, "conversations")
    written = AgentMessage(
        "own", "account-100", conversation["_id"], conversation["contactId"], "200", "text", "Answer", "u1"
    )
    await Messages(database).queue("m1", written, START)
    outbox = Outbox(client, database)
    await outbox.claim("own", 1, START)
    news = await asyncio.gather(*(outbox.confirm("own", "x1", START, settled_by="answer") for _ in range(3)))
    assert sorted(news) == [False, False, True]
    await arrive(inbox, database, message(), message())
    (document,) = await inbox.read(range(LANES), 0, 10)
    await inbox.split(document)
    assert len(await inbox.read(range(LANES), 0, 10)) == 2
    await check_counters(database)
