"""A child process that is started, watched, started again, and stopped; the kernel ends it when the program dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from config.environment import ROOT
from storage.embedded import die_with_parent

log = structlog.get_logger()

_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0


class Child:
    """Keeps one process running until it is told to stop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
        again: Callable[[], Awaitable[None]] | None = None,
        output: Path | None = None,
    ) -> None:
        """Make a child; `before` is done before each start, `again` after each but the first."""
        self.name = name
        self._command = command
        self._environment = dict(environment)
        self._before = before
        self._again = again
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it once, and from then on whenever it has ended."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        if self._before:
            await self._before()
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._output.open("ab")) if self._output else None
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),
                # Ctrl-C reaches only the program itself, which stops its children in order.
                start_new_session=True,
            )

    async def _keep(self) -> None:
        pause = 0.2
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            if time.monotonic() - started > _STEADY_S:
                pause = 0.2
            log.error("child.ended", child=self.name, code=code, again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as error:
                log.exception("child.not_started", child=self.name, error=type(error).__name__)
                continue
            if self._again:
                await self._again()

    async def stop(self, grace_s: float) -> None:
        """Ask it to stop, and end it when it has not in time."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.end(grace_s)

    async def end(self, grace_s: float) -> None:
        """End the present process likewise; unless it is being stopped, it is started again."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            log.warning("child.killed", child=self.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
