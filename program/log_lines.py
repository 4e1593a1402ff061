"""Prints the log lines of actor hosts, which reach the program over a datagram socket."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path


class LogLines(asyncio.DatagramProtocol):
    """Writes every line that arrives to standard output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=str(self._path), family=socket.AF_UNIX
        )

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Print one line."""
        sys.stdout.write(data.decode(errors="replace"))
        sys.stdout.flush()

    def stop(self) -> None:
        """Listen no more."""
        if self._transport:
            self._transport.close()
        self._path.unlink(missing_ok=True)
