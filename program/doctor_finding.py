"""What a check is, and what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog

from program.doctor_installation import Installation

log = structlog.get_logger()


class Outcome(StrEnum):
    """How bad it is: `failed` means that the program does not work as it is set up."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found, and what a person should do about it; never a secret, nor an address with one."""

    outcome: Outcome
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at, within a deadline of its own."""

    name: str
    look: Callable[[Installation], Awaitable[Finding]]
    deadline_s: float = 20.0

    async def run(self, installation: Installation) -> Finding:
        """Look; a check that breaks, or does not end, has failed and breaks nothing else."""
        try:
            async with asyncio.timeout(self.deadline_s):
                return await self.look(installation)
        except TimeoutError:
            return failed(f"did not end within {self.deadline_s:g} s", "see whether the machine is overloaded")
        except Exception as error:  # noqa: BLE001  # the boundary of a check
            # Without its text and its trace: they could hold an address with a password in it.
            log.warning("doctor.check_broke", check=self.name, error=type(error).__name__)
            return failed(
                f"could not be checked ({type(error).__name__})", "report it, with the version of the program"
            )


def ok(found: str) -> Finding:
    """Return that all is well."""
    return Finding(Outcome.OK, found)


def warning(found: str, advice: str) -> Finding:
    """Return that something is not as it should be in production."""
    return Finding(Outcome.WARNING, found, advice)


def failed(found: str, advice: str) -> Finding:
    """Return that something does not work."""
    return Finding(Outcome.FAILED, found, advice)
