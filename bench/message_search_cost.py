"""What finding messages by their words costs their insertion, in a `mongod` as the program embeds it.

Messages of 14 words on average, drawn from 20,000 by Zipf's law, are inserted in batches of 2,000, acknowledged by
majority and journal, with the indexes of the program and

- nothing to search by;
- a text index over merchant and content;
- the words in the message and an index over merchant, word and time;
- the same words and index, but set afterwards, by a second client that works a twentieth of the time.

Only writing is timed. What that second client gets done when it has the server to itself comes next. Then events go
through the program's own ingestion, 256 at a time, without and with its indexer in the same process. Last, the program
searches 200,000 messages of one merchant; each search is the median of 20.

Run as `python -m bench.message_search_cost`.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import median

import orjson
from pydantic import SecretStr
from pymongo import MongoClient, UpdateOne, WriteConcern
from pymongo.collection import Collection

from actors.message_indexer import MessageIndexer
from bench.arguments import Arguments, parse
from bench.machine import describe
from bench.running import run
from config.settings import Settings
from domain.clock import SystemClock
from domain.events import EventKind, Profile, XEvent
from domain.ids import new_id
from domain.message_words import Asked, asked_for, words_of
from domain.partition import LANES
from storage.account_directory import AccountDirectory
from storage.client import database_of, open_client
from storage.embedded import EmbeddedMongo
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.inbox import Inbox
from storage.indexes import INDEXES, MESSAGES_BY_WORD, ensure_indexes
from storage.ingest import Ingest
from storage.message_search import MessageFilter, MessageSearch
from storage.message_words import MessageWords
from storage.paging import Slice

Document = dict[str, object]

_BATCH = 2_000
_INDEXED_TOGETHER = 500
_VOCABULARY = 20_000
_WORDS = (3, 25)
_MERCHANTS = 20
_REST = 19
_EVENTS = 256
_SEARCHED = 200_000
_SEARCHES = 20
_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_DURABLE = WriteConcern(w="majority", j=True)
_PLAIN = [model for model in INDEXES["messages"] if model.document["name"] != MESSAGES_BY_WORD]


def texts(count: int) -> list[str]:
    """Return texts whose words are as common as words are."""
    chosen = random.Random(1)  # the same texts at every run
    vocabulary = [
        "".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(2, 10))) for _ in range(_VOCABULARY)
    ]
    weights = list(accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))
    return [" ".join(chosen.choices(vocabulary, cum_weights=weights, k=chosen.randint(*_WORDS))) for _ in range(count)]


def messages(said: Sequence[str], first: int, *, with_words: bool) -> list[Document]:
    """Return a batch of messages."""
    now = datetime.now(UTC)
    found: list[Document] = []
    for number in range(first, first + _BATCH):
        text = said[number % len(said)]
        message: Document = {
            "_id": new_id(),
            "merchantId": f"merchant-{number % _MERCHANTS}",
            "accountId": f"account-{number % _MERCHANTS}",
            "conversationId": f"conversation-{number % 10_007}",
            "contactId": f"contact-{number % 10_007}",
            "twitterUserId": str(number % 10_007),
            "twitterMessageId": new_id(),
            "direction": "inbound",
            "type": "text",
            "content": text,
            "attachments": [],
            "isFromBot": False,
            "source": "customer",
            "status": "received",
            "sentAt": now,
            "at": now,
            "createdAt": now,
        }
        if with_words:
            message["words"] = list(words_of(text))
        found.append(message)
    return found


def index_some(collection: Collection[Document], after: str) -> str:
    """Give the words to the messages after an id; returns the last id that has them."""
    query = {"_id": {"$gt": after}}
    found = list(collection.find(query, {"content": 1}).sort("_id", 1).limit(_INDEXED_TOGETHER))
    if found:
        collection.bulk_write(
            [
                UpdateOne({"_id": each["_id"]}, {"$set": {"words": list(words_of(str(each["content"])))}})
                for each in found
            ],
            ordered=False,
        )
    return str(found[-1]["_id"]) if found else after


def index_meanwhile(uri: str, stopped: threading.Event) -> None:
    """Set words until it is over, a twentieth of the time."""
    with MongoClient[Document](uri) as client:
        collection = client.get_database("cost", write_concern=_DURABLE).messages
        after = ""
        while not stopped.is_set():
            begun = time.monotonic()
            after = index_some(collection, after)
            stopped.wait(_REST * (time.monotonic() - begun))


def insert(uri: str, way: str, said: Sequence[str], seconds: float) -> float:
    """Return messages a second that one client gets inserted."""
    with MongoClient[Document](uri) as client:
        client.drop_database("cost")
        collection = client.get_database("cost", write_concern=_DURABLE).messages
        collection.create_indexes(INDEXES["messages"] if way.startswith("words") else _PLAIN)
        if way == "text index":
            collection.create_index([("merchantId", 1), ("content", "text")], default_language="none")
        stopped = threading.Event()
        meanwhile = threading.Thread(target=index_meanwhile, args=(uri, stopped))
        if way == "words afterwards":
            meanwhile.start()
        count, spent_s = 0, 0.0
        while spent_s < seconds:
            batch = messages(said, count, with_words=way == "words at once")
            begun = time.monotonic()
            collection.insert_many(batch, ordered=False)
            spent_s += time.monotonic() - begun
            count += _BATCH
        stopped.set()
        if meanwhile.ident is not None:
            meanwhile.join()
        return count / spent_s


def index_alone(uri: str, seconds: float) -> float:
    """Return messages a second that get their words, of those that the last insertion left."""
    with MongoClient[Document](uri) as client:
        collection = client.get_database("cost", write_concern=_DURABLE).messages
        after, count, begun = "", 0, time.monotonic()
        while time.monotonic() - begun < seconds and (last := index_some(collection, after)) != after:
            after, count = last, count + _INDEXED_TOGETHER
        return count / (time.monotonic() - begun)


async def process(settings: Settings, said: Sequence[str], seconds: float, *, is_indexing: bool) -> float:
    """Return events a second that the program's ingestion processes."""
    client = open_client(settings)
    await client.drop_database(settings.mongodb_database)
    database = database_of(client, settings)
    await ensure_indexes(database)
    account = {"_id": "a1", "merchantId": "m1", "twitterUserId": "100", "connected": True, "status": "active"}
    await database["accounts"].insert_one(account)
    clock = SystemClock()
    inbox = Inbox(client, database)
    erased, flows = ErasedPeople(database, settings), FlowDirectory(database)
    ingest = Ingest(client, database, AccountDirectory(database), clock, erased=erased, flows=flows)
    indexer = MessageIndexer(MessageWords(database), range(LANES), lambda: True)
    if is_indexing:
        indexer.start()
    count, spent_s = 0, 0.0
    while spent_s < seconds:
        await inbox.add([_event(said, number) for number in range(count, count + _EVENTS)], clock.now())
        documents = await database["inbox"].find().to_list()
        begun = time.monotonic()
        await ingest.apply(documents)
        spent_s += time.monotonic() - begun
        count += _EVENTS
    if is_indexing:
        await indexer.stop()
    await client.close()
    return count / spent_s


def _event(said: Sequence[str], number: int) -> XEvent:
    data: Document = {"twitterMessageId": str(number), "direction": "inbound", "text": said[number % len(said)]}
    user = str(1_000 + number * 2_741 % 5_003)
    now = datetime.now(UTC)
    return XEvent(f"dm:100:{number}", EventKind.MESSAGE, "100", user, now, data, Profile(username=f"ann_{user}"))


async def search(settings: Settings, said: Sequence[str]) -> dict[str, float]:
    """Return how many milliseconds searches take, by what is asked for."""
    client = open_client(settings)
    await client.drop_database(settings.mongodb_database)
    database = database_of(client, settings)
    await ensure_indexes(database)
    for first in range(0, _SEARCHED, _BATCH):
        batch = messages(said, first, with_words=True)
        await database["messages"].insert_many([{**each, "merchantId": "m1"} for each in batch], ordered=False)
    by_count = [word for word, _ in Counter(word for text in said for word in words_of(text)).most_common()]
    first, second, rare = by_count[0], by_count[1], by_count[len(by_count) // 2]
    together = " ".join(said[0].split()[:2])
    queries = {
        "the commonest word": first,
        "the two commonest": f"{first} {second}",
        "a common and a rare one": f"{first} {rare}",
        "a phrase": f'"{together}"',
    }
    messages_of = MessageSearch(database)
    found: dict[str, float] = {}
    for name, query in queries.items():
        asked = asked_for(query)
        if asked is not None:
            found[name] = median([await _timed(messages_of, asked) for _ in range(_SEARCHES)])
    await client.drop_database(settings.mongodb_database)
    await client.close()
    return found


async def _timed(messages_of: MessageSearch, asked: Asked) -> float:
    begun = time.monotonic()
    await messages_of.page("m1", asked, MessageFilter(), Slice())
    return (time.monotonic() - begun) * 1000


WAYS = ("nothing", "text index", "words at once", "words afterwards")


async def _run(arguments: Arguments) -> int:
    figures: dict[str, list[float]] = {way: [] for way in (*WAYS, "words set alone", "events", "events, words beside")}
    said = texts(50_000)
    with tempfile.TemporaryDirectory(prefix="bench-search-cost-") as folder:
        mongo = EmbeddedMongo(Path(folder))
        await mongo.start()
        try:
            for _ in range(arguments.rounds):
                for way in WAYS:
                    rate = await asyncio.to_thread(insert, mongo.uri, way, said, arguments.seconds)
                    figures[way].append(rate)
                alone = await asyncio.to_thread(index_alone, mongo.uri, arguments.seconds)
                figures["words set alone"].append(alone)
                settings = Settings(mongodb_uri=SecretStr(mongo.uri), encryption_key=SecretStr(_KEY))
                for way, is_indexing in (("events", False), ("events, words beside", True)):
                    rate = await process(settings, said, arguments.seconds, is_indexing=is_indexing)
                    figures[way].append(rate)
            searches = await search(settings, said)
        finally:
            await mongo.stop()
    medians = {way: median(found) for way, found in figures.items()}
    for way, found in medians.items():
        print(f"{way:20} {found:9,.0f}/s  {found / medians['nothing']:.2f}")
    for what, took_ms in searches.items():
        print(f"{what:25} {took_ms:7.1f} ms")
    report = {"machine": describe(), "medians": medians, "rounds": figures, "searches": searches}
    if arguments.output:
        await asyncio.to_thread(arguments.output.write_bytes, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    sys.exit(run(_run(parse(__doc__ or "", seconds=3, rounds=5))))
