"""Analytics of a merchant with ten million messages of a million contacts in a year, over REST.

The whole program with its embedded database is started on a data folder that holds the sums of that year: every day,
the last two in the parts of several writers, every hour of it, every source of messages, and contacts active on each
day that were active before on each earlier one, which is the most that a year can hold. Requests are sent one after the
other. Run as `python -m bench.analytics`; ends with code 1 where the overview of a year takes 100 ms or more at the
median.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median

import aiohttp
import jwt
import orjson
from pymongo import MongoClient

from bench.load.open_loop import percentile
from bench.machine import describe
from bench.million.data_folder import DATABASE, insert
from bench.million.population import ACCOUNTS, MERCHANT, Document
from bench.peers.ours import API, Ours
from bench.peers.peer import PeerFailed, free_ports
from bench.running import run
from domain.active_days import NEVER, day_of
from domain.response_histogram import bucket_of
from domain.rollup import MERCHANT as ALL
from domain.rollup import account_scope
from storage.embedded import EmbeddedMongo

_SECRET = "a-secret-of-the-benchmark-of-40-letters-"
_TOKEN_S = 3_600
_DAYS = 365
_CONTACTS = 1_000_000
#: Of 20, by where messages come from.
_MESSAGES = {"received": 9, "sent:agent": 3, "sent:bot": 3, "sent:campaign": 3, "sent:flow": 1, "sent:native": 1}
_LIMIT_MS = 100.0


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of one case, in milliseconds."""

    name: str
    first_ms: float
    p50_ms: float
    p95_ms: float
    requests: int

    def __str__(self) -> str:
        return f"{self.name:50} first {self.first_ms:8.1f}  p50 {self.p50_ms:8.1f}  p95 {self.p95_ms:8.1f} ms"


def sums(messages: int, writers: int, end: datetime) -> Iterator[Document]:
    """Yield the parts of the days of a year up to one, of the merchant and of one of its accounts."""
    draw = Random(1)
    days = [day_of(end - timedelta(days=_DAYS - 1 - number)) for number in range(_DAYS)]
    for scope, share in ((ALL, 1.0), (account_scope(ACCOUNTS[0]), 0.6)):
        for number, day in enumerate(days):
            names = ["whole"] if number < _DAYS - 2 else [f"lane{writer}" for writer in range(writers)]
            for name in names:
                portion = share / _DAYS / len(names)
                part = _part(draw, messages * portion, _CONTACTS * portion)
                before = dict.fromkeys([NEVER, *days[:number]], draw.randrange(1, 40))
                yield {
                    "_id": f"{MERCHANT}|{scope}|{day}|{name}",
                    "merchantId": MERCHANT,
                    **part,
                    "active": before,
                }


def _part(draw: Random, messages: float, contacts: float) -> Document:
    hours: dict[str, dict[str, int]] = {}
    total: dict[str, int] = {}
    for hour in range(24):
        counts = {name: round(messages * weight / 20 / 24) + 1 for name, weight in _MESSAGES.items()}
        counts |= {"contactsNew": round(contacts / 24), "conversationsStarted": round(contacts / 12)}
        counts |= {"conversationsClosed": round(contacts / 13), "responseSeconds": draw.randrange(9_000_000)}
        counts |= {"executions:started": draw.randrange(9), "executions:completed": draw.randrange(9)}
        for _ in range(30):
            counts[f"responses:{bucket_of(10 ** draw.uniform(0.5, 5))}"] = draw.randrange(1, 9)
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
        hours[f"{hour:02}"] = counts
    return {"total": total, "hours": hours}


async def fill(folder: Path, messages: int, writers: int, end: datetime) -> float:
    """Have the sums in a data folder; return the seconds it took."""
    begun = time.monotonic()
    mongo = EmbeddedMongo(folder)
    await mongo.start()
    try:
        with MongoClient[Document](mongo.uri) as client:
            collection = client[DATABASE].rollups
            collection.drop()
            insert(collection, sums(messages, writers, end))
    finally:
        await mongo.stop()
    return time.monotonic() - begun


def cases(end: datetime) -> dict[str, str]:
    """Return what is asked for, by name."""
    first, last = day_of(end - timedelta(days=_DAYS - 1)), day_of(end)
    year = f"startDate={first}&endDate={last}"
    return {
        "overview of a year": f"/analytics/overview?{year}",
        "overview of a year, another time zone": f"/analytics/overview?{year}&timezone=Asia/Ho_Chi_Minh",
        "overview of a month": f"/analytics/overview?startDate={day_of(end - timedelta(days=29))}&endDate={last}",
        "contacts of a year by month": f"/analytics/contacts?{year}&groupBy=month",
        "conversations of a year": f"/analytics/conversations?{year}",
        "conversations of a year by week": f"/analytics/conversations?{year}&groupBy=week",
        "automation of a year": f"/analytics/automation?{year}",
    }


async def measure(session: aiohttp.ClientSession, name: str, path: str, seconds: float) -> Found:
    """Ask the same for so many seconds.

    Raises:
        PeerFailed: when an answer is no success.
    """
    times: list[float] = []
    deadline = time.monotonic() + seconds
    while len(times) < 4 or time.monotonic() < deadline:  # the first, and some to take a median of
        begun = time.perf_counter()
        async with session.get(API + path) as answer:
            body = await answer.read()
        times.append((time.perf_counter() - begun) * 1000)
        if answer.status != 200:  # a success
            raise PeerFailed(f"{path}: {body[:200]!r}")
    first, *others = times
    return Found(name, round(first, 1), round(median(others), 1), round(percentile(others, 0.95), 1), len(others))


@asynccontextmanager
async def _client(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    claims = {"sub": "bench", "merchantId": MERCHANT, "roles": ["owner"], "exp": int(time.time()) + _TOKEN_S}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, _SECRET, algorithm='HS256')}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
        yield session


async def _run(options: argparse.Namespace) -> int:
    end = datetime.now(UTC)
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="bench-analytics-") as name:
        folder = Path(name)
        took = await fill(folder, options.messages, options.writers, end)
        print(f"sums of {options.messages:,} messages, {options.writers} writers, in {took:.0f} s", flush=True)
        program = Ours(folder, {"MKTX_API_CALLS_PER_MINUTE": "10000000", "MKTX_JWT_SECRET": _SECRET})
        [port] = free_ports(1)
        try:
            await program.start(port)
            async with _client(port) as session:
                for case, path in cases(end).items():
                    found.append(await measure(session, case, path, options.seconds))
                    print(found[-1], flush=True)
        except PeerFailed as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            await program.stop()
    report = {"machine": describe(), "messages": options.messages, "cases": [asdict(each) for each in found]}
    print(orjson.dumps(report["machine"]).decode())
    if options.output:
        await asyncio.to_thread(options.output.write_bytes, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return 0 if found[0].p50_ms < _LIMIT_MS else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--writers", type=int, default=3, help="parts of each of the last days")
    parser.add_argument("--seconds", type=float, default=3, help="length of the measurement of one case")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(_run(_options())))
