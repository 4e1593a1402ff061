"""How long the database takes, as the driver tells it: by command, never by what is in it."""

from __future__ import annotations

import pytest
from pymongo.errors import OperationFailure

from config.settings import Settings
from storage.client import close_client, database_of, open_client
from tests.metric_values import value


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
async def test_commands_are_timed_and_failures_counted(settings: Settings, driver: str) -> None:
    client = open_client(settings.model_copy(update={"mongodb_driver": driver}))
    database = database_of(client, settings)
    names = {"insert": 1, "find": 1, "other": 2}
    before = {name: value("mktx_mongodb_command_seconds_count", command=name) for name in names}
    failed = value("mktx_mongodb_failures_total", command="other")
    await database["probes"].insert_one({"_id": "1"})
    assert await database["probes"].find_one({"_id": "1"}) is not None
    await database.command("ping")
    with pytest.raises(OperationFailure):
        await database.command("noSuchCommand")
    counted = {name: value("mktx_mongodb_command_seconds_count", command=name) - before[name] for name in names}
    assert counted == names
    assert value("mktx_mongodb_failures_total", command="other") == failed + 1
    await database["probes"].drop()
    await close_client(client)
