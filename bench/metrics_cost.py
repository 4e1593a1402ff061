"""What metrics cost an event on its way in: from the group commit into the inbox to the documents that it changes.

Batches of 256 calls go through the program's own group commit and ingestor, in turn with metrics and without, on one
`mongod` as the program embeds it; the order of the two changes from pair to pair, so that neither has the better
moments. With metrics is as in the program: several processes' mode, where every metric is kept in a file, and the
database's driver tells of each command. Without, every metric does nothing, and the driver tells nobody. The HTTP side
is left out: it counts nothing on the way of an accepted call, so the share of the whole is smaller than the one shown.
Run as `python -m bench.metrics_cost`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple
from unittest.mock import patch

import orjson
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from actors.ingestor import Ingestor
from bench.arguments import Arguments, parse
from bench.load.events import ACCOUNT_X_ID, events, run_prefix
from bench.machine import describe
from bench.running import run
from config.settings import Settings
from domain.clock import SystemClock
from domain.lone_message import LoneMessage, lone_message
from domain.partition import LANES
from gateway.commit import GroupCommit
from program.metrics_files import VARIABLE
from storage.account_directory import AccountDirectory
from storage.client import Client, close_client, database_of, open_client
from storage.embedded import EmbeddedMongo
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.inbox import Inbox
from storage.indexes import ensure_indexes
from storage.ingest import Ingest

_CALLS = 256
_AIM = 0.03
WAYS = ("with", "without")
_WARM_UP = 10
_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


class Took(NamedTuple):
    """What one batch took: seconds, and seconds of this process's processor."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Way:
    """The parts that an event goes through, on a client of their own."""

    client: Client
    commit: GroupCommit
    ingestor: Ingestor

    @classmethod
    def of(cls, client: Client, settings: Settings) -> Way:
        database, clock = database_of(client, settings), SystemClock()
        inbox = Inbox(client, database)
        ingest = Ingest(
            client,
            database,
            AccountDirectory(database),
            clock,
            erased=ErasedPeople(database, settings),
            flows=FlowDirectory(database),
        )

        async def reacted(_: object) -> None:
            """Nobody waits for these events."""

        ingestor = Ingestor(inbox, ingest, range(LANES), clock, batch=_CALLS, reacted=reacted)
        return cls(client, GroupCommit(inbox, clock, lambda _lanes, _calls: None), ingestor)

    async def take(self, batch: list[LoneMessage]) -> Took:
        """Have a batch of calls made durable, and processed."""
        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self.commit.add((each,), time.monotonic()) for each in batch))
        await self.ingestor.ring()
        return Took(time.perf_counter() - begun, time.process_time() - cpu)


def _without_listeners(uri: str, **options: object) -> AsyncMongoClient:
    del options["event_listeners"]
    return AsyncMongoClient(uri, **options)


@contextmanager
def _no_metrics() -> Iterator[None]:
    """Have every metric do nothing."""
    with (
        patch.object(MetricWrapperBase, "labels", lambda self, *_, **__: self),
        patch.object(Counter, "inc", lambda *_: None),
        patch.object(Histogram, "observe", lambda *_: None),
        patch.object(Gauge, "set", lambda *_: None),
    ):
        yield


def _batches(prefix: str) -> Iterator[list[LoneMessage]]:
    made = events(prefix, 10**8)
    while True:
        bodies = [each.body for each in islice(made, _CALLS)]
        found = (lone_message(orjson.loads(body), body) for body in bodies)
        yield [each for each in found if each is not None]


async def _opened(client: Client, settings: Settings) -> Way:
    """Return a way on an empty database with one connected account."""
    await client.drop_database(settings.mongodb_database)
    database = database_of(client, settings)
    await ensure_indexes(database)
    account = {"_id": "a1", "merchantId": "m1", "twitterUserId": ACCOUNT_X_ID, "connected": True, "status": "active"}
    await database["accounts"].insert_one(account)
    way = Way.of(client, settings)
    way.ingestor.start()
    return way


async def measure(uri: str, seconds: float) -> dict[str, list[Took]]:
    """Return what batches took, with metrics and without, pair by pair."""
    settings = Settings(mongodb_uri=SecretStr(uri), encryption_key=SecretStr(_KEY))
    databases = {name: settings.model_copy(update={"mongodb_database": f"bench-{name}"}) for name in WAYS}
    seen = open_client(settings)
    with patch("storage.client.AsyncMongoClient", _without_listeners):
        unseen = open_client(settings)
    clients = {"with": seen, "without": unseen}
    ways = {name: await _opened(clients[name], databases[name]) for name in WAYS}
    took: dict[str, list[Took]] = {name: [] for name in WAYS}
    batches = _batches(run_prefix())
    give_up = time.monotonic() + seconds
    for number in count():
        if number > _WARM_UP and time.monotonic() > give_up:
            break
        for name in WAYS if number % 2 else reversed(WAYS):
            batch = next(batches)
            with nullcontext() if name == "with" else _no_metrics():
                spent = await ways[name].take(batch)
            if number >= _WARM_UP:
                took[name].append(spent)
    for name, way in ways.items():
        await way.ingestor.stop()
        stored = await database_of(way.client, databases[name])["messages"].count_documents({})
        if stored != number * _CALLS:
            raise RuntimeError(f"{stored} messages are stored of {number * _CALLS}")
        await close_client(way.client)
    return took


async def _run(arguments: Arguments) -> int:
    rounds: list[dict[str, float]] = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory(prefix="bench-metrics-cost-") as folder:
            mongo = EmbeddedMongo(Path(folder))
            await mongo.start()
            try:
                took = await measure(mongo.uri, arguments.seconds)
            finally:
                await mongo.stop()
        rounds.append(figures_of(took))
        print(_line(rounds[-1]), flush=True)
    cost = median(each["cost"] for each in rounds)
    print(f"median cost of metrics {cost:.2%}, aim under {_AIM:.0%}: {'met' if cost < _AIM else 'missed'}")
    report = {"machine": describe(), "cost": cost, "aim": _AIM, "rounds": rounds}
    if arguments.output:
        await asyncio.to_thread(arguments.output.write_bytes, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return 0


def figures_of(took: dict[str, list[Took]]) -> dict[str, float]:
    """Return events a second of both, the share of throughput that metrics cost, and their processor time an event.

    The two of a pair follow each other, so what else the machine does is much the same for both: ratios and differences
    are taken of pairs, and then their median.
    """
    pairs = list(zip(took["with"], took["without"], strict=True))
    return {
        **{name: _CALLS / median(each.wall_s for each in spent) for name, spent in took.items()},
        "pairs": len(pairs),
        "cost": 1 - 1 / median(seen.wall_s / unseen.wall_s for seen, unseen in pairs),
        "cpu_us": median(seen.cpu_s - unseen.cpu_s for seen, unseen in pairs) / _CALLS * 1_000_000,
        "of_cpu_us": median(unseen.cpu_s for _, unseen in pairs) / _CALLS * 1_000_000,
    }


def _line(figures: dict[str, float]) -> str:
    return (
        f"with {figures['with']:8,.0f}/s  without {figures['without']:8,.0f}/s  cost {figures['cost']:+.2%}  "
        f"processor {figures['cpu_us']:+.1f} µs of {figures['of_cpu_us']:.0f} an event  {figures['pairs']:.0f} pairs"
    )


def _as_the_program() -> int:
    """Run this again with a folder for metrics: the library asks for it when it is loaded."""
    with tempfile.TemporaryDirectory(prefix="bench-metrics-") as folder:
        command = [sys.executable, "-m", "bench.metrics_cost", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, VARIABLE: folder}, check=False).returncode


if __name__ == "__main__":
    if VARIABLE not in os.environ:
        sys.exit(_as_the_program())
    sys.exit(run(_run(parse(__doc__ or "", seconds=20, rounds=5))))
