"""One gateway process: HTTP on the shared port, the inbox, the way to the actors."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog
from aiohttp import web
from prometheus_client import Counter

from actors.attachments import Attachments
from actors.clients.x_app import XApp
from actors.clients.x_transport import open_session
from actors.connection import ActorConnection
from actors.loop_lag import LoopLag
from config.logs import configure_logs
from config.settings import Settings
from config.tracing import close_tracing, configure_tracing
from domain.clock import SystemClock
from domain.errors import Unavailable
from domain.partition import LANES
from gateway.account_subscriptions import AccountSubscriptions
from gateway.app import create_app
from gateway.background import Background
from gateway.commit import GroupCommit
from gateway.contact_import import resume_imports
from gateway.dependencies import Dependencies, PartHealth, Repositories
from gateway.doorbell import Doorbell
from gateway.easing import Easing
from gateway.events.outgoing import OutgoingEvents
from gateway.http_server import Runner
from gateway.inbox_watch import InboxWatch
from gateway.passwords import Passwords
from gateway.recurring import Recurring
from gateway.tokens import AccessTokens
from gateway.webhook_keeper import WebhookKeeper
from gateway.webhooks import Webhooks
from program.preparation import wait_until_prepared
from program.version import VERSION
from storage.client import Client, Database, check, close_client, database_of, open_client
from storage.contact_erasure import ContactErasures, resume_erasures
from storage.contact_merge import ContactMerges, resume_merges
from storage.encryption import key_ring
from storage.inbox import Inbox

log = structlog.get_logger()

STARTS = Counter(
    "mktx_gateway_starts_total",
    "Starts of gateway processes, by gateway: each after the first is a restart",
    ["gateway"],
)

_BACKLOG = 4096
#: An account that X has not subscribed yet receives nothing.
_SUBSCRIBE_EVERY_S = 10.0


class _Beside(Protocol):
    """What goes on beside the requests."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


class GatewayProcess:
    """Composes one gateway and serves until it is told to stop."""

    def __init__(self, settings: Settings, index: int, hosts: int, *, stops_hosts: bool) -> None:
        self._settings = settings
        self._stops_hosts = stops_hosts
        self._client: Client = open_client(settings)
        self._database: Database = database_of(self._client, settings)
        self._actors = ActorConnection(
            settings, hosts, version=VERSION, creates_hosts=index == 0, webhooks=OutgoingEvents()
        )
        self._hosts = hosts
        STARTS.labels(str(index)).inc()
        self._leads = index == 0

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        settings, clock = self._settings, SystemClock()
        session = open_session()
        x = XApp(settings, session, clock)
        keeper = WebhookKeeper(settings, x, registers=self._leads)
        repositories = Repositories.of(self._database, key_ring(settings))
        subscriptions = AccountSubscriptions(x, repositories.accounts, clock, lambda: keeper.webhook_id)
        inbox = Inbox(self._client, self._database)
        doorbell = Doorbell(self._actors.hosts)
        easing = Easing(self._actors.hosts)

        def stored(lanes: Iterable[int], calls: int) -> None:
            doorbell.stored(lanes)
            easing.committed(calls)

        commit = GroupCommit(inbox, clock, stored)
        deps = Dependencies(
            settings=settings,
            database=self._database,
            repositories=repositories,
            actors=self._actors,
            x=x,
            attachments=Attachments(settings, clock),
            webhook_id=lambda: keeper.webhook_id,
            clock=clock,
            tokens=AccessTokens(settings, clock),
            passwords=Passwords(),
            background=Background(),
            parts=self._parts,
        )
        recurring = _recurring(deps, subscriptions)
        beside: list[_Beside] = [keeper, LoopLag("gateway")]
        if self._leads:
            beside += [InboxWatch(inbox, clock), *recurring]
        app = create_app(deps)
        webhooks = Webhooks(settings, commit, inbox, clock)
        runner = Runner(
            app,
            express=webhooks.add_to(app),
            whole_calls=webhooks,
            keepalive_timeout=settings.request_head_timeout_s,
            shutdown_timeout=settings.shutdown_grace_s,
        )
        await runner.setup()
        self._actors.start()
        # A gateway that died may have stored events that no host was told of.
        doorbell.stored(range(LANES))
        await web.SockSite(runner, _listening(settings), backlog=_BACKLOG).start()
        for each in beside:
            each.start()
        # What was made during the start stays for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.enable()
        log.info("gateway.listening", port=settings.port)
        await _told_to_stop(self._actors.connected)
        log.info("gateway.stopping")
        for each in beside:
            await each.stop()
        await runner.cleanup()
        await commit.close()
        await doorbell.close()
        await easing.close()
        if self._stops_hosts and self._leads:
            await self._actors.stop_hosts(settings.shutdown_grace_s / 2)
        await self._actors.close()
        await session.close()
        await close_client(self._client)
        await asyncio.to_thread(close_tracing)
        if not self._actors.connected.is_set():
            # The thread that waits for Ray can't be told to stop, and the interpreter would wait for it.
            sys.stdout.flush()
            os._exit(0)

    async def _parts(self) -> Mapping[str, PartHealth]:
        up = self._actors.up
        database = PartHealth(ready=True)
        try:
            await check(self._database)
        except Unavailable:
            database = PartHealth(ready=False, detail="is not to be reached")
        return {
            "gateway": PartHealth(ready=True),
            "database": database,
            "actors": PartHealth(ready=up == self._hosts, detail=f"{up} of {self._hosts} hosts answer"),
        }


def _recurring(deps: Dependencies, subscriptions: AccountSubscriptions) -> tuple[Recurring, ...]:
    """Return what one gateway does for all: it makes up for what was cut off anywhere, also by its own stop."""
    clock, repositories = deps.clock, deps.repositories
    erasures, merges = ContactErasures(deps.database, deps.settings), ContactMerges(deps.database)
    return (
        Recurring("subscribe_accounts", subscriptions.look, every_s=_SUBSCRIBE_EVERY_S),
        Recurring("revive_dead_letters", lambda: repositories.dead_letters.revive_all(clock.now())),
        Recurring("remove_recipients", repositories.campaigns.complete_removals),
        Recurring("remove_executions", repositories.flows.complete_removals),
        Recurring("resume_erasures", lambda: resume_erasures(erasures, clock)),
        Recurring("resume_merges", lambda: resume_merges(merges)),
        Recurring("resume_imports", lambda: resume_imports(deps)),
    )


def _allow_many_connections() -> None:
    """Raise the limit of open files, one a connection, to the highest that this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listening(settings: Settings) -> socket.socket:
    """Return a socket on the port, which every gateway process of the machine shares."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((settings.host, settings.port))
    return listening


async def _told_to_stop(connected: asyncio.Event) -> None:
    """Wait for SIGTERM or SIGINT; connecting to Ray installs a handler that only prints, so ours is put back then."""
    stop = asyncio.Event()

    def listen() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    listen()
    for event in (connected, stop):
        waiting = [asyncio.create_task(event.wait()), asyncio.create_task(stop.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        listen()


async def run(settings: Settings, index: int, hosts: int, *, stops_hosts: bool) -> None:
    """Run one gateway process."""
    configure_logs(settings, process=f"gateway-{index}", to_socket=False)
    configure_tracing(settings, process=f"gateway-{index}")
    _allow_many_connections()
    await asyncio.to_thread(wait_until_prepared, settings.data_dir)
    await GatewayProcess(settings, index, hosts, stops_hosts=stops_hosts).serve()
