"""Starts every part of the program in order, keeps it running, and stops it in order.

    mongod ──▶ indexes, first user ──▶ gateways ──┐
    Ray (slowest, so it starts first) ────────────┴──▶ hosts ──▶ ready
    sandbox, where no X is configured

The supervisor itself does nothing else: it holds no connection to Ray, serves no request, and load does not slow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import structlog
from pydantic import SecretStr

from config.environment import child_environment
from config.settings import Settings, WrongSetting
from program.bundled_sandbox import BundledSandbox, connect_account
from program.child import Child
from program.first_start import prepare
from program.generated import resolve
from program.log_lines import LogLines
from program.own_client import CallFailed, OwnClient
from program.ray_node import RayNode
from storage.embedded import EmbeddedMongo, free_port

log = structlog.get_logger()

_CONNECT_ATTEMPTS = 20
_CHILD_GRACE_S = 5.0

Progress = Callable[[str], None]


class Supervisor:
    """The whole program on one machine."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        resolved = resolve(settings)
        own = resolved.settings
        if not own.port:
            own = own.model_copy(update={"port": free_port()})
        self._progress = progress
        self._sandbox = BundledSandbox(own) if own.uses_sandbox else None
        self.generated_password = resolved.generated_password
        self.settings = self._sandbox.settings() if self._sandbox else own
        self.hosts = own.actor_hosts or os.cpu_count() or 1
        self._mongo: EmbeddedMongo | None = None
        self._ray: RayNode | None = None
        self._children: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._log_lines = LogLines(own.data_dir.absolute() / "logs" / "lines.sock")
        self._metrics = own.data_dir.absolute() / "metrics"

    @property
    def sandbox_url(self) -> str | None:
        """Where the bundled sandbox listens, when it is used."""
        return self._sandbox.url if self._sandbox else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OwnClient]:
        """Have the program run, ready when this is entered, and stopped when it is left."""
        lock = _lock(self.settings.data_dir)
        try:
            await self._start()
            async with OwnClient(self.settings) as api:
                await api.until_ready()
                yield api
        finally:
            await self._stop()
            lock.close()

    async def _start(self) -> None:
        self._metrics.mkdir(parents=True, exist_ok=True)
        for left in self._metrics.glob("*.db"):
            left.unlink()
        await self._log_lines.start()
        extra = {"PROMETHEUS_MULTIPROC_DIR": str(self._metrics)}
        embedded_ray = not self.settings.ray_address
        if embedded_ray:
            self._progress("starting Ray")
            self._ray = RayNode(self.settings, self.hosts, extra)
            await self._ray.start()
            self.settings = self.settings.model_copy(update={"ray_address": self._ray.address})
        if not self.settings.mongodb_uri.get_secret_value():
            self._progress("starting the embedded MongoDB")
            self._mongo = EmbeddedMongo(self.settings.data_dir, cache_mb=self.settings.mongodb_cache_mb)
            await self._mongo.start()
            self.settings = self.settings.model_copy(update={"mongodb_uri": SecretStr(self._mongo.uri)})
            self._tasks.append(asyncio.create_task(self._keep_mongo(self._mongo)))
        if self._sandbox:
            self._progress(f"starting the sandbox, a simulated X, at {self._sandbox.url}")
            await self._add(self._sandbox.child())
        self._progress("preparing the database")
        await prepare(self.settings)
        self._progress(f"starting {self.settings.gateways} gateway and {self.hosts} actor hosts")
        for index in range(self.settings.gateways):
            await self._add(self._gateway(index, extra, stops_hosts=embedded_ray))

    def _gateway(self, index: int, extra: dict[str, str], *, stops_hosts: bool) -> Child:
        command = [sys.executable, "run.py", "gateway", f"--index={index}", f"--hosts={self.hosts}"]
        if stops_hosts:
            command.append("--stops-hosts")
        return Child(f"gateway-{index}", command, child_environment(self.settings, **extra))

    async def _add(self, child: Child) -> None:
        await child.start()
        self._children.append(child)

    async def _keep_mongo(self, mongo: EmbeddedMongo) -> None:
        """Start the embedded database again whenever it ends; its clients find it at the same port."""
        while True:
            code = await mongo.wait()
            log.error("mongod.ended", code=code)
            await mongo.start()

    async def connect_sandbox_account(self, api: OwnClient) -> str | None:
        """Connect the simulated shop account; returns its id, or nothing where the real X is used."""
        if self._sandbox is None:
            return None
        for attempt in range(_CONNECT_ATTEMPTS):
            try:
                return await connect_account(api, self.settings)
            except CallFailed:
                if attempt == _CONNECT_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.5)
        return None

    async def _stop(self) -> None:
        """Stop in the order in which parts need each other: gateways and their hosts, Ray, sandbox, database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        gateways = [child for child in self._children if child.name.startswith("gateway")]
        others = [child for child in self._children if not child.name.startswith("gateway")]
        await asyncio.gather(*(child.stop(self.settings.shutdown_grace_s + 3) for child in gateways))
        stops = [child.stop(_CHILD_GRACE_S) for child in others]
        if self._ray:
            stops.append(self._ray.stop(_CHILD_GRACE_S))
        if self._mongo:
            stops.append(self._mongo.stop())
        await asyncio.gather(*stops)
        self._log_lines.stop()


def _lock(data_dir: Path) -> IO[bytes]:
    """Make sure that one program at a time uses the data directory; the kernel lets go of the lock in any case."""
    handle = (data_dir / "lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise WrongSetting(f"MKTX_DATA_DIR: another program is using {data_dir}") from None
    return handle


async def until_told_to_stop() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with contextlib.suppress(asyncio.CancelledError):
        await stop.wait()
