"""What each index of the contacts costs an ingest of new contacts, in a `mongod` as the program embeds it.

New contacts as a first message makes them (no tags, no attributes) are inserted in batches of 256, acknowledged by
majority and journal: with every index, and with all but one. Only writing is timed. Run as
`python -m bench.index_cost`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import orjson
from pymongo import IndexModel, MongoClient, WriteConcern

from bench.arguments import Arguments, parse
from bench.machine import describe
from bench.million.population import Document, population
from bench.running import run
from storage.embedded import EmbeddedMongo
from storage.indexes import INDEXES

_BATCH = 256
#: There before anything is measured, so that no index is empty.
_THERE = 20_000
_MOST_PER_S = 40_000


def measure(uri: str, models: list[IndexModel], people: Sequence[Document], seconds: float) -> float:
    """Return new contacts a second that one client gets inserted, until the time or the people are used up."""
    with MongoClient[Document](uri) as client:
        client.drop_database("cost")
        database = client.get_database("cost", write_concern=WriteConcern(w="majority", j=True))
        database.contacts.create_indexes(models)
        database.contacts.insert_many(people[:_THERE])
        count, spent_s = 0, 0.0
        while spent_s < seconds and (batch := people[_THERE + count : _THERE + count + _BATCH]):
            begun = time.monotonic()
            database.contacts.insert_many(batch, ordered=False)
            spent_s += time.monotonic() - begun
            count += len(batch)
        return count / spent_s


async def _run(arguments: Arguments) -> int:
    every = INDEXES["contacts"]
    ways = {"every index": every}
    for left_out in every:
        ways[f"without {left_out.document['name']}"] = [each for each in every if each is not left_out]
    figures: dict[str, list[float]] = {way: [] for way in ways}
    wanted = _THERE + int(_MOST_PER_S * arguments.seconds)
    made = population(wanted * 7 // 8, wanted // 8, datetime.now(UTC))
    people = [{**each, "tags": [], "attributes": {}} for each in made]
    with tempfile.TemporaryDirectory(prefix="bench-index-cost-") as folder:
        mongo = EmbeddedMongo(Path(folder))
        await mongo.start()
        try:
            for _ in range(arguments.rounds):
                for way, models in ways.items():
                    figures[way].append(await asyncio.to_thread(measure, mongo.uri, models, people, arguments.seconds))
        finally:
            await mongo.stop()
    medians = {way: median(found) for way, found in figures.items()}
    for way, found in medians.items():
        print(f"{way:45} {found:9,.0f}/s  {found / medians['every index']:.2f}")
    report = {"machine": describe(), "medians": medians, "rounds": figures}
    if arguments.output:
        await asyncio.to_thread(arguments.output.write_bytes, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    sys.exit(run(_run(parse(__doc__ or "", seconds=2, rounds=3))))
