from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from config.settings import Settings
from storage.client import Client, Database
from tests.actors.campaign_stage import Stage, open_stage
from tests.actors.desk import Desk, open_desk


@pytest.fixture
async def desk(client: Client, database: Database, settings: Settings) -> AsyncIterator[Desk]:
    async with open_desk(client, database, settings) as desk:
        yield desk


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[Stage]:
    async with open_stage(client, database, settings) as stage:
        yield stage
