"""The process that tells webhook endpoints is killed again and again: everything is told, under one id each time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from config.environment import child_environment
from config.settings import Settings
from storage.client import Database
from tests.actors.webhook_stage import WebhookStage

DEATHS = 3
MESSAGES = 60


@asynccontextmanager
async def a_host(settings: Settings) -> AsyncIterator[None]:
    """Run a host until it is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.actors.webhook_host",
        env=child_environment(settings),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[WebhookStage]:
    stage = WebhookStage(database, settings)
    yield stage
    await stage.stop()


async def test_nothing_is_lost_and_a_repetition_is_known_by_its_id(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    sent: list[str] = []
    async with a_host(stage.settings):

        async def follows() -> bool:
            return await stage.database["webhookFeeds"].find_one({"state.position": {"$exists": True}}) is not None

        await stage.until(follows)

    for _ in range(DEATHS):
        before = len(receiver.received)
        async with a_host(stage.settings):
            for _ in range(MESSAGES):
                sent.append(await stage.message(str(len(sent))))
            # Killed with some of them told, and others under way or not even read.
            await stage.has(receiver, before + MESSAGES // 4)
        sent.append(await stage.message("while nobody is there"))

    async with a_host(stage.settings):
        await stage.ends(endpoint_id, "delivered", len(sent))
    ids: dict[str, set[str]] = {}
    for each in receiver.received:
        ids.setdefault(each.payload["data"]["id"], set()).add(each.id)
    assert sorted(ids) == sorted(sent)
    assert all(len(each) == 1 for each in ids.values())
