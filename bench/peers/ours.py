"""The whole program, started as a user starts it, with one connected account whose X id is 100."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import psutil
from aiohttp import web
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from bench.load.events import ACCOUNT_X_ID, CONSUMER_KEY, CONSUMER_SECRET, Event, webhook_request
from bench.peers.peer import ROOT, PeerFailed, Processes, cpu_of, free_ports

DATABASE = "mktx"
API = "/api/v1/mkt-x"
_EMAIL = "bench@example.com"
_PASSWORD = "bench-password-of-23-chars"
_START_S = 240
_POLL_S = 0.05


class Ours:
    """The program with its embedded database, its Ray and a simulated X that knows one account."""

    name: ClassVar[str] = "this program"
    stores: ClassVar[bool] = True

    def __init__(self, data: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        """Prepare it on an empty data folder, or on one that is there and stays; with settings beside the usual."""
        self._processes = Processes("ours")
        self._data = data
        self._settings = settings or {}
        self._x = _OneAccount()
        self.port = 0
        #: How long it took from its start until `/health/ready` said that it is.
        self.ready_s = 0.0

    async def start(self, port: int) -> None:
        """Start it and wait until it is ready; on an empty data folder, connect the account.

        Raises:
            PeerFailed: when the program is not there, does not get ready or refuses the account.
        """
        if not (ROOT / "run.py").exists():
            raise PeerFailed("there is no run.py")
        self.port = port
        x_url = await self._x.start()
        settings = {
            "MKTX_PORT": str(port),
            "MKTX_DATA_DIR": str(self._data or self._processes.folder / "data"),
            "MKTX_X_CONSUMER_KEY": CONSUMER_KEY,
            "MKTX_X_CONSUMER_SECRET": CONSUMER_SECRET,
            "MKTX_X_API_BASE_URL": x_url,
            "MKTX_ADMIN_EMAIL": _EMAIL,
            "MKTX_ADMIN_PASSWORD": _PASSWORD,
            "MKTX_LOG_LEVEL": "warning",
            **self._settings,
        }
        variables = [f"{name}={value}" for name, value in settings.items()]
        begun = time.monotonic()
        self._processes.spawn(["env", *variables, sys.executable, "run.py", "serve"])
        await self._processes.until_listening(port, seconds=_START_S)
        await self._until_ready()
        self.ready_s = time.monotonic() - begun
        if self._data is None:
            await connect_account(port)

    async def _until_ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(int(_START_S / _POLL_S)):
                self._processes.alive()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.port}/health/ready") as answer:
                        if answer.status == web.HTTPOk.status_code:
                            return
                await asyncio.sleep(_POLL_S)
        raise PeerFailed("the program did not get ready")

    async def stop(self) -> None:
        """Stop the program and the simulated X."""
        await self._processes.stop()
        await self._x.stop()

    @property
    def pid(self) -> int:
        """Return the process that was started; all others are its children."""
        return self._processes.pids[0]

    def mongodb_uri(self) -> str:
        """Return the address of the embedded database, found by the process that the program started."""
        for pid in self._processes.pids:
            for child in psutil.Process(pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    command = child.cmdline()
                    if command and Path(command[0]).name == "mongod":
                        port = next(part for part in command if part.startswith("--port=")).removeprefix("--port=")
                        return f"mongodb://127.0.0.1:{port}/?directConnection=true"
        raise PeerFailed("the program started no database")

    @asynccontextmanager
    async def database(self) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
        """Open the program's own database."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self.mongodb_uri())
        try:
            yield client[DATABASE]
        finally:
            await client.close()

    async def stored(self, prefix: str) -> int | None:
        """Count a run's messages, those that are still in the inbox included; each id once."""
        span = {"$gte": prefix, "$lt": prefix + ":"}
        async with self.database() as database:
            keys = [
                event["key"].rpartition(":")[2]
                async for document in database.inbox.find({}, {"events.key": 1})
                for event in document["events"]
            ]
            waiting = {message_id for message_id in keys if prefix <= message_id < prefix + ":"}
            done = {
                str(document["twitterMessageId"])
                async for document in database.messages.find({"twitterMessageId": span}, {"twitterMessageId": 1})
            }
        return len(waiting | done)

    def render(self, event: Event) -> bytes:
        """Return X's own delivery."""
        return webhook_request(event)

    def cpu_s(self) -> float:
        """Return the processor seconds of gateway, database, Ray and hosts."""
        return cpu_of(self._processes.pids)


async def access_token(port: int) -> str:
    """Log in as the first user.

    Raises:
        PeerFailed: when the program refuses.
    """
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.post("/api/v1/auth/login", json={"email": _EMAIL, "password": _PASSWORD}) as answer,
    ):
        if not answer.ok:
            raise PeerFailed(f"login was refused: {answer.status} {(await answer.text())[:300]}")
        return str((await answer.json())["data"]["accessToken"])


async def connect_account(port: int) -> None:
    """Connect the account with X id 100 through the public API.

    Raises:
        PeerFailed: when the program refuses.
    """
    headers = {"Authorization": f"Bearer {await access_token(port)}"}
    tokens = {"oauthToken": f"{ACCOUNT_X_ID}-bench", "oauthTokenSecret": "bench"}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.post(f"{API}/accounts", json=tokens, headers=headers) as answer,
    ):
        if not answer.ok:
            raise PeerFailed(f"the account was refused: {answer.status} {(await answer.text())[:300]}")


class _OneAccount:
    """As much of X as connecting an account needs: it knows one user and agrees to everything else."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/2/users/me", self._me)
        app.router.add_route("*", "/{path:.*}", self._agree)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        [port] = free_ports(1)
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _me(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": {"id": ACCOUNT_X_ID, "name": "Shop", "username": "shop"}})

    async def _agree(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": {"id": "1", "valid": True, "subscribed": True}})
