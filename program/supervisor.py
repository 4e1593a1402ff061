"""Starts every part of the program in order, keeps it running, and stops it in order.

    Ray (slowest, so it starts first) ──────────────────────────┐
    gateways, which load meanwhile ──┐                          │
    mongod ──▶ indexes, first user ──┴──▶ gateways go on ───────┴──▶ hosts ──▶ ready
    sandbox, where no X is configured

The supervisor itself does nothing else: it holds no connection to Ray, serves no request, and load does not slow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import structlog
from pydantic import SecretStr
from pymongo.errors import ConfigurationError, PyMongoError

from config.environment import child_environment
from config.logs import log_socket
from config.settings import Settings, WrongSetting
from domain.clock import SystemClock
from gateway.tokens import AccessTokens, WrongTokenKey
from program.bundled_sandbox import BundledSandbox, connect_account
from program.child import Child
from program.first_start import prepare
from program.generated import resolve
from program.log_lines import LogLines
from program.metrics_files import MetricsFiles
from program.own_client import CallFailed, OwnClient
from program.preparation import Preparation
from program.ray_node import RayNode
from storage.embedded import EmbeddedMongo, EmbeddedMongoFailed, free_port
from storage.encryption import WrongKey, key_ring

log = structlog.get_logger()

_CONNECT_ATTEMPTS = 20
_CHILD_GRACE_S = 5.0
_MONGO_RETRY_S = 2.0
_RECONNECT_GRACE_S = 2.0
_SAY_EVERY_S = 10.0
_RAY_TRIES = 3

Progress = Callable[[str], None]


class CannotStart(Exception):
    """Something outside of the program keeps it from starting; the text is one line."""


class Supervisor:
    """The whole program on one machine."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        """Take the data directory and complete the settings.

        Raises:
            WrongSetting: when another program has the directory, or a setting can't be used.
        """
        # Taken before anything is generated: of two programs that start at once, one must not replace the other's keys.
        self._lock = _lock(settings.data_dir)
        resolved = resolve(settings)
        own = resolved.settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
        _check_keys(own)
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
        self._preparation = Preparation(own.data_dir)
        self._log_lines = LogLines(log_socket(own))
        self._metrics = MetricsFiles(own.data_dir / "metrics")

    @property
    def sandbox_url(self) -> str | None:
        """Where the bundled sandbox listens, when it is used."""
        return self._sandbox.url if self._sandbox else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OwnClient]:
        """Have the program run, ready when this is entered, and stopped when it is left."""
        try:
            await self._start()
            async with OwnClient(self.settings) as api:
                await self._until_ready(api)
                yield api
        finally:
            await self._stop()
            self._lock.close()

    async def _start(self) -> None:
        _check_address(self.settings)
        self._metrics.start()
        await self._log_lines.start()
        extra = self._metrics.environment
        embedded_ray = not self.settings.ray_address
        if embedded_ray:
            self._progress("starting Ray")
            self._ray = RayNode(self.settings, self.hosts, extra, again=self._start_gateways_again)
            await self._ray.start()
            self.settings = self.settings.model_copy(update={"ray_address": self._ray.address})
        if not self.settings.mongodb_uri.get_secret_value():
            self._mongo = EmbeddedMongo(self.settings.data_dir, cache_mb=self.settings.mongodb_cache_mb)
            self.settings = self.settings.model_copy(update={"mongodb_uri": SecretStr(self._mongo.uri)})
        self._preparation.begin()
        self._progress(f"starting {self.settings.gateways} gateway and {self.hosts} actor hosts")
        for index in range(self.settings.gateways):
            await self._add(self._gateway(index, extra, stops_hosts=embedded_ray))
        if self._sandbox:
            self._progress(f"starting the sandbox, a simulated X and model server, at {self._sandbox.url}")
            await self._add(self._sandbox.child())
        if self._mongo:
            self._progress("starting the embedded MongoDB")
            await self._mongo.start()
            self._tasks.append(asyncio.create_task(self._keep_mongo(self._mongo)))
        self._progress("preparing the database")
        await self._prepare_database()
        self._preparation.end()

    async def _until_ready(self, api: OwnClient) -> None:
        """Wait for every part, say what is waited for, and give up when Ray has failed for good."""
        begun = time.monotonic()
        waiting = asyncio.create_task(api.until_ready())
        try:
            while not (await asyncio.wait({waiting}, timeout=_SAY_EVERY_S))[0]:
                self._progress(f"waiting for {await api.missing()}")
                if self._ray is None:
                    continue
                late = time.monotonic() - begun > _RAY_TRIES * self.settings.ray_start_timeout_s
                if late or self._ray.failures >= _RAY_TRIES:
                    raise CannotStart(f"Ray does not start here: {self._ray.last_words()}")
            await waiting
        finally:
            waiting.cancel()

    async def _prepare_database(self) -> None:
        try:
            await prepare(self.settings)
        except ConfigurationError:
            # The driver's own words may hold the password that is in the address.
            raise WrongSetting("MKTX_MONGODB_URI: not the address of a MongoDB") from None
        except PyMongoError as error:
            raise CannotStart(
                f"MKTX_MONGODB_URI: the database there is not to be used ({type(error).__name__})"
            ) from None

    def _gateway(self, index: int, extra: dict[str, str], *, stops_hosts: bool) -> Child:
        command = [sys.executable, "run.py", "gateway", f"--index={index}", f"--hosts={self.hosts}"]
        if stops_hosts:
            command.append("--stops-hosts")
        return Child(f"gateway-{index}", command, child_environment(self.settings, **extra))

    async def _start_gateways_again(self) -> None:
        """Have the gateways connect to a new Ray, which a process that was connected to the old one never can."""
        await asyncio.gather(*(child.end(_RECONNECT_GRACE_S) for child in self._gateways))

    @property
    def _gateways(self) -> list[Child]:
        return [child for child in self._children if child.name.startswith("gateway")]

    async def _add(self, child: Child) -> None:
        await child.start()
        self._children.append(child)

    async def _keep_mongo(self, mongo: EmbeddedMongo) -> None:
        """Start the embedded database again whenever it ends; its clients find it at the same port."""
        while True:
            code = await mongo.wait()
            log.error("mongod.ended", code=code)
            await self._start_mongo_again(mongo)

    @staticmethod
    async def _start_mongo_again(mongo: EmbeddedMongo) -> None:
        while True:
            try:
                await mongo.start()
            except EmbeddedMongoFailed as error:
                log.exception("mongod.not_started", error=str(error))
                await asyncio.sleep(_MONGO_RETRY_S)
            else:
                return

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
        gateways = self._gateways
        others = [child for child in self._children if child not in gateways]
        await asyncio.gather(*(child.stop(self.settings.shutdown_grace_s + 3) for child in gateways))
        stops = [child.stop(_CHILD_GRACE_S) for child in others]
        if self._ray:
            stops.append(self._ray.stop(_CHILD_GRACE_S))
        if self._mongo:
            stops.append(self._mongo.stop())
        await asyncio.gather(*stops)
        await self._metrics.stop()
        self._log_lines.stop()


def _lock(data_dir: Path) -> IO[bytes]:
    """Make sure that one program at a time uses the data directory; the kernel lets go of the lock in any case."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = (data_dir / "lock").open("ab")
    except OSError as error:
        raise WrongSetting(f"MKTX_DATA_DIR: {data_dir} can't be used ({error.strerror})") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise WrongSetting(f"MKTX_DATA_DIR: another program is using {data_dir}") from None
    return handle


def _check_keys(settings: Settings) -> None:
    try:
        key_ring(settings)
        AccessTokens(settings, SystemClock())
    except (WrongKey, WrongTokenKey) as error:
        raise WrongSetting(str(error)) from None


def _check_address(settings: Settings) -> None:
    """Make sure that the port is free: gateways share theirs, and would share it with a stranger's program as well."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such address"
            raise CannotStart(
                f"can't listen on {settings.host}, port {settings.port}: {reason}; see MKTX_HOST and MKTX_PORT"
            ) from None


async def until_told_to_stop() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with contextlib.suppress(asyncio.CancelledError):
        await stop.wait()
