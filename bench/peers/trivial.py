"""A server that answers 200 to whatever comes, without reading it: what the load driver itself can do."""

from __future__ import annotations

import asyncio
from typing import cast

import uvloop

from bench.peers.arguments import port_argument

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class _Answerer(asyncio.Protocol):
    _transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by class

    def data_received(self, _data: bytes) -> None:
        self._transport.write(_ANSWER)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Answerer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(port_argument()))
