"""What every test may ask for: a real `mongod`, started once per run, and an empty database on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from config.settings import Settings
from storage.client import DURABLE, Client, Database, database_of, open_client
from storage.embedded import EmbeddedMongo
from storage.indexes import INDEXES, ensure_indexes

#: Tests that start Ray or the whole program: one after the other, whatever else runs beside them.
_HEAVY = ("program", "ray")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep heavy tests together in one of the processes that `make test` runs."""
    for item in items:
        if any(item.get_closest_marker(name) for name in _HEAVY):
            item.add_marker(pytest.mark.xdist_group("heavy"))


@pytest.fixture(scope="session")
async def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder: Path = tmp_path_factory.mktemp("mongo")
    mongo = EmbeddedMongo(folder, extra=("--setParameter=enableTestCommands=1",))
    await mongo.start()
    yield mongo.uri
    await mongo.stop()
    mongo.erase()


#: Databases that tests take in turn. What a test has left running may still write to its own for a moment.
_NAMES = [f"test-{uuid4().hex[:8]}-{number}" for number in range(12)]
_turns = cycle(_NAMES)
_with_indexes: set[str] = set()


@pytest.fixture
def settings(mongo_uri: str, tmp_path: Path) -> Settings:
    return Settings(
        mongodb_uri=SecretStr(mongo_uri),
        mongodb_database=next(_turns),
        data_dir=tmp_path,
        x_consumer_key="test-consumer",
        x_consumer_secret=SecretStr("test-consumer-secret"),
        x_bearer_token=SecretStr("test-bearer"),
        jwt_secret=SecretStr("a-secret-for-tests-of-at-least-32-bytes"),
        encryption_key=SecretStr("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    client = open_client(settings)
    await _empty(client, settings.mongodb_database)
    yield client
    await client.close()


@pytest.fixture
async def database(client: Client, settings: Settings) -> Database:
    database = database_of(client, settings)
    if database.name not in _with_indexes:
        await ensure_indexes(database)
        _with_indexes.add(database.name)
    return database


async def _empty(client: Client, name: str) -> None:
    """Remove every document; indexes stay, since making them is what takes long."""
    database = client.get_database(name, write_concern=DURABLE)
    collections = await database.list_collection_names()
    if not set(INDEXES) <= set(collections):
        _with_indexes.discard(name)

    async def clear(collection: str) -> None:
        if await database[collection].find_one({}, {"_id": 1}) is not None:
            await database[collection].delete_many({})

    await asyncio.gather(*(clear(each) for each in collections if not each.startswith("system.")))
