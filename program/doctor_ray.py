"""Ray: the installed version, and the cluster that is joined or the machine on which a local one is started."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson

from config.environment import ROOT, child_environment
from config.settings import Settings
from program.doctor_finding import Check, Finding, failed, ok, warning
from program.doctor_installation import Installation
from storage.embedded import die_with_parent

#: From the first version on, below the second; the project's metadata has the same.
PIN = ((2, 52), (2, 54))
_MIB = 1024**2
#: The local Ray's object store, and room beside it.
_SHARED_MEMORY_BYTES = 128 * _MIB
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # the name that Linux gives it
_REACH_S = 3.0
_CLUSTER_DEADLINE_S = 60.0


async def installed(_: Installation) -> Finding:
    """Look whether Ray's version is one that the program was made for."""
    try:
        return judge_version(version("ray"))
    except PackageNotFoundError:
        return failed("not installed", "install what the project requires")


def judge_version(found: str) -> Finding:
    """Judge a version of Ray against the pin."""
    least, below = PIN
    parts = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    if least <= parts < below:
        return ok(f"version {found}")
    wanted = f"from {least[0]}.{least[1]} on, below {below[0]}.{below[1]}"
    return failed(f"version {found}, wanted is one {wanted}", "install what the project requires")


async def shared_memory(installation: Installation) -> Finding:
    """Look whether a local Ray has room for its object store."""
    if installation.given.ray_address:
        return ok("not needed: Ray runs elsewhere")
    try:
        room = os.statvfs(_SHARED_MEMORY)
    except FileNotFoundError:
        return judge_shared_memory(0)
    return judge_shared_memory(room.f_bavail * room.f_frsize)


def judge_shared_memory(free_bytes: int) -> Finding:
    """Judge the room in /dev/shm."""
    found = f"{free_bytes // _MIB} MiB free in {_SHARED_MEMORY}"
    if free_bytes < _SHARED_MEMORY_BYTES:
        advice = "give the container more: docker run --shm-size=256m"
        return warning(f"{found}; Ray then keeps its objects on the disk", advice)
    return ok(found)


async def cluster(installation: Installation) -> Finding:
    """Look whether the cluster can be joined; without an address there is nothing to join."""
    address = installation.given.ray_address
    if not address:
        return ok("a local one is started with the program")
    if (port := address.rpartition(":")[2]).isdecimal() and "://" not in address:
        reached = await _is_reached(address.rpartition(":")[0], int(port))
        if not reached:
            return failed("nothing answers at MKTX_RAY_ADDRESS", "start the cluster, or correct the address")
    return await _join(installation.given)


async def _is_reached(host: str, port: int) -> bool:
    """Say whether anything listens: Ray itself would try for minutes."""
    try:
        async with asyncio.timeout(_REACH_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _join(settings: Settings) -> Finding:
    """Join in a process of its own, which can be ended when Ray does not give up."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "program.doctor_ray_probe",
        cwd=ROOT,
        env=child_environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        told: dict[str, object] = orjson.loads(output.strip().rpartition(b"\n")[2])
    except orjson.JSONDecodeError:
        return failed(f"could not be joined (code {process.returncode})", "see Ray's own log")
    if "error" in told:
        return failed(f"could not be joined ({told['error']})", "have the same Ray and Python on every node")
    return ok(f"joined: {told['nodes']} nodes, {told['cpus']:g} processors")


CHECKS = (
    Check("Ray", installed),
    Check("Ray shared memory", shared_memory),
    Check("Ray cluster", cluster, deadline_s=_CLUSTER_DEADLINE_S),
)
