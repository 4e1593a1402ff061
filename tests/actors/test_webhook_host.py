"""Webhooks in a whole host: what changes in the database is posted to receivers, whoever died before."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator

import pytest

from actors import host_services
from actors.host_services import Services
from actors.webhook_events import TEST
from config.settings import Settings
from domain.clock import SystemClock
from domain.ids import new_id
from gateway.events.outgoing import OutgoingEvents
from storage.client import Database
from storage.webhook_deliveries import new_delivery
from tests.actors.webhook_stage import WebhookStage


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[WebhookStage]:
    stage = WebhookStage(database, settings)
    yield stage
    await stage.stop()


async def test_a_host_tells_what_happens_and_what_was_left_behind(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_services, "_RESUME_S", 0.2)
    receiver, now = await stage.receiver(), SystemClock().now()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    # Written by a host that died before anybody was told.
    left = new_delivery("m1", endpoint_id, new_id(), TEST, now, now)
    await stage.deliveries.add([left])
    # As it reaches a host that Ray starts.
    services = Services(stage.settings, 0, 1, pickle.loads(pickle.dumps(OutgoingEvents())))
    await services.start()
    try:
        await stage.has(receiver, 1)
        assert receiver.ids == [left["eventId"]]
        async with asyncio.timeout(60):
            while not await stage.database["webhookFeeds"].find_one({"state.position": {"$exists": True}}):
                await asyncio.sleep(0.01)
        await stage.message("hello")
        await stage.has(receiver, 2)
    finally:
        await services.stop(5)
    assert receiver.types == ["webhook.test", "message.created"]


async def test_a_host_without_events_has_nobody_who_tells(stage: WebhookStage) -> None:
    services = Services(stage.settings, 0, 1)
    await services.start()
    try:
        assert await services._webhooks_with_work() == []
    finally:
        await services.stop(5)
