"""`run.py serve`: the program from start to stop, with what it tells the person who started it."""

from __future__ import annotations

import asyncio
import sys
import time

from config.logs import configure_logs
from config.settings import Settings, WrongSetting
from program.banner import show
from program.bundled_sandbox import offer_look_up
from program.own_client import CallFailed
from program.supervisor import CannotStart, Progress, Supervisor, until_told_to_stop
from storage.embedded import EmbeddedMongoFailed

_FAILED = 1
_WRONG_SETTING = 2


async def serve(settings: Settings) -> int:
    """Run until told to stop; returns the exit code."""
    configure_logs(settings, process="program", to_socket=False)
    start = time.monotonic()

    def progress(what: str) -> None:
        _write(f"  [{time.monotonic() - start:5.1f} s] {what}")

    # Listened for from the first moment: whoever stops a start wants nothing left of it either.
    told = asyncio.create_task(until_told_to_stop())
    ready = asyncio.Event()
    work = asyncio.create_task(_run(settings, progress, ready, told))
    await asyncio.wait((told, work), return_when=asyncio.FIRST_COMPLETED)
    if told.done() and not ready.is_set():
        progress("stopping")
        work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        progress("stopped before it was ready")
    except WrongSetting as error:
        sys.stderr.write(f"error: {error}\n")
        return _WRONG_SETTING
    except (CannotStart, EmbeddedMongoFailed) as error:
        sys.stderr.write(f"error: {error}\n")
        return _FAILED
    else:
        progress("stopped")
    return 0


async def _run(settings: Settings, progress: Progress, ready: asyncio.Event, told: asyncio.Task[None]) -> None:
    """Have the program run until it is told to stop; cancelled before it is ready, it stops what it has started."""
    supervisor = Supervisor(settings, progress)
    async with supervisor.running() as api:
        try:
            await api.login()
            if await supervisor.connect_sandbox_account(api):
                await offer_look_up(api)
        except CallFailed as error:
            # Tokens may be issued elsewhere, or the first user has another password by now: it serves all the same.
            progress(f"not logged in as the first user: {error}")
        progress("ready")
        await show(
            api,
            supervisor.settings,
            generated_password=supervisor.generated_password,
            sandbox_url=supervisor.sandbox_url,
            write=_write,
        )
        ready.set()
        await told
        progress("stopping")


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
