"""What is measured, each as a thing that can be started on a port and stopped.

Every peer takes the same signed requests on 127.0.0.1; `render` makes the HTTP request that it expects of an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import psutil

from bench.load.events import Event, webhook_request
from storage.embedded import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
_READY_S = 60
_STOP_S = 25


class PeerFailed(Exception):
    """A peer did not start or went away; the text says which and why."""


class Peer(Protocol):
    """A program under load."""

    name: ClassVar[str]
    stores: ClassVar[bool]

    async def start(self, port: int) -> None:
        """Start on an empty data folder and return once requests are answered."""
        ...

    async def stop(self) -> None:
        """Stop every process and remove every file."""
        ...

    async def stored(self, prefix: str) -> int | None:
        """Return how many events whose id starts so are stored; None where nothing can be counted."""
        ...

    def render(self, event: Event) -> bytes:
        """Return the HTTP request that delivers the event to this peer."""
        ...

    def cpu_s(self) -> float:
        """Return the processor seconds that all its processes have used so far."""
        ...


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


async def until(ready: Callable[[], bool], what: str, *, seconds: float = _READY_S) -> None:
    """Wait until it is so.

    Raises:
        PeerFailed: when it does not come to be in time.
    """
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(ready):
        if time.monotonic() > deadline:
            raise PeerFailed(f"{what} did not get ready in {seconds:.0f} s")
        await asyncio.sleep(0.1)


def listens(port: int) -> bool:
    """Whether somebody takes connections on a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def cpu_of(pids: Sequence[int]) -> float:
    """Return the processor seconds of processes and everything below them."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    total += times.user + times.system
    return total


class Processes:
    """The processes of one peer and the folder that they write to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{name.replace(' ', '-')}-"))
        self.log = self.folder / "output.log"

    @property
    def pids(self) -> list[int]:
        """Ids of what was started here."""
        return [process.pid for process in self._running]

    def spawn(self, command: Sequence[str], *, cwd: Path = ROOT) -> None:
        """Start a process that ends with this one, its output going to the log."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(  # the child only asks the kernel to end it with its parent
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509  # one call, and no lock is held by it
                start_new_session=True,
            )
        self._running.append(process)

    def spawn_module(self, module: str, *arguments: str) -> None:
        """Start a Python module of this repository with the interpreter that runs now."""
        self.spawn([sys.executable, "-m", module, *arguments])

    def alive(self) -> None:
        """Raise with the end of the log when a process has ended."""
        for process in self._running:
            if process.poll() is not None:
                tail = self.log.read_text(errors="replace")[-600:]
                raise PeerFailed(f"{self._name} ended with code {process.returncode}: {tail}")

    async def until_listening(self, port: int, *, seconds: float = _READY_S) -> None:
        """Wait until a port takes connections."""

        def ready() -> bool:
            self.alive()
            return listens(port)

        await until(ready, self._name, seconds=seconds)

    async def stop(self) -> None:
        """End everything, the last started first, and remove the folder."""
        for process in reversed(self._running):
            below = _descendants(process.pid)
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, _STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
            for left in below:
                with contextlib.suppress(psutil.Error):
                    left.kill()
        self._running.clear()
        await asyncio.to_thread(_remove, self.folder)


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", "--", str(folder)], check=False)


class ServerPeer:
    """A peer that is one Python module of `bench.peers` and stores nothing."""

    name: ClassVar[str]
    module: ClassVar[str]
    stores: ClassVar[bool] = False

    def __init__(self) -> None:
        self._processes = Processes(self.name)

    async def start(self, port: int) -> None:
        """Start and wait for the port."""
        self._processes.spawn_module(self.module, f"--port={port}")
        await self._processes.until_listening(port)

    async def stop(self) -> None:
        """Stop it."""
        await self._processes.stop()

    async def stored(self, prefix: str) -> int | None:  # noqa: ARG002  # it stores nothing
        """Return None: it stores nothing."""
        return None

    def render(self, event: Event) -> bytes:
        """Return X's own delivery."""
        return webhook_request(event)

    def cpu_s(self) -> float:
        """Return the processor seconds so far."""
        return cpu_of(self._processes.pids)


class Trivial(ServerPeer):
    """Answers without reading: the load driver's own limit."""

    name = "driver limit"
    module = "bench.peers.trivial"


class Bare(ServerPeer):
    """Verifies, parses, answers: the limit of an aiohttp handler."""

    name = "bare aiohttp"
    module = "bench.peers.bare"
