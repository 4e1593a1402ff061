"""The directory of active flows on a real server, with streams that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from domain.flow_triggers import Happening
from storage.client import Client, Database
from storage.flow_directory import FRESH_S, FlowDirectory
from storage.flows import Flows
from tests.actors.desk import failing
from tests.storage.flow_scenes import LISTENS, activate, active_flow, add_flow, change, deactivate

_MESSAGE = Happening("message_received", "hello")
#: The server shuts down, has lost the history, has lost the cursor's place.
_BREAKS = (11601, 286, 136)


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def noted() -> list[str]:
    return []


@asynccontextmanager
async def following(database: Database, noted: list[str]) -> AsyncIterator[FlowDirectory]:
    directory = FlowDirectory(database, noted=noted.append)
    directory.start()
    try:
        await until(lambda: directory.is_fresh)
        yield directory
    finally:
        await directory.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


def started(directory: FlowDirectory, merchant: str = "m1") -> list[str]:
    index = directory.of(merchant)
    return [] if index is None else [flow.id for flow in index.started_by("a1", _MESSAGE)]


async def test_what_is_activated_before_and_after_the_start_is_found(database: Database, noted: list[str]) -> None:
    before = await active_flow(database, "message_received")
    async with following(database, noted) as directory:
        assert started(directory) == [before["_id"]]
        after = await active_flow(database, "message_received")
        await active_flow(database, "message_received", merchant="m2")
        await until(lambda: started(directory) == [before["_id"], after["_id"]])
        await until(lambda: len(started(directory, "m2")) == 1)
        assert directory.of("m3") is None


async def test_what_is_deactivated_changed_or_deleted_is_found_no_more(database: Database, noted: list[str]) -> None:
    flow = await active_flow(database, "message_received")
    async with following(database, noted) as directory:
        inactive = await deactivate(database, flow)
        await until(lambda: started(directory) == [])
        assert directory.of("m1") is None
        keywords = {"type": "message_received", "config": {"keywords": ["other"]}}
        changed = await change(database, inactive, trigger=keywords)
        other = await activate(database, await add_flow(database, "message_received"))
        await until(lambda: started(directory) == [other["_id"]])
        await activate(database, changed)
        await until(lambda: (index := directory.of("m1")) is not None and flow["_id"] in index.flows)
        assert started(directory) == [other["_id"]]
        await Flows(database).remove(await deactivate(database, other))
        await until(lambda: started(directory) == [])


async def test_a_flow_found_has_its_version(database: Database, noted: list[str]) -> None:
    flow = await deactivate(database, await active_flow(database, "message_received"))
    changed = await change(database, flow, nodes=LISTENS)
    async with following(database, noted) as directory:
        await activate(database, changed)
        await until(lambda: started(directory) == [flow["_id"]])
        index = directory.of("m1")
        assert index is not None
        assert (index.flows[flow["_id"]].version, index.flows[flow["_id"]].listens, index.may_listen) == (2, True, True)


async def test_executions_may_listen_for_as_long_as_a_version_of_a_flow_does(
    database: Database, noted: list[str]
) -> None:
    flow = await deactivate(database, await active_flow(database, "manual", nodes=LISTENS))
    async with following(database, noted) as directory:
        index = directory.of("m1")
        assert index is not None
        assert (index.may_listen, index.flows) == (True, {})
        # Both the flow that is active for a while, and what it leaves.
        other = await active_flow(database, "manual", merchant="m2", nodes=LISTENS)
        await until(lambda: directory.of("m2"))
        await deactivate(database, other)
        await until(lambda: (found := directory.of("m2")) is not None and not found.flows)
        assert (directory.of("m2") or index).may_listen
    await Flows(database).remove(flow)
    async with following(database, noted) as directory:
        assert directory.of("m1") is None


async def test_a_stream_that_breaks_is_begun_anew_and_nothing_is_missed(
    client: Client, database: Database, noted: list[str]
) -> None:
    async with following(database, noted) as directory:
        flows: list[str] = []
        for code in _BREAKS:
            noted.clear()
            async with failing(client, ["getMore"], "alwaysOn", errorCode=code):
                await until(lambda: "broke" in noted)
                flows.append((await active_flow(database, "message_received"))["_id"])
            await until(lambda: started(directory) == flows)
            assert "loaded" in noted


async def test_while_no_stream_can_be_had_the_flows_are_read(
    client: Client, database: Database, noted: list[str]
) -> None:
    former = await active_flow(database, "message_received")
    clock = Monotonic()
    directory = FlowDirectory(database, monotonic=clock, noted=noted.append)
    directory.start()
    try:
        await until(lambda: directory.is_fresh)
        async with failing(client, ["getMore", "aggregate"], "alwaysOn", errorCode=11601):
            await until(lambda: "broke" in noted)
            clock.now += FRESH_S + 0.1
            assert not directory.is_fresh
            flow = await active_flow(database, "message_received")
            await deactivate(database, former)
            assert started(directory) == [former["_id"]]
            await directory.read(["m1", "m2"])
            assert started(directory) == [flow["_id"]]
            # Again only after a while.
            await directory.read(["m1"])
            assert noted.count("read") == 1
            clock.now += 1.1
            await deactivate(database, flow)
            await directory.read(["m1"])
            assert started(directory) == []
        await until(lambda: directory.is_fresh)
        again = await active_flow(database, "message_received")
        await until(lambda: started(directory) == [again["_id"]])
    finally:
        await directory.stop()


async def test_one_that_has_not_begun_to_follow_is_not_fresh(database: Database) -> None:
    assert not FlowDirectory(database).is_fresh
    assert FlowDirectory(database).of("m1") is None


async def test_a_flow_that_can_not_be_read_is_noted_and_left_out(database: Database, noted: list[str]) -> None:
    flow = await active_flow(database, "message_received")
    wrong = await active_flow(database, "message_received")
    await database["flows"].update_one({"_id": wrong["_id"]}, {"$set": {"trigger.config": {"keywords": 7}}})
    async with following(database, noted) as directory:
        assert started(directory) == [flow["_id"]]
        assert noted.count("invalid") == 1


async def test_flows_that_start_by_themselves_are_told(database: Database, noted: list[str]) -> None:
    await active_flow(database, "message_received")
    schedule = {"segmentId": "s", "startAt": "2026-12-01T10:00:00Z"}
    by_time = await active_flow(database, "schedule", config=schedule)
    by_segment = await active_flow(database, "segment_entered", config={"segmentId": "s"})
    await add_flow(database, "segment_entered", config={"segmentId": "s"})
    async with following(database, noted) as directory:
        assert sorted(directory.by_themselves()) == sorted([by_time["_id"], by_segment["_id"]])
