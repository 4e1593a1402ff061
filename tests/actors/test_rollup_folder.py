"""Sums of days that are over, made one document each."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from actors.rollup_folder import RollupFolder
from storage.client import Client, Database
from storage.inbox import Inbox
from tests.storage.arrivals import START, arrive, connect, everything, ingest_of, message


class LaterClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


async def parts(database: Database) -> set[str]:
    return {each["_id"].rsplit("|", 1)[1] for each in await everything(database, "rollups")}


async def test_a_day_is_folded_once_it_has_been_over_for_a_day(client: Client, database: Database) -> None:
    await connect(database)
    await ingest_of(client, database).apply(await arrive(Inbox(client, database), database, message()))
    midnight = START.replace(hour=0) + timedelta(days=2)
    assert await RollupFolder(client, database, LaterClock(midnight - timedelta(minutes=1))).fold() == 0
    assert await parts(database) == {"ingest"}
    folder = RollupFolder(client, database, LaterClock(midnight + timedelta(minutes=1)), fold_every_s=0.01)
    folder.start()
    async with asyncio.timeout(10):
        while await parts(database) != {"whole"}:
            await asyncio.sleep(0.01)
    await folder.stop()
