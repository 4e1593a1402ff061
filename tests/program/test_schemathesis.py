"""The running program under everything that its own description suggests: schemathesis as users run it."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.program.running_program import Program

#: Every check but one: that whatever fits the schema is accepted. A body may name an account that is not there, a
#: period that ends before it begins, or a key that was used for another request; no schema says that.
LEFT_OUT = "positive_data_acceptance"
#: The stream of events does not end; the others end what all the rest needs: the session, the person, the account.
NOT_CALLED = ("/events", "/auth/logout", "/auth/password", "/users/{userId}", "/accounts/{accountId}")


async def checked(program: Program, folder: Path, *options: str) -> None:
    call = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{program.base_url}/openapi.json"]
    call += ["--checks", "all", "--exclude-checks", LEFT_OUT, "--continue-on-failure", "--generation-deterministic"]
    call += ["--header", f"Authorization: {program.headers['Authorization']}", "--no-color", *options]
    call += [part for path in NOT_CALLED for part in ("--exclude-path-regex", f"{re.escape(path)}$")]
    process = await asyncio.create_subprocess_exec(
        *call, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-20_000:]
    assert " 0 generated" not in said.decode()


@pytest.mark.program
async def test_the_running_program_is_as_it_describes_itself(program: Program, tmp_path: Path) -> None:
    await checked(program, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "1", "--max-time", "20")


@pytest.mark.program
@pytest.mark.long
async def test_the_running_program_is_as_it_describes_itself_whatever_is_sent(program: Program, tmp_path: Path) -> None:
    await checked(program, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "20")
