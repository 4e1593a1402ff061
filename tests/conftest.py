"""What every test may ask for: a real `mongod`, started once per run, and a fresh database on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from config.settings import Settings
from storage.client import Client, Database, database_of, open_client
from storage.embedded import EmbeddedMongo
from storage.indexes import ensure_indexes


@pytest.fixture(scope="session")
async def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder: Path = tmp_path_factory.mktemp("mongo")
    mongo = EmbeddedMongo(folder, extra=("--setParameter=enableTestCommands=1",))
    await mongo.start()
    yield mongo.uri
    await mongo.stop()
    mongo.erase()


@pytest.fixture
def settings(mongo_uri: str, tmp_path: Path) -> Settings:
    return Settings(
        mongodb_uri=SecretStr(mongo_uri),
        mongodb_database=f"test-{uuid4().hex[:12]}",
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
    yield client
    await client.drop_database(settings.mongodb_database)
    await client.close()


@pytest.fixture
async def database(client: Client, settings: Settings) -> Database:
    database = database_of(client, settings)
    await ensure_indexes(database)
    return database
