from __future__ import annotations

import asyncio

import pytest

from actors.flow_feed import FlowFeed
from domain.clock import SystemClock
from domain.errors import Unavailable
from domain.partition import PARTITIONS, partition_of
from storage.client import Database
from storage.flow_documents import EXECUTOR, FlowEventDocument, flow_event_id
from storage.flow_events import FlowEvents
from storage.flow_starts import note_events


async def add(database: Database, contact_id: str, *keys: str) -> None:
    await note_events(
        database,
        [
            FlowEventDocument(
                _id=flow_event_id(contact_id, key),
                merchantId="m1",
                accountId="a1",
                contactId=contact_id,
                kind="reply",
                at=SystemClock().now(),
                messageId=key,
            )
            for key in keys
        ],
    )


class Executors:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.fail = False

    async def take(self, contact_id: str) -> None:
        self.told.append(contact_id)
        if self.fail:
            raise Unavailable("not now")


async def test_each_contact_is_told_once_a_reading(database: Database) -> None:
    executors = Executors()
    for number in range(1_100):
        await add(database, f"c{number}", *(["m1", "m2"] if number % 10 == 0 else ["m1"]))
    feed = FlowFeed(FlowEvents(database), range(PARTITIONS), executors.take)
    await feed.read()
    assert sorted(executors.told) == sorted(f"c{number}" for number in range(1_100))


@pytest.mark.parametrize("edge", [1, 128, 255])
async def test_hosts_read_their_own_partitions_and_nobody_is_left_out(database: Database, edge: int) -> None:
    contact_ids = [f"c{number}" for number in range(300)]
    for contact_id in contact_ids:
        await add(database, contact_id, "m1")
    seen = []
    for partitions in (range(edge), range(edge, PARTITIONS)):
        executors = Executors()
        await FlowFeed(FlowEvents(database), partitions, executors.take).read()
        assert {partition_of(EXECUTOR, each) in partitions for each in executors.told} <= {True}
        seen += executors.told
    assert sorted(seen) == sorted(contact_ids)


async def test_who_could_not_take_it_is_told_again(database: Database) -> None:
    executors = Executors()
    executors.fail = True
    await add(database, "c1", "m1")
    feed = FlowFeed(FlowEvents(database), range(PARTITIONS), executors.take, read_every_s=0.02)
    feed.start()
    async with asyncio.timeout(60):
        while len(executors.told) < 3:
            await asyncio.sleep(0.01)
    await feed.stop()
    assert set(executors.told) == {"c1"}
