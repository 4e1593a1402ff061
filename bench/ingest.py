"""Durable ingest: requests answered 2xx per second by each peer, in interleaved rounds.

Each round starts every peer afresh on an empty folder, warms it up, sends for the given seconds, waits until every
request under way is answered, counts what is stored, and stops it. Run as `python -m bench.ingest`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import orjson

from bench.arguments import Arguments, parse
from bench.load.closed_loop import Load, LoadFailed, replay
from bench.load.events import run_prefix, write_requests
from bench.machine import describe
from bench.peers.node_red import NodeRed
from bench.peers.ours import Ours
from bench.peers.peer import Bare, Peer, PeerFailed, Trivial, free_ports
from bench.peers.restate_ingress import Restate
from bench.peers.stored import Plain
from bench.running import run

Figures = dict[str, float | int | str | bool | None]

PEERS: tuple[type[Peer], ...] = (Trivial, Bare, Plain, NodeRed, Restate, Ours)
_WARM_UP_S = 1.5
# Requests written beforehand for each second of load; what is not used is only disk space.
_WRITTEN_PER_S = {Plain.name: 10_000, Restate.name: 20_000}
_DEFAULT_WRITTEN_PER_S = 60_000
# (peer, at least this many times) for this program; Restate is met by "no less than".
AIMS = ((Bare.name, 0.6), (Plain.name, 8.0), (NodeRed.name, 10.0), (Restate.name, 1.0))


async def measure(peer: Peer, arguments: Arguments, folder: Path) -> Figures:
    """Start one peer, load it once, stop it, and return its figures."""
    [port] = free_ports(1)
    try:
        await peer.start(port)
        rate = _WRITTEN_PER_S.get(peer.name, _DEFAULT_WRITTEN_PER_S)
        warm = run_prefix()
        requests = folder / "requests"
        await asyncio.to_thread(write_requests, requests, warm, int(rate * _WARM_UP_S), render=peer.render)
        await replay(port, requests, seconds=_WARM_UP_S, connections=arguments.connections)
        prefix = run_prefix()
        await asyncio.to_thread(write_requests, requests, prefix, int(rate * arguments.seconds), render=peer.render)
        server_cpu, load = await asyncio.gather(
            _cores(peer, arguments.seconds),
            replay(port, requests, seconds=arguments.seconds, connections=arguments.connections),
        )
        stored = await peer.stored(prefix)
    finally:
        await peer.stop()
    return {**load.as_dict(), "server_cpu": server_cpu, "stored": stored, "honest": _is_honest(peer, load, stored)}


async def _cores(peer: Peer, seconds: float) -> float:
    """Return how many cores the peer's processes use on the mean over the coming seconds."""
    before, begun = peer.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return (peer.cpu_s() - before) / (time.monotonic() - begun)


def _is_honest(peer: Peer, load: Load, stored: int | None) -> bool:
    """Whether every request was answered 2xx and, where it can be counted, each of those is stored exactly once."""
    return load.clean and (not peer.stores or stored is None or stored == load.ok)


def summary(runs: dict[str, list[Figures]]) -> dict[str, dict[str, float]]:
    """Return median, least and greatest rate of each peer."""
    rates = {name: [float(run["per_second"] or 0) for run in found] for name, found in runs.items() if found}
    return {
        name: {"median": round(median(found), 1), "min": round(min(found), 1), "max": round(max(found), 1)}
        for name, found in rates.items()
    }


def ratios(medians: dict[str, dict[str, float]]) -> dict[str, dict[str, float | bool]]:
    """Return how many times each peer's median this program's is, beside the aim."""
    ours = medians.get(Ours.name)
    if ours is None:
        return {}
    found: dict[str, dict[str, float | bool]] = {}
    for name, aim in AIMS:
        if name in medians and medians[name]["median"]:
            times = ours["median"] / medians[name]["median"]
            found[name] = {"times": round(times, 2), "aim": aim, "met": times >= aim}
    return found


async def _run(arguments: Arguments) -> int:
    runs: dict[str, list[Figures]] = {}
    failures: dict[str, str] = {}
    chosen = [peer for peer in PEERS if not arguments.only or peer.name in arguments.only]
    with tempfile.TemporaryDirectory(prefix="bench-requests-") as folder:
        for number in range(arguments.rounds):
            for kind in chosen:
                if kind.name in failures:
                    continue
                try:
                    figures = await measure(kind(), arguments, Path(folder))
                except (PeerFailed, LoadFailed) as error:
                    failures[kind.name] = str(error)
                    print(f"{kind.name}: {error}", file=sys.stderr)
                    continue
                runs.setdefault(kind.name, []).append(figures)
                print(f"round {number + 1}  {kind.name:14}  {_line(figures)}", flush=True)
    medians = summary(runs)
    report = {
        "machine": describe(),
        "seconds": arguments.seconds,
        "connections": arguments.connections,
        "rounds": arguments.rounds,
        "medians": medians,
        "ratios": ratios(medians),
        "failures": failures,
        "runs": runs,
    }
    _print(report, medians)
    if arguments.output:
        arguments.output.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    honest = all(run["honest"] for found in runs.values() for run in found)
    return 0 if honest and not failures else 1


def _line(figures: Figures) -> str:
    return (
        f"{figures['per_second']:8.0f}/s  p50 {figures['p50_ms']:7.1f} ms  p99 {figures['p99_ms']:7.1f} ms  "
        f"2xx {figures['ok']}  other {figures['refused']}  broken {figures['broken']}  stored {figures['stored']}  "
        f"server {figures['server_cpu']:.2f} cores  driver {figures['driver_cpu']:.2f}"
        + ("  requests used up" if figures["exhausted"] else "")
        + ("" if figures["honest"] else "  NOT HONEST")
    )


def _print(report: dict[str, object], medians: dict[str, dict[str, float]]) -> None:
    print()
    for name, found in medians.items():
        print(f"{name:14}  median {found['median']:8.0f}/s   {found['min']:.0f} … {found['max']:.0f}")
    print(orjson.dumps({"machine": report["machine"], "ratios": report["ratios"]}).decode())


if __name__ == "__main__":
    sys.exit(run(_run(parse(__doc__ or "", seconds=10))))
