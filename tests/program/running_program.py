"""The whole program and a simulated X outside of it, as processes that a test can use, break and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
from pymongo import AsyncMongoClient

from config.environment import ROOT
from storage.embedded import die_with_parent, free_port

PATIENCE_S = 240


def processes_of(data_dir: Path) -> Iterator[tuple[int, str]]:
    """Yield (pid, command line) of every process that was started for this data directory."""
    wanted = f"MKTX_DATA_DIR={data_dir}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z" and wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue


class Api:
    """JSON over HTTP, patient with a server that is being killed."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self.base_url = base_url
        self.headers: dict[str, str] = {}

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict]:
        data = orjson.dumps(body) if body is not None else None
        own = {"Content-Type": "application/json"} if data is not None else {}
        async with self._session.request(
            method, self.base_url + path, data=data, headers={**self.headers, **own, **headers}
        ) as response:
            return response.status, orjson.loads(await response.read())


class SimulatedX(Api):
    """A sandbox in a process of its own, which outlives the program."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path) -> None:
        self.port = free_port()
        super().__init__(session, f"http://127.0.0.1:{self.port}")
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *options: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbox",
            f"--port={self.port}",
            "--customers=0",
            "--rate=0",
            "--time-scale=0.01",
            *options,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=(self._folder / "sandbox.log").open("wb"),
            preexec_fn=die_with_parent(),
        )
        assert b"listening" in await self._process.stdout.readline()

    async def order(self, path: str, body: object = None) -> dict:
        status, answer = await self.call("POST" if body is not None else "GET", f"/sandbox/{path}", body)
        assert status == 200, answer
        return answer

    async def every_message(self) -> list[dict]:
        found: list[dict] = []
        while True:
            page = (await self.order(f"messages?skip={len(found)}&take=1000"))["messages"]
            found += page
            if len(page) < 1000:
                return found

    async def every_delivery(self) -> list[dict]:
        found: list[dict] = []
        while True:
            page = (await self.order(f"deliveries?kind=message&skip={len(found)}&take=1000"))["deliveries"]
            found += page
            if len(page) < 1000:
                return found

    async def stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


class Program(Api):
    """The program, started with its own command."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path, x: SimulatedX | None, **settings: str) -> None:
        self.port = free_port()
        super().__init__(session, f"http://127.0.0.1:{self.port}")
        self.data_dir = folder / "data"
        self.output = folder / "program.log"
        self._settings = {
            "MKTX_PORT": str(self.port),
            "MKTX_DATA_DIR": str(self.data_dir),
            "MKTX_ADMIN_EMAIL": "owner@example.com",
            "MKTX_ADMIN_PASSWORD": "correct horse battery",
            "MKTX_X_SETTLE_TIMEOUT_S": "30",
            "MKTX_API_CALLS_PER_MINUTE": "1000000",
            **settings,
        }
        if x is not None:
            self._settings |= {
                "MKTX_X_API_BASE_URL": x.base_url,
                "MKTX_X_CONSUMER_KEY": "sandbox-consumer-key",
                "MKTX_X_CONSUMER_SECRET": "sandbox-consumer-secret",
                "MKTX_X_BEARER_TOKEN": "sandbox-bearer-token",
                "MKTX_PUBLIC_URL": self.base_url,
            }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MKTX_")}
        with self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "run.py",
                "serve",
                cwd=ROOT,
                env=environment | self._settings,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),
            )

    async def until_ready(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await self.is_ready():
                assert self.process.returncode is None, self.output.read_text()[-3000:]
                await asyncio.sleep(0.1)

    async def is_ready(self) -> bool:
        try:
            status, _ = await self.call("GET", "/health/ready")
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
            return False
        return status == 200

    async def login(self) -> None:
        body = {"email": "owner@example.com", "password": "correct horse battery"}
        status, answer = await self.call("POST", "/api/v1/auth/login", body)
        assert status == 200, answer
        self.headers = {"Authorization": f"Bearer {answer['data']['accessToken']}"}

    async def api(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict]:
        return await self.call(method, "/api/v1/mkt-x" + path, body, **headers)

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part: host, gateway, mongod, program."""
        marks = {
            "host": "ray::RayHost",
            "gateway": "run.py gateway",
            "mongod": "bin/mongod ",
            "program": "run.py serve",
        }
        return [pid for pid, command in processes_of(self.data_dir) if marks[part] in command]

    def kill(self, part: str, which: int = 0) -> None:
        pids = sorted(self.pids(part))
        os.kill(pids[which % len(pids)], signal.SIGKILL)

    async def stop(self) -> int:
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await self.process.wait()

    async def until_nothing_is_left(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while list(processes_of(self.data_dir)):
                await asyncio.sleep(0.1)

    def mongo_port(self) -> int:
        for _, command in processes_of(self.data_dir):
            if "bin/mongod " in command:
                return int(command.split("--port=")[1].split()[0])
        raise AssertionError("mongod does not run")

    def database(self) -> AsyncMongoClient:
        return AsyncMongoClient(f"mongodb://127.0.0.1:{self.mongo_port()}/?directConnection=true", tz_aware=True)
