"""Events as they arrive, and the accounts that they are for."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from config.settings import Settings
from domain.events import EventKind, Profile, XEvent
from domain.rollup import MERCHANT, counts_messages
from storage.account_directory import AccountDirectory
from storage.client import Client, Database, Document
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.inbox import Inbox
from storage.ingest import Ingest

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
_NUMBERS = count(1000)


class Clock:
    def now(self) -> datetime:
        return START + timedelta(hours=1)


def message(
    text: str = "hi",
    minutes: float = 0,
    *,
    user: str = "200",
    shop: str = "100",
    outbound: bool = False,
    x_id: str = "",
) -> XEvent:
    x_id = x_id or str(next(_NUMBERS))
    data: dict[str, object] = {"twitterMessageId": x_id, "text": text}
    data |= {"direction": "outbound", "isEcho": True} if outbound else {"direction": "inbound"}
    at = START + timedelta(minutes=minutes)
    return XEvent(f"dm:{shop}:{x_id}", EventKind.MESSAGE, shop, user, at, data, Profile(username=f"user{user}"))


def event(kind: EventKind, *, user: str = "200", shop: str = "100") -> XEvent:
    return XEvent(f"{kind}:{next(_NUMBERS)}", kind, shop, user, START, {"direction": "inbound"})


async def connect(database: Database, shop: str = "100") -> str:
    """Store a connected account; returns its id."""
    account_id = f"account-{shop}"
    await database["accounts"].insert_one(
        {"_id": account_id, "merchantId": "m1", "twitterUserId": shop, "connected": True, "status": "active"}
    )
    return account_id


def ingest_of(
    client: Client,
    database: Database,
    name: str = "ingest",
    erased: ErasedPeople | None = None,
    flows: FlowDirectory | None = None,
) -> Ingest:
    erased = erased or ErasedPeople(database, Settings())
    flows = flows or FlowDirectory(database)
    return Ingest(client, database, AccountDirectory(database), Clock(), erased=erased, flows=flows, name=name)


async def arrive(inbox: Inbox, database: Database, *events: XEvent) -> list[Document]:
    """Put events into the inbox with one commit; returns everything that is in it."""
    await inbox.add(events, START)
    return await everything(database, "inbox")


async def everything(database: Database, collection: str, **query: Any) -> list[Document]:
    return await database[collection].find(query).sort("_id", 1).to_list()


def event_count(documents: list[Document]) -> int:
    return sum(len(document["events"]) for document in documents)


async def check_counters(database: Database) -> None:
    """Compare every counter with a full count."""
    stored = [m for m in await everything(database, "messages") if m["twitterMessageId"]]
    for contact in await everything(database, "contacts"):
        mine = [m for m in stored if m["contactId"] == contact["_id"]]
        assert contact["messagesReceived"] == sum(m["direction"] == "inbound" for m in mine)
        assert contact["messagesSent"] == sum(m["direction"] == "outbound" for m in mine)
        conversations = await everything(database, "conversations", contactId=contact["_id"])
        assert contact["conversationCount"] == len(conversations)
        assert sum(c["status"] == "open" for c in conversations) <= 1
    for conversation in await everything(database, "conversations"):
        mine = [m for m in stored if m["conversationId"] == conversation["_id"]]
        assert conversation["messageCount"] == len(mine)
    assert await messages_counted(database) == len(stored)


async def messages_counted(database: Database) -> int:
    """Return how many messages all accounts have had, as the rollups say."""
    found = Counter[str]()
    for part in await everything(database, "rollups"):
        if f"|{MERCHANT}|" in part["_id"]:
            found.update(part.get("total", {}))
    return sum(count for name, count in found.items() if counts_messages(name))
