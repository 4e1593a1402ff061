"""Closed-loop load of one GET by wrk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from bench.load.closed_loop import LoadFailed

_SCRIPT = Path(__file__).with_name("get.lua")


@dataclass(frozen=True, slots=True)
class Gets:
    """What the clients saw; `refused` counts answers that were no 2xx, `broken` failed connections and timeouts."""

    answered: int
    refused: int
    broken: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def clean(self) -> bool:
        """Whether every request was answered 2xx."""
        return self.answered > 0 and not (self.refused or self.broken)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def as_dict(self) -> dict[str, float]:
        """Return the figures for a report."""
        return {**asdict(self), "per_second": self.per_second}


async def load(url: str, headers: Mapping[str, str], *, seconds: float, connections: int) -> Gets:
    """Send one GET over and over.

    Raises:
        LoadFailed: when wrk can't be run.
    """
    heads = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", f"--script={_SCRIPT}", *heads, url]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise LoadFailed("wrk is not installed (Debian package wrk)") from None
    output, errors = await process.communicate()
    line = next((line for line in output.splitlines() if line.startswith(b"RESULT ")), None)
    if process.returncode or line is None:
        raise LoadFailed(f"wrk failed: {errors.decode(errors='replace')[:300]}")
    return Gets(**orjson.loads(line[len(b"RESULT ") :]))
