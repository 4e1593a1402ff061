"""`run.py serve`: the program from start to stop, with what it tells the person who started it."""

from __future__ import annotations

import sys
import time

from config.logs import configure_logs
from config.settings import Settings, WrongSetting
from program.banner import show
from program.supervisor import Supervisor, until_told_to_stop
from storage.embedded import EmbeddedMongoFailed

_FAILED = 1
_WRONG_SETTING = 2


async def serve(settings: Settings) -> int:
    """Run until told to stop; returns the exit code."""
    configure_logs(settings, process="program", to_socket=False)
    start = time.monotonic()

    def progress(what: str) -> None:
        _write(f"  [{time.monotonic() - start:5.1f} s] {what}")

    try:
        supervisor = Supervisor(settings, progress)
        async with supervisor.running() as api:
            await api.login()
            await supervisor.connect_sandbox_account(api)
            progress("ready")
            await show(
                api,
                supervisor.settings,
                generated_password=supervisor.generated_password,
                sandbox_url=supervisor.sandbox_url,
                write=_write,
            )
            await until_told_to_stop()
            progress("stopping")
    except WrongSetting as error:
        sys.stderr.write(f"error: {error}\n")
        return _WRONG_SETTING
    except EmbeddedMongoFailed as error:
        sys.stderr.write(f"error: {error}\n")
        return _FAILED
    progress("stopped")
    return 0


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
