"""Open-loop load: every event has a moment at which it is due, whether or not earlier ones were answered.

Latency is counted from the moment an event was due, so a server that stalls can't hide it. The driver is a process of
its own: `python -m bench.load.open_loop --port P --rate R --seconds S --prefix X` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import orjson
import uvloop

from bench.load.events import SIGNATURE_HEADER, WEBHOOK_PATH, Event, events

_HEAD_START_S = 0.3


@dataclass(slots=True)
class Outcome:
    """What came back: answers by status, latency from the due moment in ms, and when the first event was due."""

    first_due_ms: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    late_sends: int = 0


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share of the values lies; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def send(port: int, due: list[Event], *, rate: float, connections: int) -> Outcome:
    """Send each event at its moment: the first now, the others 1/rate seconds apart."""
    outcome = Outcome()
    address = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
    connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=60)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session,
        asyncio.TaskGroup() as group,
    ):
        begin = time.perf_counter() + _HEAD_START_S
        outcome.first_due_ms = (time.time() + _HEAD_START_S) * 1000
        for number, event in enumerate(due):
            moment = begin + number / rate
            wait = moment - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            elif wait < -0.01:
                outcome.late_sends += 1
            group.create_task(_deliver(session, address, event, moment, outcome))
    return outcome


async def _deliver(session: aiohttp.ClientSession, address: str, event: Event, moment: float, outcome: Outcome) -> None:
    headers = {SIGNATURE_HEADER: event.signature, "Content-Type": "application/json"}
    try:
        async with session.post(address, data=event.body, headers=headers) as answer:
            await answer.read()
            outcome.statuses[answer.status] += 1
    except (aiohttp.ClientError, TimeoutError):
        outcome.statuses[0] += 1
    outcome.latencies_ms.append((time.perf_counter() - moment) * 1000)


def main() -> None:
    """Send and print the outcome; `late_sends` counts events that the driver itself sent over 10 ms late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="events a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--prefix", required=True, help="start of every event's id")
    parser.add_argument("--connections", type=int, default=128)
    arguments = parser.parse_args()
    due = list(events(arguments.prefix, int(arguments.rate * arguments.seconds)))
    outcome = uvloop.run(send(arguments.port, due, rate=arguments.rate, connections=arguments.connections))
    found = {
        "sent": len(due),
        "ok": outcome.statuses[200],
        "statuses": {str(status): count for status, count in outcome.statuses.items()},
        "first_due_ms": outcome.first_due_ms,
        "late_sends": outcome.late_sends,
        "p50_ms": percentile(outcome.latencies_ms, 0.5),
        "p99_ms": percentile(outcome.latencies_ms, 0.99),
        "p999_ms": percentile(outcome.latencies_ms, 0.999),
    }
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    main()
