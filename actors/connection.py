"""A gateway's way to the actors: there from the first moment, usable as soon as Ray is."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

import structlog

from actors.host_factory import MakeServices
from actors.runtime.actor import Actor
from actors.runtime.errors import HostGone
from actors.runtime.system import reference
from actors.webhook_events import WebhookEvents
from config.environment import child_environment, set_here
from config.settings import PREFIX, Settings
from domain.errors import Unavailable

if TYPE_CHECKING:
    from actors.runtime.ray_system import RayActors, RayTransport

log = structlog.get_logger()

A = TypeVar("A", bound=Actor)

_RETRY_S = 1.0


class ActorConnection:
    """Connects to Ray in the background; until then every call is refused with `Unavailable`.

    Webhook calls need no actor, so they are taken from the start: their events wait in the inbox.
    """

    def __init__(
        self,
        settings: Settings,
        hosts: int,
        *,
        version: str,
        creates_hosts: bool,
        webhooks: WebhookEvents | None = None,
    ) -> None:
        self._settings = settings
        self._count = hosts
        self._version = f"{version}-{_digest(settings)}"
        self._creates_hosts = creates_hosts
        self._webhooks = webhooks
        self._actors: RayActors | None = None
        self._task: asyncio.Task[None] | None = None
        #: Set once this process is connected to Ray.
        self.connected = asyncio.Event()

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._connect())

    @property
    def up(self) -> int:
        """How many hosts answer."""
        return sum(self._actors.up) if self._actors else 0

    @property
    def hosts(self) -> list[NearHost]:
        """The hosts themselves, by index."""
        return [NearHost(self, index) for index in range(self._count)]

    def transport(self, index: int) -> RayTransport:
        """Return the way to one host.

        Raises:
            HostGone: when it is not there.
        """
        if self._actors is None:
            raise HostGone("The actors are starting")
        return self._actors.transports[index]

    def ref(self, kind: type[A], key: str, *, timeout_s: float | None = None) -> A:
        """Return a stand-in for an actor."""
        return reference(self, kind, key, timeout_s)

    def call(
        self, kind: str, key: str, method: str, args: tuple[object, ...], kwargs: dict[str, object], timeout_s: float
    ) -> Awaitable[object]:
        """Send a message to an actor.

        Raises:
            Unavailable: when the actors are not there yet.
        """
        if self._actors is None:
            raise Unavailable("The actors are starting", retry_after_s=2)
        return self._actors.call(kind, key, method, args, kwargs, timeout_s)

    async def _connect(self) -> None:
        give_up = time.monotonic() + 3 * self._settings.ray_start_timeout_s
        while True:
            try:
                self._actors = await asyncio.to_thread(self._open)
            except Exception as error:
                # Ray tells "not there yet" in many ways; all of them mean: try again.
                if time.monotonic() > give_up:
                    log.exception("ray.unreachable", address=self._settings.ray_address)
                    raise
                log.debug("ray.waiting", error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)
            else:
                break
        self._actors.start()
        self.connected.set()
        log.info("actors.connected", hosts=self._count)

    def _open(self) -> RayActors:
        """Connect to Ray and make sure that the hosts exist; blocks, so it runs in a thread."""
        set_here(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0", RAY_BACKEND_LOG_LEVEL="fatal")
        from actors.runtime.ray_system import RayActors, connect, ensure_hosts  # noqa: PLC0415  # costs seconds

        connect(self._settings.ray_address, namespace=f"mktx-{self._settings.mongodb_database}")
        if self._creates_hosts:
            ensure_hosts(MakeServices(self._settings, self._version, self._webhooks), self._count)
        return RayActors(self._count)

    async def close(self) -> None:
        """Leave; the hosts go on."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._actors:
            await self._actors.close()

    async def stop_hosts(self, grace_s: float) -> None:
        """Have every host finish its work and end its process."""
        if self._actors:
            await asyncio.gather(*(transport.stop(grace_s) for transport in self._actors.transports))


def _digest(settings: Settings) -> str:
    """Return a mark that changes with any setting: hosts that run with other ones are replaced."""
    values = {name: value for name, value in child_environment(settings).items() if name.startswith(PREFIX)}
    return hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=4).hexdigest()


class NearHost:
    """One host as the ways of the gateway that need no actor see it."""

    def __init__(self, connection: ActorConnection, index: int) -> None:
        self._connection = connection
        self._index = index

    async def ring(self) -> None:
        """Return when the host has dealt with what was in the inbox."""
        await self._connection.transport(self._index).ring()

    async def ease(self, seconds: float) -> None:
        """Have the host process events at a fraction of its pace for a while."""
        await self._connection.transport(self._index).ease(seconds)
