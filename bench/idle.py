"""What the idle program costs, and how long it takes to get ready, against a bare Ray and `mongod`.

Bare: `ray.init()` as Ray's documentation has it, as many empty actors as the program has hosts, and the same `mongod`.
Ours: the whole program with X credentials set, so without the sandbox. Each is started, left alone, then watched. Run
as `python -m bench.idle`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.arguments import Arguments, parse
from bench.machine import describe
from bench.peers.ours import Ours
from bench.peers.peer import free_ports
from bench.running import run

_SETTLE_S = 5.0
_BARE = """
import asyncio, os, sys, time
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
begun = time.monotonic()
import ray
ray.init(
    num_cpus={hosts}, include_dashboard=False, log_to_driver=False, configure_logging=False,
    object_store_memory=100 * 1024**2,
)
print("ray", time.monotonic() - begun, flush=True)
@ray.remote(num_cpus=0, max_concurrency=1000)
class Empty:
    async def pid(self): return os.getpid()
actors = [Empty.remote() for _ in range({hosts})]
ray.get([actor.pid.remote() for actor in actors])
from pathlib import Path
from storage.embedded import EmbeddedMongo
async def main():
    mongo = EmbeddedMongo(Path({folder!r}))
    await mongo.start()
    print("ready", time.monotonic() - begun, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await mongo.stop()
asyncio.run(main())
"""


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


async def watch(pid: int, seconds: float) -> dict[str, float]:
    """Return memory (of its own, MB) and share of a core of a whole tree of processes."""
    await asyncio.sleep(_SETTLE_S)
    processes = tree(pid)
    before = sum(sum(p.cpu_times()[:2]) for p in processes)
    await asyncio.sleep(seconds)
    after = sum(sum(p.cpu_times()[:2]) for p in processes)
    memory = sum(p.memory_full_info().uss for p in processes)
    return {"uss_mb": memory / 2**20, "cores": (after - before) / seconds, "processes": len(processes)}


async def bare(seconds: float, hosts: int) -> dict[str, float]:
    """Start, watch and stop the bare parts."""
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _BARE.format(hosts=hosts, folder=folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        times: dict[str, float] = {}
        while "ready" not in times:
            words = (await process.stdout.readline()).decode().split()
            if len(words) == 2 and words[0] in {"ray", "ready"}:
                times[words[0]] = float(words[1])
        figures = await watch(process.pid, seconds)
        process.stdin.close()
        await process.wait()
    return {**figures, "ray_init_s": times["ray"], "ready_s": times["ready"]}


async def ours(seconds: float) -> dict[str, float]:
    """Start, watch and stop the program."""
    program = Ours()
    [port] = free_ports(1)
    await program.start(port)
    figures = await watch(program.pid, seconds)
    begun = time.monotonic()
    await program.stop()
    return {**figures, "ready_s": program.ready_s, "stop_s": time.monotonic() - begun}


async def measure(arguments: Arguments) -> int:
    """Interleave both, and print medians and ratios."""
    rounds: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
    hosts = psutil.cpu_count() or 1
    for number in range(arguments.rounds):
        rounds["bare"].append(await bare(arguments.seconds, hosts))
        rounds["ours"].append(await ours(arguments.seconds))
        print(f"round {number + 1}: {rounds['bare'][-1]} {rounds['ours'][-1]}", flush=True)
    medians = {
        name: {key: statistics.median(figures[key] for figures in found) for key in found[0]}
        for name, found in rounds.items()
    }
    ratios = {
        "memory": medians["ours"]["uss_mb"] / medians["bare"]["uss_mb"],
        "processor": medians["ours"]["cores"] / medians["bare"]["cores"],
        "ready_to_ray_init": medians["ours"]["ready_s"] / medians["bare"]["ray_init_s"],
    }
    report = {"machine": describe(), "medians": medians, "ratios": ratios, "rounds": rounds}
    print(json.dumps({"medians": medians, "ratios": ratios}, indent=2))
    if arguments.output:
        await asyncio.to_thread(Path(arguments.output).write_text, json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(run(measure(parse(__doc__ or "", seconds=15, rounds=5))))
