from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

WATCH = Path(__file__).parents[2] / "program" / "ray_watch.py"
PATIENCE_S = 60


async def started(*children: str) -> tuple[asyncio.subprocess.Process, list[int]]:
    """Return the watch over some shell commands that do not end by themselves, and their processes."""
    begun = "; ".join(f'({each}) & pids="$pids child{number}=$!"' for number, each in enumerate(children))
    script = f"{begun}; echo $pids; exec {sys.executable} -I -S {WATCH} folder $pids"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("bash", "-c", script, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    named = (await process.stdout.readline()).decode().split()
    # It is the watch, no longer the shell, and listens to signals.
    async with asyncio.timeout(PATIENCE_S):
        while not caught(process.pid, signal.SIGTERM):
            await asyncio.sleep(0.02)
    return process, [int(each.partition("=")[2]) for each in named]


def caught(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
    return bool(mask >> (number - 1) & 1)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_when_one_has_ended_all_are_and_it_says_which() -> None:
    process, (first, second) = await started("exec sleep 1000", "exec sleep 1000")
    os.kill(second, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        _, said = await process.communicate()
    assert (process.returncode, said.decode()) == (1, "child1 ended with code -9\n")
    assert not lives(first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_ends_all_also_one_that_does_not_listen(number: signal.Signals) -> None:
    process, pids = await started("exec sleep 1000", "trap '' TERM; while :; do sleep 0.1; done")
    process.send_signal(number)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0
    assert not [pid for pid in pids if lives(pid)]
