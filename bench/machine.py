"""What the figures were measured on."""

from __future__ import annotations

import platform
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import psutil


def describe() -> dict[str, str | int | float]:
    """Return processor, cores, memory, kernel, versions, and the calibration figure."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].split(":", 1)[1].strip() if models else platform.processor(),
        "cores": psutil.cpu_count() or 0,
        "memoryGiB": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wrk": _version("wrk", "-v").split(" ", 2)[1] if _version("wrk", "-v") else "",
        "load": round(psutil.getloadavg()[0], 2),
        "sha256PerSecond": calibration(),
    }


def calibration() -> int:
    """Return how many SHA-256 of 1 KiB one core computes in a second: tells one run's machine from another's."""
    block = b"x" * 1024
    end = time.perf_counter() + 0.3
    count = 0
    while time.perf_counter() < end:
        for _ in range(100):
            sha256(block).digest()
        count += 100
    return round(count / 0.3)


def _version(*command: str) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (found.stdout or found.stderr).splitlines()[0].strip()
