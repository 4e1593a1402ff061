"""The limits of the same run: the same documents written by a plain client, and the stub X called by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice

import aiohttp
from pymongo import MongoClient, UpdateOne, WriteConcern
from pymongo.database import Database

from bench.million.data_folder import DATABASE
from domain.ids import new_id
from storage.client import Document
from storage.indexes import INDEXES

_DURABLE = WriteConcern(w="majority", j=True)
_RECIPIENTS_AT_ONCE = 1_000
_MESSAGES_AT_ONCE = 128


def recipients_rate(uri: str, run_id: str, most: int) -> float:
    """Return how many of a run's recipients a second are inserted, a thousand at a time, with the same indexes."""
    with MongoClient[Document](uri) as client:
        target = _empty(client, "campaignRecipients")
        found = client[DATABASE].campaignRecipients.find({"runId": run_id}).limit(most)
        spent, count = 0.0, 0
        while batch := list(islice(found, _RECIPIENTS_AT_ONCE)):
            begun = time.perf_counter()
            target.campaignRecipients.insert_many(batch, ordered=False)
            spent += time.perf_counter() - begun
            count += len(batch)
        return count / spent


def messages_rate(uri: str, campaign_id: str, most: int) -> float:
    """Return how many of a campaign's messages a second are inserted, claimed and confirmed, 128 at a time.

    Nothing else is written: no contact, recipient, lane or counter.
    """
    with MongoClient[Document](uri) as client:
        target = _empty(client, "messages")
        found = client[DATABASE].messages.find({"campaign.campaignId": campaign_id}).limit(most)
        spent, count = 0.0, 0
        while batch := list(islice(found, _MESSAGES_AT_ONCE)):
            queued = [
                {**each, "_id": new_id(), "status": "queued", "pending": True, "twitterMessageId": None}
                for each in batch
            ]
            x_ids = [each["twitterMessageId"] for each in batch]
            begun = time.perf_counter()
            target.messages.insert_many(queued, ordered=False)
            target.messages.bulk_write(list(_claims(queued)), ordered=False)
            target.messages.bulk_write(list(_confirmations(queued, x_ids)), ordered=False)
            spent += time.perf_counter() - begun
            count += len(batch)
        return count / spent


async def stub_rate(url: str, calls: int, under_way: int) -> float:
    """Return how many sends a second the stub X answers to a plain client with so many of them under way."""
    numbers = iter(range(calls))

    async def caller(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            address = f"{url}/2/dm_conversations/with/{number + 1}/messages"
            async with session.post(address, json={"text": "Hello"}) as answer:
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=under_way)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(caller(session) for _ in range(under_way)))
        return calls / (time.perf_counter() - begun)


def _empty(client: MongoClient[Document], name: str) -> Database[Document]:
    client.drop_database("bare")
    database = client.get_database("bare", write_concern=_DURABLE)
    database[name].create_indexes(INDEXES[name])
    return database


def _claims(messages: list[Document]) -> Iterator[UpdateOne]:
    for each in messages:
        claim = {"epoch": 1, "at": each["createdAt"], "step": each["_id"]}
        yield UpdateOne(
            {"_id": each["_id"], "status": "queued"},
            {"$set": {"status": "sending", "claim": claim}, "$inc": {"attempts": 1}},
        )


def _confirmations(messages: list[Document], x_ids: list[str]) -> Iterator[UpdateOne]:
    for each, x_id in zip(messages, x_ids, strict=True):
        now = each["createdAt"]
        sent = {"status": "sent", "twitterMessageId": x_id, "sentAt": now, "at": now, "settledBy": "answer"}
        yield UpdateOne(
            {"_id": each["_id"], "status": {"$in": ["sending", "unknown"]}},
            {"$set": sent, "$unset": {"pending": "", "claim": ""}},
        )
