"""`run.py doctor`: looks at everything that can be looked at, and says what to do about it; leaves all as it was."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from config.logs import configure_logs
from config.settings import Settings
from program import doctor_database, doctor_machine, doctor_ray, doctor_settings, doctor_x
from program.doctor_finding import Check, Finding, Outcome
from program.doctor_installation import examining

CHECKS: tuple[Check, ...] = (
    *doctor_settings.CHECKS,
    *doctor_machine.CHECKS,
    *doctor_database.CHECKS,
    *doctor_ray.CHECKS,
    *doctor_x.CHECKS,
)

_COLOURS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "red"}


async def doctor(settings: Settings, stream: TextIO | None = None) -> int:
    """Run every check and print what they found; returns 0 when none has failed."""
    quiet = settings.model_copy(update={"log_level": "warning"})
    configure_logs(quiet, process="doctor", to_socket=False)
    async with examining(settings) as installation:
        findings = await asyncio.gather(*(check.run(installation) for check in CHECKS))
    found = list(zip((check.name for check in CHECKS), findings, strict=True))
    show(found, stream or sys.stdout)
    return 1 if any(finding.outcome is Outcome.FAILED for finding in findings) else 0


def show(found: Sequence[tuple[str, Finding]], stream: TextIO) -> None:
    """Print one line a check: a table on a terminal, plain lines anywhere else."""
    console = Console(file=stream, highlight=False, markup=False)
    if not console.is_terminal:
        for name, finding in found:
            advice = f" -> {finding.advice}" if finding.advice else ""
            console.print(f"{finding.outcome.value:<8} {name:<23} {finding.found}{advice}", soft_wrap=True)
        return
    table = Table()
    for heading in ("check", "", "found", "what to do"):
        # Names of settings are to be copied: none is cut.
        table.add_column(heading, overflow="fold")
    for name, finding in found:
        colour = _COLOURS[finding.outcome]
        table.add_row(
            name, finding.outcome.value, finding.found, finding.advice, style=colour if finding.advice else ""
        )
    console.print(table)
