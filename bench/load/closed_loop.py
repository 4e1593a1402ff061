"""Closed-loop load by wrk: a fixed number of connections, each sends its next request when the last is answered."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

_SCRIPT = Path(__file__).with_name("replay.lua")
_DRAIN_S = 3  # wrk goes on for so long after the last request is sent, so that every answer is counted
_TIMEOUT_S = 60


class LoadFailed(Exception):
    """wrk did not run or said nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw. `ok` counts 2xx answers, `refused` every other answer, `broken` failed connections.

    When the time is up each connection has one request under way, which is still answered and counted in `ok`, but not
    in `per_second`. `driver_cpu` is wrk's share of one core.
    """

    sent: int
    ok: int
    refused: int
    broken: int
    timeouts: int
    seconds: float
    exhausted: bool
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    driver_cpu: float

    @property
    def clean(self) -> bool:
        """Whether every request that was sent was answered 2xx."""
        return self.ok == self.sent and not (self.refused or self.broken or self.timeouts)

    def as_dict(self) -> dict[str, float]:
        """Return the figures for a report."""
        return {**asdict(self), "clean": self.clean}


async def replay(port: int, requests: Path, *, seconds: float, connections: int, threads: int = 1) -> Load:
    """Send the requests of a file to a port of this machine for so many seconds; see `Load`.

    Raises:
        LoadFailed: when wrk can't be run.
    """
    command = [
        "wrk",
        f"-t{threads}",
        f"-c{connections}",
        f"-d{round(seconds) + _DRAIN_S}s",
        f"--timeout={_TIMEOUT_S}s",
        f"--script={_SCRIPT}",
        f"http://127.0.0.1:{port}/",
        "--",
        str(requests),
        str(seconds),
    ]
    begun = time.monotonic()
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise LoadFailed("wrk is not installed (Debian package wrk)") from None
    before = os.times()
    output, errors = await process.communicate()
    after = os.times()
    line = next((line for line in output.splitlines() if line.startswith(b"RESULT ")), None)
    if process.returncode or line is None:
        raise LoadFailed(f"wrk failed after {time.monotonic() - begun:.1f} s: {errors.decode(errors='replace')[:300]}")
    found = orjson.loads(line[len(b"RESULT ") :])
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    window_s = found["seconds"]
    ok = found["answered"] - found["refused"]
    return Load(
        sent=found["sent"],
        ok=ok,
        refused=found["refused"],
        broken=found["broken"],
        timeouts=found["timeouts"],
        seconds=window_s,
        exhausted=bool(found["exhausted"]),
        per_second=max(0.0, (ok - connections) / window_s) if window_s else 0.0,
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        max_ms=found["max_ms"],
        driver_cpu=cpu_s / window_s if window_s else 0.0,
    )
