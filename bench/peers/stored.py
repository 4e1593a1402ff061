"""Peers that keep what they are sent in MongoDB, counted straight from the database."""

from __future__ import annotations

from typing import ClassVar

from pymongo import AsyncMongoClient

from bench.load.events import Event, webhook_request
from bench.peers.peer import Processes, cpu_of
from bench.peers.plain import COLLECTION, DATABASE
from storage.embedded import EmbeddedMongo


class Plain:
    """One insert per request into a `mongod` of its own, started as the program starts its embedded one."""

    name: ClassVar[str] = "plain way"
    stores: ClassVar[bool] = True

    def __init__(self) -> None:
        self._processes = Processes("plain")
        self._mongo = EmbeddedMongo(self._processes.folder)

    async def start(self, port: int) -> None:
        """Start database and server."""
        await self._mongo.start()
        self._processes.spawn_module("bench.peers.plain", f"--port={port}", f"--mongodb={self._mongo.uri}")
        await self._processes.until_listening(port)

    async def stop(self) -> None:
        """Stop both; the folder goes last."""
        await self._mongo.stop()
        await self._processes.stop()

    async def stored(self, prefix: str) -> int | None:
        """Count the documents of a run."""
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(self._mongo.uri)
        try:
            ids = {"_id": {"$gte": prefix, "$lt": prefix + ":"}}
            return int(await client[DATABASE][COLLECTION].count_documents(ids))
        finally:
            await client.close()

    def render(self, event: Event) -> bytes:
        """Return X's own delivery."""
        return webhook_request(event)

    def cpu_s(self) -> float:
        """Return the processor seconds of server and database."""
        return cpu_of([*self._processes.pids, *([self._mongo.pid] if self._mongo.pid else [])])
