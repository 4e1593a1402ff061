"""Some site of the web, on loopback: what links lead to, in all its bad manners."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.serving import everything, serving

CHUNK = 64 * 1024


@dataclass
class Site:
    """Serves `files` by path, and a few paths of its own; remembers what it was asked."""

    url: str = ""
    files: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    written: int = 0

    def put(self, path: str, body: bytes, content_type: str = "image/png", status: int = 200) -> str:
        self.files[path] = (status, body, {"Content-Type": content_type})
        return self.url + path

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        path = request.path
        if path in self.redirects:
            return web.Response(status=302, headers={"Location": self.redirects[path], "Set-Cookie": "a=b; Path=/"})
        if path == "/drip":
            return await self._write(request, [b"\x89PNG\r\n\x1a\n"], then_wait=True)
        if path == "/silence":
            await asyncio.Event().wait()
        if path == "/endless":
            return await self._write(request, [b"\x89PNG\r\n\x1a\n" + bytes(CHUNK)] * 100_000)
        if path == "/broken":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"\x89PNG\r\n\x1a\n")
            assert request.transport is not None
            request.transport.close()
            return response
        if path == "/bomb":
            body = gzip.compress(bytes(20 * 1024 * 1024))
            return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": "image/png"})
        status, body, headers = self.files.get(path, (404, b"nothing", {}))
        return web.Response(status=status, body=body, headers=headers)

    async def _write(self, request: web.Request, pieces: list[bytes], *, then_wait: bool = False) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            self.written += len(piece)
        if then_wait:
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def serving_site() -> AsyncIterator[Site]:
    site = Site()
    async with serving(everything(site.handle)) as site.url:
        yield site
