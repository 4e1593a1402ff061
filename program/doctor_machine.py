"""What the program needs of the machine: a folder to write to, room, open files, memory; and whether it runs."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from http import HTTPStatus
from pathlib import Path

import aiohttp
import orjson

from config.settings import Settings
from program.doctor_finding import Check, Finding, failed, ok, warning
from program.doctor_installation import Installation
from program.own_client import OwnClient

GIB = 1024**3
_MIB = 1024**2
_LEAST_DISK_BYTES, _ENOUGH_DISK_BYTES = GIB, 5 * GIB
_LEAST_FILES, _ENOUGH_FILES = 1024, 4096
#: About what the parts of the program take, measured under load, with room to grow.
_RAY_BYTES, _PROCESS_BYTES, _MONGO_BYTES = 400 * _MIB, 150 * _MIB, 100 * _MIB
_MEMORY_INFO = Path("/proc/meminfo")
#: Limit and use of the container, for version 2 and 1 of control groups.
_CONTAINER_MEMORY = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


async def data_directory(installation: Installation) -> Finding:
    """Look whether the data directory, or where it would be made, can be written to."""
    folder = _existing(installation.settings.data_dir.absolute())
    if not folder.is_dir():
        return failed(f"{folder} is no folder", "set MKTX_DATA_DIR to a folder")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"written")
            file.flush()
    except OSError as error:
        return failed(f"{folder} can't be written to ({error.strerror})", "set MKTX_DATA_DIR, or change its owner")
    if folder != installation.settings.data_dir.absolute():
        return ok(f"is made in {folder} at the first start")
    return ok(f"{folder} can be written to")


async def disk(installation: Installation) -> Finding:
    """Look how much room there is for data."""
    return judge_disk(shutil.disk_usage(_existing(installation.settings.data_dir.absolute())).free)


def judge_disk(free_bytes: int) -> Finding:
    """Judge the room on the disk of the data directory."""
    found = f"{free_bytes / GIB:.1f} GiB free"
    if free_bytes < _LEAST_DISK_BYTES:
        return failed(found, "make room: without any the database stops")
    if free_bytes < _ENOUGH_DISK_BYTES:
        return warning(found, "make room")
    return ok(found)


async def open_files(_: Installation) -> Finding:
    """Look how many files and connections a process may have open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _ENOUGH_FILES:
        return ok("unlimited" if soft == resource.RLIM_INFINITY else str(soft))
    judge = failed if soft < _LEAST_FILES else warning
    return judge(f"{soft}, at least {_ENOUGH_FILES} are needed", f"run ulimit -n {_ENOUGH_FILES} before the start")


async def program(installation: Installation) -> Finding:
    """Look whether a program that uses the data directory serves."""
    if not installation.running:
        return ok("does not run here")
    url = OwnClient(installation.settings).base_url + "/health/ready"
    try:
        async with installation.session.get(url) as response:
            status, raw = response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError):
        return failed(
            f"uses the data directory, but nothing answers at port {installation.settings.port}",
            "set MKTX_PORT as the program has it; where that is so, read its log lines",
        )
    if status != HTTPStatus.OK:
        return failed(f"runs, but is not ready: {_not_ready(raw)}", "read its log lines")
    return ok(f"runs and is ready at port {installation.settings.port}")


def _not_ready(raw: bytes) -> str:
    try:
        parts = orjson.loads(raw)["parts"]
        return ", ".join(name for name, part in parts.items() if not part["ready"]) or "unknown"
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return "what answers is another program"


async def memory(installation: Installation) -> Finding:
    """Look whether the parts of the program that start on this machine have enough memory."""
    if installation.running:
        return ok(f"{available_memory() / GIB:.1f} GiB left beside the running program")
    return judge_memory(available_memory(), needed_memory(installation.given))


def judge_memory(available_bytes: int, needed_bytes: int) -> Finding:
    """Judge the memory that is left against what the program needs."""
    found = f"{available_bytes / GIB:.1f} GiB available, about {needed_bytes / GIB:.1f} GiB are needed"
    if available_bytes < needed_bytes // 2:
        return failed(found, "give the machine or the container more memory")
    if available_bytes < needed_bytes:
        return warning(found, "give the machine or the container more memory, or lower MKTX_ACTOR_HOSTS")
    return ok(found)


def needed_memory(settings: Settings) -> int:
    """Return about how many bytes the parts that these settings start on this machine take."""
    hosts = 0 if settings.ray_address else settings.actor_hosts or os.cpu_count() or 1
    needed = _PROCESS_BYTES * (settings.gateways + hosts)
    if not settings.ray_address:
        needed += _RAY_BYTES
    if not settings.mongodb_uri.get_secret_value():
        needed += _MONGO_BYTES + settings.mongodb_cache_mb * _MIB
    return needed


def available_memory() -> int:
    """Return how many bytes may still be used: what the machine has left, or the container where that is less."""
    fields = dict(line.split(":") for line in _MEMORY_INFO.read_text().splitlines())
    left = [int(fields["MemAvailable"].split()[0]) * 1024]
    for limit, used in _CONTAINER_MEMORY:
        if limit.exists() and (text := limit.read_text().strip()).isdecimal():
            left.append(max(0, int(text) - int(used.read_text())))
    return min(left)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


CHECKS = (
    Check("data directory", data_directory),
    Check("disk", disk),
    Check("open files", open_files),
    Check("memory", memory),
    Check("program", program),
)
