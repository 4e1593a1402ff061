"""Starts by what happens outside of the ingestion of events, on a real server."""

from __future__ import annotations

import pytest

from domain.flow_execution import MOST_DEPTH
from domain.flow_triggers import Happening
from storage.client import Client, Database, Session, session_of
from storage.flow_starts import FlowStarts, contact_made, tags_added
from tests.storage.arrivals import START
from tests.storage.flow_scenes import active_flow, add_flow, flow_events, started

CONTACT = {"_id": "c1", "merchantId": "m1", "accountId": "a1"}
VIP = [Happening("tag_added", "vip")]


async def test_a_start_has_what_its_execution_begins_with(database: Database) -> None:
    flow = await active_flow(database, "tag_added", config={"tag": "vip"})
    await active_flow(database, "tag_added", config={"tag": "other"})
    assert await FlowStarts(database).happened(CONTACT, VIP, "k1", START, depth=3) == 1
    (event,) = await flow_events(database)
    assert event["_id"].endswith(f"|c1|start|{flow['_id']}|k1")
    assert (event["contactId"], event["accountId"], event["merchantId"]) == ("c1", "a1", "m1")
    assert (event["version"], event["depth"], event["variables"], event["at"]) == (1, 3, {}, START)
    assert "messageId" not in event


async def test_the_same_told_again_is_one_start_also_after_it_was_taken(database: Database) -> None:
    await active_flow(database, "tag_added")
    starts = FlowStarts(database)
    for _ in range(2):
        await starts.happened(CONTACT, VIP, "k1", START)
    (first,) = await flow_events(database)
    await database["flowEvents"].delete_many({})
    await starts.happened(CONTACT, VIP, "k1", START)
    (again,) = await flow_events(database)
    # By its id the executor knows the execution that has begun.
    assert again["executionId"] == first["executionId"]
    await starts.happened(CONTACT, VIP, "k2", START)
    await starts.happened({**CONTACT, "_id": "c2"}, VIP, "k1", START)
    assert len({each["executionId"] for each in await flow_events(database)}) == 3


async def test_a_flow_that_several_things_start_at_once_starts_once(database: Database) -> None:
    flow = await active_flow(database, "tag_added")
    made = await active_flow(database, "new_contact")
    assert await FlowStarts(database).happened(CONTACT, contact_made(["a", "b"]), "k", START) == 2
    assert sorted(await started(database)) == sorted([flow["_id"], made["_id"]])


async def test_flows_that_start_one_another_without_end_are_stopped(database: Database) -> None:
    await active_flow(database, "tag_added")
    starts = FlowStarts(database)
    assert await starts.happened(CONTACT, VIP, "k1", START, depth=MOST_DEPTH) == 1
    assert await starts.happened(CONTACT, VIP, "k2", START, depth=MOST_DEPTH + 1) == 0
    assert len(await started(database)) == 1


async def test_what_is_not_written_in_the_end_starts_nothing(client: Client, database: Database) -> None:
    await active_flow(database, "tag_added")

    async def work(session: Session) -> None:
        assert await FlowStarts(database).happened(CONTACT, VIP, "k", START, session=session) == 1
        raise ValueError("changed its mind")

    async with session_of(client) as session:
        with pytest.raises(ValueError, match="changed its mind"):
            await session.with_transaction(work)
    assert await started(database) == []


async def test_where_nothing_has_happened_nothing_is_asked(database: Database) -> None:
    await active_flow(database, "tag_added")
    assert await FlowStarts(database).happened(CONTACT, [], "k", START) == 0


async def test_who_has_flows_of_a_kind_is_known(database: Database) -> None:
    starts = FlowStarts(database)
    await add_flow(database, "tag_added")
    await active_flow(database, "message_received")
    await active_flow(database, "tag_added", merchant="m2")
    assert not await starts.concern("m1", {"tag_added", "new_contact"})
    assert await starts.concern("m2", {"tag_added", "new_contact"})


def test_only_tags_that_a_contact_did_not_have_are_added() -> None:
    assert tags_added(["a", "b"], ["b", "c"]) == [Happening("tag_added", "c")]
    assert tags_added(["a"], ["a"]) == []
