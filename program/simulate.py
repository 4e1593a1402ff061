"""`run.py simulate`: the whole program with the bundled sandbox under a load, and afterwards the books.

The program runs on a free port with a database, a Ray and keys of its own; it knows nothing of a real installation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import aiohttp
from pymongo.errors import PyMongoError

from config.logs import configure_logs
from config.settings import Settings, WrongSetting
from program.bundled_sandbox import connect_account
from program.own_client import CallFailed, OwnClient
from program.simulation_agent import Agent, AnswerRefused, open_conversations
from program.simulation_books import answer_books, balance, customer_books, read_inbox, read_stored, summary
from program.simulation_display import Display, Progress
from program.simulation_order import Order, account_ids, check_folder, simulation_settings
from program.simulation_output import logging_to
from program.simulation_sandbox import LoadProgress, Sandbox, SandboxFailed
from program.supervisor import CannotStart, Supervisor, until_told_to_stop
from storage.client import Database, close_client, database_of, open_client
from storage.embedded import EmbeddedMongoFailed
from storage.inbox import Inbox

_BALANCED: Final = 0
_FAILED: Final = 1
_WRONG_SETTING: Final = 2
_INTERRUPTED: Final = 130

_LOOK_S = 0.5
#: Without any progress for this long, what is not stored is taken for missing.
_STALLED_S = 60.0


async def simulate(settings: Settings, order: Order) -> int:
    """Run one simulation; returns 0 when nothing is missing, doubled or lost, 130 when it was interrupted."""
    try:
        if order.data_dir is not None:
            check_folder(order.data_dir)
        with _folder(order) as data_dir, logging_to(_log_path(order)) as terminal:
            return await _simulate(simulation_settings(settings, order, data_dir), order, Display(terminal))
    except (WrongSetting, CannotStart, EmbeddedMongoFailed, SandboxFailed, AnswerRefused, CallFailed) as error:
        sys.stderr.write(f"error: {error}\n")
        return _WRONG_SETTING if isinstance(error, WrongSetting) else _FAILED
    except (aiohttp.ClientError, PyMongoError) as error:
        sys.stderr.write(f"error: a part of the program broke ({type(error).__name__}); see the log lines\n")
        return _FAILED


async def _simulate(settings: Settings, order: Order, display: Display) -> int:
    configure_logs(settings, process="program", to_socket=False)
    display.say(f"log lines go to {_log_path(order)}")
    run = Run(settings, order, display)
    told = asyncio.create_task(until_told_to_stop())
    work = asyncio.create_task(run.carry_out())
    await asyncio.wait((told, work), return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        run.interrupt(work)
    try:
        return await work
    except asyncio.CancelledError:
        display.say("stopped before the load began")
        return _INTERRUPTED
    finally:
        told.cancel()


class Run:
    """One simulation from start to stop."""

    def __init__(self, settings: Settings, order: Order, display: Display) -> None:
        self._settings = settings
        self._order = order
        self._display = display
        self._accounts = account_ids(settings, order)
        self._measuring = False
        self._interrupted = asyncio.Event()

    def interrupt(self, work: asyncio.Task[int]) -> None:
        """End the run early: with a summary when the load has begun."""
        self._interrupted.set()
        if not self._measuring:
            work.cancel()

    async def carry_out(self) -> int:
        """Start the program, put it under load, print the summary, stop it; returns the exit code."""
        began = time.monotonic()

        def progress(what: str) -> None:
            self._display.say(f"[{time.monotonic() - began:5.1f} s] {what}")

        supervisor = Supervisor(self._settings, progress)
        async with supervisor.running() as api, aiohttp.ClientSession() as session:
            sandbox = Sandbox(session, supervisor.sandbox_url or "")
            await api.login()
            await self._connect(supervisor, sandbox, api)
            progress(f"{self._order.count} messages at {self._order.rate:g} a second")
            async with _database(supervisor.settings) as database:
                self._measuring = True
                agent = Agent(session, api, self._order.answers, lambda: open_conversations(database))
                load = await self._put_under_load(sandbox, database, agent)
                code = await self._report(sandbox, database, agent, load)
            progress("stopping")
        return code

    async def _connect(self, supervisor: Supervisor, sandbox: Sandbox, api: OwnClient) -> None:
        """Connect every shop account, and make sure that X sends their events."""
        await sandbox.prepare(self._accounts)
        await sandbox.until_webhook()
        await supervisor.connect_sandbox_account(api)
        for account in self._accounts[1:]:
            await connect_account(api, supervisor.settings.model_copy(update={"sandbox_account_id": account}))
        await sandbox.until_subscribed(self._accounts)

    async def _put_under_load(self, sandbox: Sandbox, database: Database, agent: Agent) -> LoadProgress:
        """Have the load sent and wait until all of it is stored, nothing moves any more, or the run is interrupted."""
        await sandbox.start_load(self._order, self._accounts)
        answering = asyncio.create_task(agent.work())
        watch = Watch(sandbox, database, agent)
        try:
            while not self._interrupted.is_set():
                load, progress = await watch.look()
                self._display.show(progress)
                if load["done"]:
                    agent.finish()
                if answering.done():
                    answering.result()
                if load["done"] and (watch.stalled or (answering.done() and await watch.all_settled())):
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._interrupted.wait(), _LOOK_S)
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            self._display.end_progress()
        return await sandbox.load()

    async def _report(self, sandbox: Sandbox, database: Database, agent: Agent, load: LoadProgress) -> int:
        # X's side first, then the inbox, then the messages: what moves on in between is found where it went.
        deliveries = await sandbox.deliveries()
        inbox = await read_inbox(database)
        stored = await read_stored(database)
        in_x = [message for account in self._accounts for message in await sandbox.sent_by(account)]
        shops = {message.message_id for message in in_x}
        customers = customer_books(load["sent"], deliveries, stored, inbox, shops)
        answers = answer_books(agent.texts, in_x, stored)
        self._display.table("summary", summary(customers, answers, load, answering=self._order.answers > 0))
        if self._interrupted.is_set():
            self._display.say("interrupted: the books are those of what there was")
            return _INTERRUPTED
        return _BALANCED if balance(customers, answers) else _FAILED


class Watch:
    """Looks how far a run is."""

    def __init__(self, sandbox: Sandbox, database: Database, agent: Agent) -> None:
        self._sandbox = sandbox
        self._database = database
        self._agent = agent
        self._inbox = Inbox(database.client, database)
        self._moved_at = self._looked_at = time.monotonic()
        self._stored = 0
        self._before: tuple[int, ...] = ()

    async def look(self) -> tuple[LoadProgress, Progress]:
        """Return how far the load is, and the rest with it."""
        load = await self._sandbox.load()
        answers = len(self._agent.texts)
        stored = max(0, int(await self._database["messages"].estimated_document_count()) - answers)
        waiting = await self._inbox.pending()
        now = time.monotonic()
        per_second = (stored - self._stored) / max(now - self._looked_at, _LOOK_S)
        state = (load["sent"], load["acknowledged"], load["lost"], stored, waiting, answers)
        if state != self._before:
            self._moved_at = now
        self._before, self._stored, self._looked_at = state, stored, now
        progress = Progress(load["sent"], load["acknowledged"], stored, waiting, per_second, await self._lag_ms())
        return load, progress

    @property
    def stalled(self) -> bool:
        """Whether nothing has moved for long."""
        return time.monotonic() - self._moved_at > _STALLED_S

    async def all_settled(self) -> bool:
        """Say whether nothing is under way: no delivery, no event in the inbox, no answer on its way to X."""
        if await self._sandbox.pending() or await self._inbox.oldest() is not None:
            return False
        return await self._database["messages"].find_one({"pending": True}, {"_id": 1}) is None

    async def _lag_ms(self) -> float | None:
        newest = await self._database["messages"].find_one(
            {"direction": "inbound"}, {"sentAt": 1, "createdAt": 1}, sort=[("_id", -1)]
        )
        if newest is None or newest["sentAt"] is None:
            return None
        lag: float = (newest["createdAt"] - newest["sentAt"]).total_seconds() * 1000
        return lag


@contextmanager
def _folder(order: Order) -> Iterator[Path]:
    """Yield the data directory; without one of its own, a run's data goes with it."""
    if order.data_dir is not None:
        order.data_dir.mkdir(parents=True, exist_ok=True)
        yield order.data_dir.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="mktx-simulate-") as folder:
        yield Path(folder)


def _log_path(order: Order) -> Path:
    """Return where log lines go: with the data that is kept, else to a file that outlives the run."""
    if order.data_dir is not None:
        return order.data_dir.absolute() / "logs" / "simulate.log"
    return Path(tempfile.gettempdir()) / f"mktx-simulate-{os.getpid()}.log"


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    client = open_client(settings)
    try:
        yield database_of(client, settings)
    finally:
        await close_client(client)
