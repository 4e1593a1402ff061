"""The actors of a whole Ray cluster: which host owns a key, and the routes to all of them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import ray
import structlog
from ray.exceptions import RayError

from actors.runtime.actor import Actor
from actors.runtime.errors import HostGone
from actors.runtime.host import ActorHost
from actors.runtime.ray_host import HostInfo, RayHost, ServicesFactory
from actors.runtime.route import Route
from actors.runtime.system import LocalActors, reference
from domain.partition import host_of, partition_of

log = structlog.get_logger()

A = TypeVar("A", bound=Actor)

_HELLO_TIMEOUT_S = 60.0
_MAX_CONCURRENCY = 1000
_REPLACED_GRACE_S = 10.0


def host_name(index: int) -> str:
    """Return the name under which Ray knows a host."""
    return f"host-{index}"


def connect(address: str, *, namespace: str) -> None:
    """Connect this process to a Ray cluster. Blocks; raises whatever Ray raises when it is not there."""
    if ray.is_initialized():
        return
    # Ray warns that this is not the main thread, which is as it should be.
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {}
    if address.startswith("127.0.0.1:"):
        # Ray looks for the local node under the machine's outward address unless it is told.
        options["_node_ip_address"] = "127.0.0.1"
    ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False, **options)


def ensure_hosts(make: ServicesFactory, hosts: int) -> None:
    """Create every host that does not exist yet, and replace those of another version. Blocks: call it in a thread.

    Hosts are detached: they outlive the gateway that created them, and Ray restarts them when their process dies, on
    another node where their own is gone.
    """
    actor_class = ray.remote(RayHost)

    def create(index: int) -> Any:  # Ray's handles are typed by the class behind them, which is made at run time
        return actor_class.options(**_options(index)).remote(make, index, hosts)

    # All at once: each takes its time to load the program.
    handles = [create(index) for index in range(hosts)]
    infos: list[HostInfo] = ray.get([handle.hello.remote() for handle in handles], timeout=_HELLO_TIMEOUT_S)
    for index, (handle, info) in enumerate(zip(handles, infos, strict=True)):
        if info["version"] != make.version:
            log.info("host.replaced", index=index, before=info["version"], after=make.version)
            ray.get(handle.stop.remote(_REPLACED_GRACE_S))
            ray.kill(handle)
            _until_forgotten(index)
            create(index)


def _options(index: int) -> dict[str, Any]:
    return {
        "name": host_name(index),
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": _MAX_CONCURRENCY,
        "enable_task_events": False,
        "scheduling_strategy": "SPREAD",
    }


def _until_forgotten(index: int) -> None:
    """Wait until Ray has given up the name of a host that was killed."""
    give_up = time.monotonic() + _HELLO_TIMEOUT_S
    while time.monotonic() < give_up:
        try:
            ray.get_actor(host_name(index))
        except ValueError:
            return
        time.sleep(0.05)


class RayTransport:
    """Reaches one host through Ray."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._handle: Any = None  # Ray's handles are typed by the class behind them, which is made at run time

    async def reconnect(self) -> None:
        """Look the host up by name and wait until it says hello.

        Raises:
            HostGone: when it does not, this time.
        """
        try:
            self._handle = await asyncio.to_thread(ray.get_actor, host_name(self._index))
            await self.hello()
        except (ValueError, RayError) as error:
            raise HostGone(f"Host {self._index} is not there") from error

    async def hello(self) -> HostInfo:
        """Ask the host who it is; starts it if it has not started."""
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                return cast(HostInfo, await self._handle.hello.remote())
        except (TimeoutError, RayError, AttributeError) as error:
            raise HostGone(f"Host {self._index} does not answer") from error

    async def deliver(self, caller: str, number: int, data: bytes) -> bytes:
        """See `Transport.deliver`."""
        try:
            return cast(bytes, await self._handle.deliver.remote(caller, number, data))
        except RayError as error:
            raise HostGone(f"Host {self._index} is gone") from error

    async def collect(self, caller: str) -> bytes:
        """See `Transport.collect`."""
        try:
            return cast(bytes, await self._handle.collect.remote(caller))
        except RayError as error:
            raise HostGone(f"Host {self._index} is gone") from error

    async def ring(self) -> None:
        """Tell the host that there is something new in the inbox; returns when it has been dealt with."""
        try:
            await self._handle.ring.remote()
        except (RayError, AttributeError) as error:
            raise HostGone(f"Host {self._index} is gone") from error

    async def ease(self, seconds: float) -> None:
        """Have the host go on with what needs no answer at a fraction of its pace for a while."""
        try:
            await self._handle.ease.remote(seconds)
        except (RayError, AttributeError) as error:
            raise HostGone(f"Host {self._index} is gone") from error

    async def stop(self, grace_s: float) -> None:
        """Have the host finish its work, and end its process."""
        if self._handle is None:
            return
        try:
            async with asyncio.timeout(grace_s):
                await self._handle.stop.remote(grace_s)
        except (TimeoutError, RayError) as error:
            log.warning("host.stop_failed", index=self._index, error=type(error).__name__)
        await asyncio.to_thread(ray.kill, self._handle)


class RayActors:
    """Finds the host of a key and carries messages to it; a target of this same process is called without Ray."""

    def __init__(self, hosts: int, *, local: tuple[int, ActorHost] | None = None) -> None:
        self._hosts = hosts
        self._local_index = local[0] if local else -1
        self._local = LocalActors(local[1]) if local else None
        caller = f"{os.getpid()}-{os.urandom(4).hex()}"
        self.transports = [RayTransport(index) for index in range(hosts)]
        self._routes = [Route(caller, transport) for transport in self.transports]

    def start(self) -> None:
        """Open the routes to every other host."""
        for index, route in enumerate(self._routes):
            if index != self._local_index:
                route.start()

    @property
    def up(self) -> list[bool]:
        """Which hosts answered last time."""
        return [route.is_up or index == self._local_index for index, route in enumerate(self._routes)]

    def ref(self, kind: type[A], key: str, *, timeout_s: float | None = None) -> A:
        """Return a stand-in for an actor, wherever it lives."""
        return reference(self, kind, key, timeout_s)

    def call(
        self, kind: str, key: str, method: str, args: tuple[object, ...], kwargs: dict[str, object], timeout_s: float
    ) -> Awaitable[object]:
        """Send a message to the host that owns the key."""
        index = host_of(partition_of(kind, key), self._hosts)
        if index == self._local_index and self._local is not None:
            return self._local.call(kind, key, method, args, kwargs, timeout_s)
        return self._routes[index].call(kind, key, method, args, kwargs, timeout_s)

    async def close(self) -> None:
        """Close the routes; the hosts go on."""
        await asyncio.gather(*(route.close() for route in self._routes))
