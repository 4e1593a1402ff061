from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

import pytest

from domain.account_key import AccountKey
from domain.errors import NotFound
from domain.ids import new_id
from storage.client import Database
from storage.contacts import ContactDocument
from storage.conversations import Conversations
from storage.indexes import ensure_indexes

NOW = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)


async def test_whoever_asks_at_once_gets_one_conversation_that_is_counted_once(database: Database) -> None:
    await ensure_indexes(database)
    account = AccountKey(new_id(), new_id(), "100")
    contact = {"_id": new_id(), "twitterUserId": "4711", "conversationCount": 0}
    await database["contacts"].insert_one({**contact, "accountId": account.id, "merchantId": account.merchant_id})
    conversations = Conversations(database)
    found = await asyncio.gather(
        *(conversations.open_with(account, cast("ContactDocument", contact), NOW, new_id()) for _ in range(8))
    )
    assert len({each["_id"] for each in found}) == 1
    (stored,) = await database["conversations"].find({"contactId": contact["_id"]}).to_list(None)
    assert (stored["_id"], stored["status"], stored["merchantId"]) == (found[0]["_id"], "open", account.merchant_id)
    kept = await database["contacts"].find_one({"_id": contact["_id"]})
    assert kept is not None
    assert kept["conversationCount"] == 1


async def test_a_contact_that_is_gone_leaves_no_conversation_behind(database: Database) -> None:
    account = AccountKey(new_id(), new_id(), "100")
    contact = {"_id": new_id(), "twitterUserId": "4711"}
    with pytest.raises(NotFound):
        await Conversations(database).open_with(account, cast("ContactDocument", contact), NOW, new_id())
    assert await database["conversations"].find_one({"contactId": contact["_id"]}) is None
