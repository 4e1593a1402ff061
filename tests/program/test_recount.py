"""`run.py recount`, as an operator types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from program.people import CannotManage
from program.recount import recount_all
from storage.client import Client, Database
from storage.inbox import Inbox
from tests.program.test_people import run
from tests.storage.arrivals import arrive, connect, ingest_of, message


async def some_messages(client: Client, database: Database) -> None:
    await connect(database)
    events = (message(user=str(200 + number)) for number in range(3))
    await ingest_of(client, database).apply(await arrive(Inbox(client, database), database, *events))


async def test_what_differs_is_printed_and_set_right(settings: Settings, client: Client, database: Database) -> None:
    await some_messages(client, database)
    lines, is_right = await recount_all(settings, repairs=False)
    assert (len(lines), is_right) == (1, True)
    assert lines[0].endswith(" numbers compared, 0 differ")
    await database["rollups"].update_one({"_id": "m1|merchant|2026-11-02|ingest"}, {"$inc": {"total.received": 4}})
    lines, is_right = await recount_all(settings, repairs=False)
    assert (lines[0], is_right) == ("m1 merchant 2026-11-02 total.received: 7 kept, 3 counted", False)
    lines, is_right = await recount_all(settings, repairs=True)
    assert (lines[-1].endswith("1 differ, set right"), is_right) == (True, True)
    assert (await recount_all(settings, repairs=False))[1]


async def test_not_every_one_of_many_differences_is_printed(
    settings: Settings, client: Client, database: Database
) -> None:
    await some_messages(client, database)
    wrong = {f"hours.{hour:02}.other{number}": 1 for hour in range(24) for number in range(10)}
    await database["rollups"].update_one({"_id": "m1|merchant|2026-11-02|ingest"}, {"$inc": wrong})
    lines, _ = await recount_all(settings, repairs=True)
    assert (len(lines), lines[-2]) == (202, "… and 40 more")
    assert (await recount_all(settings, repairs=False))[1]


async def test_the_code_that_it_ends_with_says_whether_all_is_right(
    settings: Settings, client: Client, database: Database
) -> None:
    await some_messages(client, database)
    assert (await run(settings, "recount"))[0] == 0
    await database["rollups"].delete_many({})
    code, out, err = await run(settings, "recount")
    assert (code, err) == (1, "")
    assert "m1 merchant 2026-11-02 total.received: 0 kept, 3 counted" in out
    assert (await run(settings, "recount", "--repair"))[0] == 0
    assert (await run(settings, "recount"))[0] == 0


async def test_without_a_database_it_says_so(settings: Settings, tmp_path: Path) -> None:
    nowhere = settings.model_copy(update={"mongodb_uri": SecretStr(""), "data_dir": tmp_path / "never"})
    with pytest.raises(CannotManage):
        await recount_all(nowhere, repairs=False)
