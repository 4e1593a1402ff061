"""Merchants with accounts, contacts and open conversations, written into the program's database directly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo import MongoClient
from pymongo.asynchronous.database import AsyncDatabase

from bench.million.data_folder import DATABASE, insert
from domain.account_key import AccountKey
from domain.contact_names import search_terms
from domain.conversation_drafts import new_conversation
from domain.ids import new_id
from storage.accounts import Accounts, Identity, Tokens
from storage.client import Document
from storage.encryption import KeyRing

#: What seals the accounts' tokens; the program is started with it.
KEY = b"a key of the benchmark, 32 bytes"
_FIRST_X_ID = 10_000_000


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant whose contacts are spread evenly over its accounts; `number` tells merchants apart."""

    number: int
    id: str
    accounts: Sequence[AccountKey]
    contacts: int


async def make_merchant(database: AsyncDatabase[Document], number: int, *, accounts: int, contacts: int) -> Merchant:
    """Connect the accounts of a merchant; its contacts are yet to be written."""
    merchant_id = new_id()
    keys = [AccountKey(new_id(), merchant_id, str(number * _FIRST_X_ID + each)) for each in range(accounts)]
    stored, now = Accounts(database, KeyRing(KEY)), datetime.now(UTC)
    for key in keys:
        name = f"shop{key.twitter_user_id}"
        await stored.connect(
            merchant_id,
            key.id,
            Identity(key.twitter_user_id, name, name, None),
            Tokens(f"{key.twitter_user_id}-bench", "bench"),
            webhook_id="1",
            defaults={},
            now=now,
        )
    return Merchant(number, merchant_id, keys, contacts)


def add_contacts(uri: str, merchant: Merchant, *, with_conversations: bool) -> None:
    """Write a merchant's contacts, each with an open conversation where that is asked for."""
    now = datetime.now(UTC)
    with MongoClient[Document](uri) as client:
        insert(client[DATABASE].contacts, _contacts(merchant, now))
        if with_conversations:
            insert(client[DATABASE].conversations, _conversations(client, merchant, now))


def _contacts(merchant: Merchant, now: datetime) -> Iterator[dict[str, object]]:
    for number in range(merchant.contacts):
        account = merchant.accounts[number % len(merchant.accounts)]
        person = str((merchant.number * 10 + 5) * _FIRST_X_ID + number)
        username = f"user_{person}"
        yield {
            "_id": new_id(),
            "merchantId": merchant.id,
            "accountId": account.id,
            "twitterUserId": person,
            "username": username,
            "displayName": f"Ann {number}",
            "profileImageUrl": f"https://pbs.example/{number}.png",
            "searchTerms": search_terms(username, f"Ann {number}"),
            "tags": [],
            "attributes": {"city": f"City {number % 400}"},
            "source": "message",
            "consent": {"state": "inbound", "at": now, "source": "message"},
            "conversationCount": 1,
            "messagesSent": 0,
            "messagesReceived": 1,
            "responseSeconds": 0,
            "responseCount": 0,
            "firstInteractionAt": now,
            "lastInteractionAt": now,
            "createdAt": now,
            "updatedAt": now,
        }


def _conversations(client: MongoClient[Document], merchant: Merchant, now: datetime) -> Iterator[dict[str, object]]:
    accounts = {each.id: each for each in merchant.accounts}
    for contact in client[DATABASE].contacts.find({"merchantId": merchant.id}, {"accountId": 1, "twitterUserId": 1}):
        yield new_conversation(accounts[contact["accountId"]], contact, now, new_id())
