from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.program.running_program import Program, SimulatedX


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
async def x(session: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[SimulatedX]:
    x = SimulatedX(session, tmp_path)
    await x.start()
    await x.order("limits", {"all": 1_000_000, "account_24h": 1_000_000})
    yield x
    await x.stop()


@pytest.fixture
async def program(session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX) -> AsyncIterator[Program]:
    program = Program(session, tmp_path, x, MKTX_X_MESSAGES_PER_DAY="100000")
    await program.start()
    await program.until_ready()
    await program.login()
    yield program
    await program.stop()
    await program.until_nothing_is_left()
