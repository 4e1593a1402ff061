from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.server import running
from sandbox.world import World
from tests.sandbox.shop import Receiver, Shop, make_world, receiving


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def world() -> World:
    world = make_world(delivery_timeout_s=0.5)
    world.add_customer("200", username="ann_x", name="Ann")
    return world


@pytest.fixture
async def shop(world: World, http: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    async with running(world) as base:
        yield Shop(base, http)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
