"""A data folder of the program with the population in it, made once and kept where that is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pymongo import IndexModel, MongoClient
from pymongo.collection import Collection

from bench.million.population import Document, population
from storage.embedded import EmbeddedMongo
from storage.indexes import INDEXES

DATABASE = "mktx"
_BATCH = 5_000
#: For each so many contacts of the merchant one of somebody else.
_OTHERS = 7


async def fill(folder: Path, contacts: int) -> float:
    """Have so many contacts of the merchant in a data folder, with the program's indexes; return the seconds it took.

    What an earlier run has left there is taken as it is, but for indexes that are others by now.
    """
    begun = time.monotonic()
    mongo = EmbeddedMongo(folder)
    await mongo.start()
    try:
        with MongoClient[Document](mongo.uri) as client:
            collection = client[DATABASE].contacts
            kept = client[DATABASE].benchPopulation
            if kept.find_one({"_id": "contacts", "count": contacts}) is None:
                kept.drop()
                collection.drop()
                insert(collection, population(contacts, contacts // _OTHERS, datetime.now(UTC)))
                kept.insert_one({"_id": "contacts", "count": contacts})
            index(collection, INDEXES["contacts"])
    finally:
        await mongo.stop()
    return time.monotonic() - begun


def insert(collection: Collection[Document], documents: Iterator[Document]) -> None:
    """Insert documents in large batches, the next one being made while one is written."""
    writing: Future[object] | None = None
    with ThreadPoolExecutor(1) as pool:
        while batch := list(islice(documents, _BATCH)):
            if writing is not None:
                writing.result()
            writing = pool.submit(collection.insert_many, batch, ordered=False)
        if writing is not None:
            writing.result()


def index(collection: Collection[Document], models: list[IndexModel]) -> None:
    """Leave a collection with just these indexes."""
    wanted = {str(model.document["name"]): model.document for model in models}
    for name, there in collection.index_information().items():
        condition = wanted.get(name, {}).get("partialFilterExpression")
        if name != "_id_" and (name not in wanted or condition != there.get("partialFilterExpression")):
            collection.drop_index(name)
    collection.create_indexes(models)
