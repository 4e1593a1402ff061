"""The whole program with its embedded database, a stub X in a process of its own, and a client of the public API."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import psutil
from pymongo.asynchronous.database import AsyncDatabase

from bench.campaign.audience import KEY, Merchant
from bench.peers.ours import API, Ours
from bench.peers.peer import PeerFailed, Processes, free_ports
from storage.client import Document

_SECRET = "a-secret-of-the-benchmark-of-40-letters-"
_TOKEN_S = 3_600
_POLL_S = 0.1
#: Nobody who has something to send to X lets so many seconds pass.
_QUIET_S = 2.0
_MB = 2**20
_SETTINGS = {
    "MKTX_API_CALLS_PER_MINUTE": "10000000",
    "MKTX_JWT_SECRET": _SECRET,
    "MKTX_ENCRYPTION_KEY": base64.b64encode(KEY).decode(),
    "MKTX_X_MESSAGES_PER_DAY": "60000",
    "MKTX_X_CAMPAIGN_MESSAGES_PER_DAY": "60000",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the cases work with."""

    program: Ours
    database: AsyncDatabase[Document]
    uri: str
    session: aiohttp.ClientSession
    x_url: str

    async def ask(self, merchant: Merchant, method: str, path: str, body: object = None) -> Any:
        """Return the data of an answer of the public API.

        Raises:
            PeerFailed: when that is no success.
        """
        claims = {"sub": "bench", "merchantId": merchant.id, "roles": ["owner"], "exp": int(time.time()) + _TOKEN_S}
        headers = {"Authorization": f"Bearer {jwt.encode(claims, _SECRET, algorithm='HS256')}"}
        address = f"http://127.0.0.1:{self.program.port}{API}{path}"
        async with self.session.request(method, address, json=body, headers=headers) as answer:
            found = await answer.json()
        if not found["success"]:
            raise PeerFailed(f"{method} {path}: {found['error']}")
        return found["data"]

    async def campaign(self, merchant: Merchant) -> str:
        """Make a campaign to all contacts of a merchant; returns its id."""
        conditions = [{"field": "username", "operator": "exists", "value": True}]
        segment = await self.ask(merchant, "POST", "/segments", {"name": _name(), "conditions": conditions})
        content = "Hello {{ username }}, our sale has begun"
        template = await self.ask(merchant, "POST", "/templates", {"name": _name(), "content": content})
        fields = {"name": _name(), "type": "promotional", "templateId": template["id"], "segmentIds": [segment["id"]]}
        return str((await self.ask(merchant, "POST", "/campaigns", fields))["id"])

    async def start(self, merchant: Merchant, campaign_id: str) -> None:
        """Start a campaign."""
        await self.ask(merchant, "POST", f"/campaigns/{campaign_id}/start")

    async def until_run(self, campaign_id: str, *statuses: str, seconds: float) -> Document:
        """Wait until the run of a campaign is so far, and return it.

        Raises:
            PeerFailed: when it does not come to be in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = await self.database.campaignRuns.find_one({"campaignId": campaign_id})
            if run is not None and run["status"] in statuses:
                return run
            await asyncio.sleep(_POLL_S)
        raise PeerFailed(f"campaign {campaign_id} was not {' or '.join(statuses)} in {seconds:.0f} s")

    async def begin_x(self, delay: float) -> None:
        """Have the stub X forget what it saw, and answer after so many seconds."""
        async with self.session.post(f"{self.x_url}/bench/begin", json={"delay": delay}) as answer:
            answer.raise_for_status()

    async def seen_by_x(self) -> dict[str, Any]:
        """Return what the stub X saw since: `calls, people, twice, seconds, mostUnderWay`."""
        async with self.session.get(f"{self.x_url}/bench/seen") as answer:
            found: dict[str, Any] = await answer.json()
        return found

    async def until_quiet(self) -> None:
        """Wait until nothing is sent to X any more."""
        before = -1
        while (calls := (await self.seen_by_x())["calls"]) != before:
            before = calls
            await asyncio.sleep(_QUIET_S)

    def hosts(self) -> list[psutil.Process]:
        """Return the processes in which the actors are: Ray names them after the class."""
        found = []
        for process in psutil.Process(self.program.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "Host" in (process.cmdline() or [""])[0] and "ray::" in process.cmdline()[0]:
                    found.append(process)
        return found

    def memory(self) -> float:
        """Return the memory of the hosts' own, in MB: what would be free without them."""
        return float(sum(host.memory_full_info().uss for host in self.hosts())) / _MB

    def cpu(self) -> Mapping[str, float]:
        """Return the processor seconds so far of hosts, database and stub X."""
        return {
            "hosts": sum(_cpu(host) for host in self.hosts()),
            "database": _sum_of(self.program.pid, lambda command: Path(command[0]).name == "mongod"),
            "stub X": _sum_of(psutil.Process().pid, lambda command: "bench.campaign.stub_x" in command),
        }


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """Start everything on an empty data folder, and stop it."""
    x, x_port = Processes("stub X"), free_ports(1)[0]
    x_url = f"http://127.0.0.1:{x_port}"
    program = Ours(folder, {**_SETTINGS, "MKTX_X_API_BASE_URL": x_url})
    try:
        x.spawn_module("bench.campaign.stub_x", f"--port={x_port}")
        await x.until_listening(x_port)
        [port] = free_ports(1)
        await program.start(port)
        async with program.database() as database, aiohttp.ClientSession() as session:
            yield Stage(program, database, program.mongodb_uri(), session, x_url)
    finally:
        await program.stop()
        await x.stop()


def _name() -> str:
    return f"Bench {time.monotonic_ns()}"


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _sum_of(pid: int, is_wanted: Callable[[list[str]], bool]) -> float:
    total = 0.0
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command and is_wanted(command):
                total += _cpu(process)
    return total
