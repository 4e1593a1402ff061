"""The chatbot in a whole host: events come in at one end, answers are in X at the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import host_services
from actors.host_services import Services
from config.settings import Settings
from storage.client import Client, Database
from storage.inbox import Inbox
from tests.actors.bot_stage import BotStage, open_bot_stage


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_host_answers_what_comes_in_and_what_was_left_behind(
    client: Client, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    monkeypatch.setattr(host_services, "_RESUME_S", 0.2)
    async with open_bot_stage(client, database, settings) as stage:
        await stage.connect()
        await stage.set(enabled=True, answerDelaySeconds=0.0)
        event = stage.message("How long does shipping take?", "200", direction="inbound")
        if is_told:
            await Inbox(client, database).add([event], stage.clock.now())
        else:
            # Ingested by a host that died before it could tell anybody.
            await stage.happens(event, told=False)
        await running(stage)
        assert len(stage.in_x()) == 1
        assert await database["conversations"].count_documents({"botDue": True}) == 0


async def running(stage: BotStage) -> None:
    services: Any = Services(stage.settings, 0, hosts=1)
    await services.start()
    try:
        await services.ring()
        async with asyncio.timeout(60):
            while not await stage.database["messages"].find_one({"source": "bot", "status": "sent"}):
                await asyncio.sleep(0.02)
    finally:
        await services.stop(5)
