"""Actor messages per second: the runtime's batches against one Ray call per message, in one run, on one host process.

Also the memory of a live actor. Prints one line a round, then medians and ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from actors.runtime.actor import Actor
from actors.runtime.host import ActorHost
from actors.runtime.ray_host import HostServices

if TYPE_CHECKING:
    from actors.runtime.ray_system import RayActors

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it before our settings exist


class Session(Actor):
    """Keeps a count, as a conversation would keep its state."""

    kind = "session"

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.count = 0

    async def handle(self, text: str) -> int:
        self.count += len(text)
        return self.count


class Services:
    def __init__(self) -> None:
        self.host = ActorHost({"session": Session}, limit=1_000_000)
        self.epoch = 1

    async def start(self) -> None:
        await self.host.start()

    async def ring(self) -> None:
        return

    def ease(self, _seconds: float) -> None:
        return

    async def stop(self, grace_s: float) -> None:
        await self.host.stop(grace_s)


class MakeServices:
    version = "bench"

    def __call__(self, _index: int, _hosts: int) -> HostServices:
        return Services()


async def rate(send: Callable[[int], Awaitable[object]], messages: int, in_flight: int) -> float:
    """Return messages a second, with so many callers that each wait for their answer before they go on."""
    numbers = iter(range(messages))

    async def caller() -> None:
        for number in numbers:
            await send(number)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return messages / (time.perf_counter() - start)


async def runtime_rate(actors: RayActors, messages: int, in_flight: int) -> float:
    """Through the runtime: batches to light actors."""
    sessions = [actors.ref(Session, f"customer-{number}") for number in range(1000)]
    return await rate(lambda number: sessions[number % 1000].handle("hello there"), messages, in_flight)


async def plain_rate(handle: Any, messages: int, in_flight: int) -> float:
    """One Ray call a message."""
    return await rate(lambda _: handle.handle.remote("hello there"), messages, in_flight)


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def main(rounds: int, messages: int, plain_messages: int, in_flight: int, live: int) -> None:
    import ray  # importing Ray costs seconds; only once the arguments are known to be right

    from actors.runtime.ray_system import RayActors, ensure_hosts

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False, namespace="bench")
    ensure_hosts(MakeServices(), 1)
    actors = RayActors(1)
    actors.start()
    info = await _hello(actors)

    @ray.remote(num_cpus=0, max_concurrency=1000, enable_task_events=False)
    class Plain:
        async def handle(self, text: str) -> int:
            return len(text)

    plain = Plain.remote()
    await plain.handle.remote("warm")
    await runtime_rate(actors, 1000, in_flight)
    figures: dict[str, list[float]] = {"runtime": [], "plain_64": [], "plain_1": []}
    for number in range(rounds):
        figures["plain_1"].append(await plain_rate(plain, plain_messages // 4, 1))
        figures["plain_64"].append(await plain_rate(plain, plain_messages, 64))
        figures["runtime"].append(await runtime_rate(actors, messages, in_flight))
        print(f"round {number + 1}: " + ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in figures.items()))
    before = resident_kb(info["pid"])
    await asyncio.gather(*(actors.ref(Session, f"live-{number}").handle("x") for number in range(live)))
    per_live = (resident_kb(info["pid"]) - before) / live
    medians = {name: statistics.median(values) for name, values in figures.items()}
    result = {
        "medians_per_second": medians,
        "runtime_to_plain_64": medians["runtime"] / medians["plain_64"],
        "runtime_to_plain_1": medians["runtime"] / medians["plain_1"],
        "kb_per_live_actor": per_live,
    }
    print(json.dumps(result, indent=2))
    await actors.close()
    ray.shutdown()


async def _hello(actors: RayActors) -> dict[str, object]:
    await actors.ref(Session, "first", timeout_s=60).handle("x")
    return await actors.transports[0].hello()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--plain-messages", type=int, default=2_000)
    parser.add_argument("--in-flight", type=int, default=2_000)
    parser.add_argument("--live", type=int, default=50_000)
    options = parser.parse_args()
    uvloop.run(main(options.rounds, options.messages, options.plain_messages, options.in_flight, options.live))
