"""The contact list, search and segment previews of a merchant with a million contacts, over REST.

The whole program with its embedded database is started on a data folder that holds a million contacts of one merchant
and a seventh as many of a thousand others (`million/population.py`). Requests are sent one after the other. For each
case: the first answer, then median and 95th percentile of the others, and how the database answered, as its profiler
and `explain` say. A read of the contacts without an index ends the command with code 1. Run as
`python -m bench.contacts_million`; with `--data FOLDER` the contacts are made once and kept there (0.9 GB).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import jwt
import orjson

from bench.load.open_loop import percentile
from bench.machine import describe
from bench.million.cases import LISTS, SEGMENTS
from bench.million.data_folder import fill
from bench.million.plans import Database, watched
from bench.million.population import MERCHANT
from bench.peers.ours import API, Ours
from bench.peers.peer import PeerFailed, free_ports
from bench.running import run

_SECRET = "a-secret-of-the-benchmark-of-40-letters-"
_FEWEST, _MOST = 3, 50
_TOKEN_S = 3_600


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of one case, in milliseconds."""

    name: str
    total: int
    first_ms: float
    p50_ms: float
    p95_ms: float
    requests: int
    plans: list[str]

    def __str__(self) -> str:
        times = f"first {self.first_ms:8.1f}  p50 {self.p50_ms:8.1f}  p95 {self.p95_ms:8.1f} ms"
        return "\n      ".join([f"{self.name:45} {self.total:9,}  {times}  n={self.requests}", *self.plans])


class Client:
    """Asks the program as the merchant that has a million contacts."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return what is answered.

        Raises:
            PeerFailed: when that is no success.
        """
        async with self._session.request(method, API + path, json=body) as answer:
            found: dict[str, Any] = orjson.loads(await answer.read())
        if not found["success"]:
            raise PeerFailed(f"{method} {path}: {found['error']}")
        return found

    async def timed(self, method: str, path: str) -> tuple[float, dict[str, Any]]:
        """Return how many milliseconds an answer took, and the answer."""
        begun = time.perf_counter()
        found = await self.ask(method, path)
        return (time.perf_counter() - begun) * 1000, found


async def measure(client: Client, database: Database, name: str, method: str, path: str, seconds: float) -> Found:
    """Ask the same for so many seconds, at least a few times, and once more while the database is watched."""
    first_ms, answer = await client.timed(method, path)
    times: list[float] = []
    deadline = time.monotonic() + seconds
    while len(times) < _FEWEST or (time.monotonic() < deadline and len(times) < _MOST):
        times.append((await client.timed(method, path))[0])
    async with watched(database) as seen:
        await client.ask(method, path)
    return Found(
        name=name,
        total=answer["pagination"]["total"] if "pagination" in answer else answer["data"]["totalMatches"],
        first_ms=round(first_ms, 1),
        p50_ms=round(median(times), 1),
        p95_ms=round(percentile(times, 0.95), 1),
        requests=len(times),
        plans=[str(each) for each in seen.operations],
    )


async def measured(client: Client, database: Database, options: argparse.Namespace) -> AsyncIterator[Found]:
    """Measure one case after the other."""
    for name, query in LISTS.items():
        if _is_wanted(name, options):
            yield await measure(client, database, name, "GET", f"/contacts?{query}", options.seconds)
    known = {each["name"]: each["id"] for each in (await client.ask("GET", "/segments?take=100"))["data"]}
    for name, conditions in SEGMENTS.items():
        title = f"segment: {name}"
        if not _is_wanted(title, options):
            continue
        if name not in known:
            made = await client.ask("POST", "/segments", {"name": name, "conditions": conditions})
            known[name] = made["data"]["id"]
        yield await measure(client, database, title, "POST", f"/segments/{known[name]}/preview", options.seconds)


def _is_wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(part in name for part in options.only)


@asynccontextmanager
async def _client(port: int) -> AsyncIterator[Client]:
    claims = {"sub": "bench", "merchantId": MERCHANT, "roles": ["owner"], "exp": int(time.time()) + _TOKEN_S}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, _SECRET, algorithm='HS256')}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
        yield Client(session)


async def _on(folder: Path, options: argparse.Namespace) -> int:
    print(f"{options.contacts:,} contacts in {await fill(folder, options.contacts):.0f} s", flush=True)
    program = Ours(folder, {"MKTX_API_CALLS_PER_MINUTE": "10000000", "MKTX_JWT_SECRET": _SECRET})
    [port] = free_ports(1)
    found: list[Found] = []
    try:
        await program.start(port)
        async with _client(port) as client, program.database() as database:
            async for each in measured(client, database, options):
                found.append(each)
                print(each, flush=True)
    except PeerFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await program.stop()
    report = {"machine": describe(), "contacts": options.contacts, "cases": [asdict(each) for each in found]}
    print(orjson.dumps(report["machine"]).decode())
    if options.output:
        await asyncio.to_thread(options.output.write_bytes, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return 1 if any("COLLSCAN" in plan for each in found for plan in each.plans) else 0


async def _run(options: argparse.Namespace) -> int:
    if options.data:
        return await _on(options.data, options)
    with tempfile.TemporaryDirectory(prefix="bench-million-") as folder:
        return await _on(Path(folder), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="folder that keeps the contacts for the next run")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of the measurement of one case")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of cases; default everything")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(_run(_options())))
