"""End to end: events fully processed a second (contact, conversation and message are in the database), and the lag.

Each round starts the whole program on an empty folder. First it is saturated by a closed loop; the rate is the events
answered 2xx over the time from the first request until the last of them is processed. Then events come at half that
rate, open loop; an event's lag is from the moment it was due until the commit of its message, as the database's own
change stream dates it. Run as `python -m bench.end_to_end`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from bson import Timestamp
from pymongo.asynchronous.database import AsyncDatabase

from bench.arguments import Arguments, parse
from bench.load.closed_loop import replay
from bench.load.events import run_prefix, write_requests
from bench.load.open_loop import percentile
from bench.machine import describe
from bench.peers.ours import Ours
from bench.peers.peer import PeerFailed, free_ports
from bench.running import run

Database = AsyncDatabase[dict[str, Any]]

_WARM_UP_S = 3
_WRITTEN_PER_S = 60_000
_LONGEST_DRAIN_S = 300
_POLL_S = 0.05


async def saturate(program: Ours, arguments: Arguments, requests: Path, seconds: float) -> dict[str, float]:
    """Load as fast as the program answers; return answered, stored, and the rates, per second."""
    prefix = run_prefix()
    await asyncio.to_thread(write_requests, requests, prefix, int(_WRITTEN_PER_S * seconds))
    async with program.database() as database:
        progress = _Progress(database)
        before = await progress.look()
        watching = asyncio.create_task(progress.watch())
        begun = time.monotonic()
        try:
            load, during = await asyncio.gather(
                replay(program.port, requests, seconds=seconds, connections=arguments.connections),
                _count_after(database, seconds),
            )
            await _until_processed(database, before + load.ok)
            await progress.look()
        finally:
            watching.cancel()
    stored = await program.stored(prefix)
    return {
        "answered": load.ok,
        "refused": load.refused + load.broken + load.timeouts,
        "stored": stored or 0,
        "ingested_per_second": load.per_second,
        "processed_per_second_under_load": (during - before) / seconds,
        "processed_per_second": load.ok / (progress.moved_at - begun),
    }


class _Progress:
    """Knows when the last message was added: the load driver returns some seconds after that may have happened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._messages = -1
        self.moved_at = 0.0

    async def look(self) -> int:
        """Count the messages, and note the time when there are others than before."""
        messages = int(await self._database.messages.estimated_document_count())
        if messages != self._messages:
            self._messages, self.moved_at = messages, time.monotonic()
        return messages

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_POLL_S)


async def _count_after(database: Database, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return int(await database.messages.estimated_document_count())


async def _until_processed(database: Database, messages: int) -> None:
    """Wait until so many messages are there and the inbox is empty.

    Raises:
        PeerFailed: when that does not happen in time.
    """
    deadline = time.monotonic() + _LONGEST_DRAIN_S
    while time.monotonic() < deadline:
        if (
            await database.messages.estimated_document_count() >= messages
            and await database.inbox.estimated_document_count() == 0
        ):
            return
        await asyncio.sleep(_POLL_S)
    raise PeerFailed(f"events were still unprocessed after {_LONGEST_DRAIN_S} s")


async def lag(program: Ours, arguments: Arguments, rate: float) -> dict[str, float]:
    """Send at a fixed rate and return the lag's percentiles in milliseconds, with the driver's own figures."""
    prefix = run_prefix()
    async with program.database() as database:
        before = await database.messages.estimated_document_count()
        since = await _database_time(database)
        sent = await _open_loop(program.port, prefix, rate, arguments)
        await _until_processed(database, before + int(sent["ok"]))
        lags = [
            committed_ms - sent["first_due_ms"] - int(message_id[len(prefix) :]) * 1000 / rate
            async for message_id, committed_ms in commits(database, prefix, since, int(sent["ok"]))
        ]
    return {
        "rate": rate,
        "sent": sent["sent"],
        "ok": sent["ok"],
        "stored": len(lags),
        "driver_late_sends": sent["late_sends"],
        "ack_p50_ms": sent["p50_ms"],
        "ack_p99_ms": sent["p99_ms"],
        "lag_p50_ms": percentile(lags, 0.5),
        "lag_p99_ms": percentile(lags, 0.99),
    }


async def _open_loop(port: int, prefix: str, rate: float, arguments: Arguments) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load.open_loop",
        f"--port={port}",
        f"--rate={rate}",
        f"--seconds={arguments.seconds}",
        f"--prefix={prefix}",
        f"--connections={arguments.connections}",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise PeerFailed(f"the open-loop driver ended with code {process.returncode}")
    found: dict[str, float] = orjson.loads(output)
    return found


async def _database_time(database: Database) -> Timestamp:
    hello = await database.client.admin.command("hello")
    return Timestamp(hello["operationTime"].time, hello["operationTime"].inc + 1)


async def commits(database: Database, prefix: str, since: Timestamp, expected: int) -> AsyncIterator[tuple[str, float]]:
    """Yield X's id and the time of commit (Unix ms, the database's clock) of a run's messages, read after the run."""
    changes: list[dict[str, object]] = [
        {"$match": {"operationType": "insert", "fullDocument.twitterMessageId": {"$gte": prefix, "$lt": prefix + ":"}}},
        {"$project": {"wallTime": 1, "fullDocument.twitterMessageId": 1}},
    ]
    async with await database.messages.watch(changes, start_at_operation_time=since, max_await_time_ms=500) as stream:
        found, deadline = 0, time.monotonic() + _LONGEST_DRAIN_S
        while found < expected and time.monotonic() < deadline:
            change = await stream.try_next()
            if change is not None:
                found += 1
                yield change["fullDocument"]["twitterMessageId"], change["wallTime"].timestamp() * 1000


async def _round(arguments: Arguments, requests: Path) -> dict[str, dict[str, float]]:
    program = Ours()
    [port] = free_ports(1)
    try:
        await program.start(port)
        await saturate(program, arguments, requests, _WARM_UP_S)
        full = await saturate(program, arguments, requests, arguments.seconds)
        half = await lag(program, arguments, full["processed_per_second"] / 2)
    finally:
        await program.stop()
    return {"saturation": full, "half": half}


async def _run(arguments: Arguments) -> int:
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory(prefix="bench-requests-") as folder:
        for number in range(arguments.rounds):
            try:
                found = await _round(arguments, Path(folder) / "requests")
            except PeerFailed as error:
                print(f"round {number + 1}: {error}", file=sys.stderr)
                return 1
            rounds.append(found)
            print(f"round {number + 1}  {orjson.dumps(found).decode()}", flush=True)
    medians = {
        part: {name: round(median(one[part][name] for one in rounds), 1) for name in rounds[0][part]}
        for part in ("saturation", "half")
    }
    report = {"machine": describe(), "medians": medians, "rounds": rounds}
    print(orjson.dumps(medians, option=orjson.OPT_INDENT_2).decode())
    if arguments.output:
        arguments.output.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    lost = any(
        one["saturation"]["answered"] != one["saturation"]["stored"] or one["half"]["ok"] != one["half"]["stored"]
        for one in rounds
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(run(_run(parse(__doc__ or "", seconds=10))))
