"""A client of the stream of events, as the HTML standard has it (section 9.2, "Server-sent events")."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.gateway.conftest import API, Api

PATIENCE_S = 20


@dataclass(frozen=True)
class Event:
    id: str
    name: str
    data: dict[str, Any]


@dataclass
class Listener:
    """Reads one stream; `last_id` is what it would resume from."""

    response: aiohttp.ClientResponse
    last_id: str
    comments: list[str] = field(default_factory=list)
    retry_ms: int | None = None

    async def next(self) -> Event | None:
        """Return the next event, nothing where the stream has ended."""
        async with asyncio.timeout(PATIENCE_S):
            while (block := await self._block()) is not None:
                if "data" in block:
                    return Event(self.last_id, block["event"], orjson.loads(block["data"]))
        return None

    async def take(self, count: int) -> list[Event]:
        found = [await self.next() for _ in range(count)]
        return [event for event in found if event is not None]

    async def until(self, name: str, document_id: str) -> list[Event]:
        """Return all events up to a certain one."""
        events: list[Event] = []
        while (event := await self.next()) is not None:
            events.append(event)
            if (event.name, event.data.get("id")) == (name, document_id):
                return events
        raise AssertionError("the stream has ended before")

    async def heartbeat(self) -> None:
        """Return at the next heartbeat; there must be no event before it."""
        seen = len(self.comments)
        async with asyncio.timeout(PATIENCE_S):
            while len(self.comments) == seen:
                block = await self._block()
                assert block is not None
                assert "data" not in block

    async def _block(self) -> dict[str, str] | None:
        block: dict[str, str] = {}
        while line := await self.response.content.readline():
            text = line.decode().removesuffix("\n")
            if not text:
                return block
            name, _, value = text.partition(":")
            if not name:
                self.comments.append(value)
                continue
            block[name] = value.removeprefix(" ")
            if name == "id":
                self.last_id = block[name]
            if name == "retry":
                self.retry_ms = int(value)
        return None


@asynccontextmanager
async def listening(api: Api, query: str = "", last_id: str = "") -> AsyncIterator[Listener]:
    """Listen as a merchant; begins once the stream is there."""
    headers = {"Authorization": f"Bearer {api.token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    async with api.http.get(f"{API}/events{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        listener = Listener(response, last_id)
        if not last_id:
            async with asyncio.timeout(PATIENCE_S):
                while not listener.last_id:
                    await listener._block()
        yield listener
        # Leaving is not the same as having read everything.
        response.close()
