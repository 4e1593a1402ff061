"""An actor host as a Ray actor: one process, one event loop, any number of light actors."""

from __future__ import annotations

import asyncio
import os
from typing import Protocol, TypedDict

from actors.runtime.exchange import Exchange
from actors.runtime.host import ActorHost


class HostInfo(TypedDict):
    """What a host says of itself."""

    index: int
    pid: int
    epoch: int
    version: str
    ready: bool
    actors: int


class HostServices(Protocol):
    """What the program runs inside a host: builds its actors and whatever works beside them."""

    host: ActorHost
    epoch: int

    async def start(self) -> None:
        """Connect and begin to work."""
        ...

    async def ring(self) -> None:
        """Take note that there is something new in the inbox."""
        ...

    def ease(self, seconds: float) -> None:
        """Go on with what needs no answer at a fraction of the pace for a while."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Finish the work in hand and disconnect."""
        ...


class ServicesFactory(Protocol):
    """Makes the services of a host; travels to the host's process, so it holds nothing but plain data."""

    version: str

    def __call__(self, index: int, hosts: int) -> HostServices:
        """Make the services of the host with this index."""
        ...


class RayHost:
    """The body of the Ray actor; `hello` starts it, so a process that Ray has restarted comes back on the first hello.

    Ray runs the methods of an asynchronous actor concurrently on one event loop and promises no order; order is the
    mailboxes' business.
    """

    def __init__(self, make: ServicesFactory, index: int, hosts: int) -> None:
        self._make = make
        self._index = index
        self._hosts = hosts
        self._services: HostServices | None = None
        self._exchange: Exchange | None = None
        self._starting: asyncio.Task[None] | None = None

    async def hello(self) -> HostInfo:
        """Start if need be, and say who answers."""
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)
        services = self._services
        return HostInfo(
            index=self._index,
            pid=os.getpid(),
            epoch=services.epoch if services else 0,
            version=self._make.version,
            ready=services is not None,
            actors=len(services.host) if services else 0,
        )

    async def _start(self) -> None:
        services = self._make(self._index, self._hosts)
        await services.start()
        self._services = services
        self._exchange = Exchange(services.host)

    async def deliver(self, caller: str, number: int, data: bytes) -> bytes:
        """Take a batch of calls; see `Exchange.deliver`."""
        if self._exchange is None:
            await self.hello()
        return await self._ready().deliver(caller, number, data)

    async def collect(self, caller: str) -> bytes:
        """Return late outcomes; see `Exchange.collect`."""
        if self._exchange is None:
            await self.hello()
        return await self._ready().collect(caller)

    async def ring(self) -> None:
        """Take note that there is something new in the inbox; answers when it has been dealt with."""
        if self._services is not None:
            await self._services.ring()

    async def ease(self, seconds: float) -> None:
        """Go on with what needs no answer at a fraction of the pace for a while."""
        if self._services is not None:
            self._services.ease(seconds)

    async def stop(self, grace_s: float) -> None:
        """Finish the work in hand."""
        services, self._services = self._services, None
        if services is not None:
            await services.stop(grace_s)

    def _ready(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("the host has not started")
        return self._exchange
