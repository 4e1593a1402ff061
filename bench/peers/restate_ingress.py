"""Restate (npm server, PyPI SDK): its durable HTTP ingress into a Python virtual object.

The server runs as one node with its defaults but for fewer partitions: replicated log, write-ahead log synced to disk
before an answer. Each event is a one-way call (`/send`) of the customer's object with the event's id as idempotency
key, answered 202 once it is durable. Restate checks no signature of X: it does less per request than the others.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

import aiohttp

from bench.load.events import Event
from bench.peers.peer import PeerFailed, Processes, cpu_of, free_ports
from bench.peers.restate_object import HANDLER, OBJECT

_SERVER = Path(__file__).parent / "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server"
_REGISTER_S = 60
_PARTITIONS = 6  # its default of 24 is for larger machines; on two cores it is the slower choice


class Restate:
    """Server and the process of the virtual object."""

    name: ClassVar[str] = "Restate"
    stores: ClassVar[bool] = True

    def __init__(self) -> None:
        self._processes = Processes("restate")
        self._admin = 0

    async def start(self, port: int) -> None:
        """Start both and register the object with the server.

        Raises:
            PeerFailed: when a package is missing or the server does not take the object.
        """
        if not _SERVER.exists():
            raise PeerFailed("Restate is not installed: run npm install in bench/peers")
        service, self._admin, node, tokio = free_ports(4)
        settings = {
            "RESTATE_BASE_DIR": str(self._processes.folder / "data"),
            "RESTATE_NODE_NAME": "bench",
            "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_ADVERTISED_HOST": "127.0.0.1",
            "RESTATE_BIND_PORT": str(node),
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_INGRESS__BIND_PORT": str(port),
            "RESTATE_ADMIN__BIND_PORT": str(self._admin),
            "RESTATE_TOKIO_CONSOLE_BIND_ADDRESS": f"127.0.0.1:{tokio}",
            "RESTATE_DEFAULT_NUM_PARTITIONS": str(_PARTITIONS),
            "RESTATE_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            "RESTATE_LOG_FILTER": "warn",
        }
        self._processes.spawn_module("bench.peers.restate_object", f"--port={service}")
        self._processes.spawn(["env", *(f"{name}={value}" for name, value in settings.items()), str(_SERVER)])
        await self._processes.until_listening(service)
        await self._processes.until_listening(port)
        await self._register(f"http://127.0.0.1:{service}")

    async def _register(self, service: str) -> None:
        deadline = time.monotonic() + _REGISTER_S
        said = "nothing"
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                self._processes.alive()
                try:
                    async with session.post(
                        f"http://127.0.0.1:{self._admin}/deployments", json={"uri": service}
                    ) as answer:
                        if answer.ok:
                            return
                        said = (await answer.text())[:300]
                except aiohttp.ClientError as error:
                    said = type(error).__name__
                await asyncio.sleep(0.3)
        raise PeerFailed(f"Restate did not take the object: {said}")

    async def stop(self) -> None:
        """Stop both and remove the data."""
        await self._processes.stop()

    async def stored(self, prefix: str) -> int | None:
        """Count the invocations whose idempotency key starts so, by Restate's own SQL."""
        query = f"SELECT count(*) AS n FROM sys_invocation WHERE idempotency_key LIKE '{prefix}%'"
        async with (
            aiohttp.ClientSession(headers={"accept": "application/json"}) as session,
            session.post(f"http://127.0.0.1:{self._admin}/query", json={"query": query}) as answer,
        ):
            if not answer.ok:
                return None
            found = await answer.json()
        return int(found["rows"][0]["n"])

    def render(self, event: Event) -> bytes:
        """Return a one-way call of the customer's object."""
        head = (
            f"POST /{OBJECT}/{event.customer}/{HANDLER}/send HTTP/1.1\r\nHost: gateway.bench\r\n"
            f"Content-Type: application/json\r\nIdempotency-Key: {event.id}\r\n"
            f"Content-Length: {len(event.body)}\r\n\r\n"
        )
        return head.encode() + event.body

    def cpu_s(self) -> float:
        """Return the processor seconds of server and object."""
        return cpu_of(self._processes.pids)
