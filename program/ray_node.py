"""The local Ray: a head node of our own on loopback, kept as small as Ray allows.

Started through Ray's own command as a child process, so that the gateway can die without taking Ray along and the other
way round. What Ray would start without need stays off: dashboard, usage statistics, autoscaler monitor, log monitor.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from config.environment import child_environment
from config.settings import Settings
from program.child import Child
from storage.embedded import free_port

log = structlog.get_logger()

_OBJECT_STORE_BYTES = 100 * 1024 * 1024
_POLL_S = 0.1
_ORPHANS_S = 5
_LAST_LINES = 6


class RayNode:
    """Starts, watches and stops the local Ray."""

    def __init__(
        self,
        settings: Settings,
        hosts: int,
        environment: dict[str, str],
        *,
        again: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Make a node; `again` is called when it had to be started again: a new Ray that knows nothing of the old."""
        digest = hashlib.blake2b(str(settings.data_dir.absolute()).encode(), digest_size=4).hexdigest()
        # Short, because Ray puts sockets below it and their paths must not be longer than 107 characters.
        self._folder = Path(tempfile.gettempdir()) / f"mktx-{digest}"
        self._port = free_port()
        self._output = settings.data_dir.absolute() / "logs" / "ray.log"
        self._child = Child(
            "ray",
            self._command(hosts),
            child_environment(
                settings,
                **environment,
                RAY_USAGE_STATS_ENABLED="0",
                RAY_raylet_start_wait_time_s=str(int(settings.ray_start_timeout_s)),
                RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
                RAY_enable_metrics_collection="0",
                # Ray's agents outlive a killed Ray for as long as they try to tell it; a minute, unless they are told.
                RAY_gcs_rpc_server_reconnect_timeout_s=str(_ORPHANS_S),
            ),
            before=self._clean,
            again=again,
            output=self._output,
        )

    @property
    def address(self) -> str:
        """Address for drivers."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the node's first process while it runs."""
        return self._child.pid

    @property
    def failures(self) -> int:
        """How often it has ended by itself."""
        return self._child.restarts

    def last_words(self) -> str:
        """Return the end of what Ray printed, in one line, and where there is more."""
        try:
            lines = self._output.read_text(errors="replace").split("\n")
        except OSError:
            lines = []
        said = " / ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())
        return f"{said or 'it said nothing'} (see {self._output})"

    def _command(self, hosts: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "program.ray_command",
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            f"--port={self._port}",
            f"--num-cpus={hosts}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            f"--temp-dir={self._folder}",
            # Free ones as the system gives them: from a fixed range another Ray on the machine would take its own.
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--include-dashboard=false",
            "--include-log-monitor=false",
            "--no-monitor",
            "--disable-usage-stats",
            "--log-color=false",
        ]

    async def start(self) -> None:
        """Begin to start; drivers wait for it by trying to connect."""
        await self._child.start()

    async def stop(self, grace_s: float) -> None:
        """End every process of the node and remove its files."""
        await self._child.stop(grace_s)
        await self._clean()

    async def _clean(self) -> None:
        """End what a killed run has left in our folder, and remove the folder."""
        for _ in range(100):
            left = _processes_naming(str(self._folder))
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            await asyncio.sleep(_POLL_S)
        await asyncio.to_thread(shutil.rmtree, self._folder, True)


def _processes_naming(folder: str) -> list[int]:
    """Return the processes, other than this one, whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if folder in command:
            found.append(int(entry.name))
    return found
