"""Group commit into the real inbox: who waits for whom, and who learns of what failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, DocumentTooLarge

from domain.clock import SystemClock
from domain.errors import Overloaded, Unavailable
from domain.events import XEvent
from domain.x_normalise import normalise
from gateway import commit as module
from gateway.commit import GroupCommit
from storage.client import Database
from storage.inbox import Inbox
from tests.domain.x_payloads import aaa, item

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)


def event(number: int, sender: str = "200", text: str = "hi") -> XEvent:
    [made] = normalise(aaa(item(str(number), sender=sender, text=text)), NOW)
    return made


class Watched(Inbox):
    """The inbox, its inserts counted, held, or broken before they begin."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.client, database)
        self.open = asyncio.Event()
        self.open.set()
        self.inserts: list[list[str]] = []
        self.begun = 0
        self.broken: list[Exception] = []

    async def add(self, events: Iterable[XEvent], received_at: datetime) -> set[int]:
        given = list(events)
        self.begun += 1
        await self.open.wait()
        if self.broken:
            raise self.broken.pop(0)
        lanes = await super().add(given, received_at)
        self.inserts.append([each.key for each in given])
        return lanes


@pytest.fixture
async def inbox(gateway_database: Database) -> Watched:
    await gateway_database["inbox"].delete_many({})
    return Watched(gateway_database)


@pytest.fixture
def told() -> list[tuple[set[int], int]]:
    return []


@pytest.fixture
def commit(inbox: Watched, told: list[tuple[set[int], int]]) -> GroupCommit:
    return GroupCommit(inbox, SystemClock(), lambda lanes, calls: told.append((set(lanes), calls)))


async def stored(inbox: Watched) -> list[str]:
    documents = await inbox._inbox.find().sort("_id", 1).to_list()
    return [entry["key"] for document in documents for entry in document["events"]]


def add(commit: GroupCommit, *events: XEvent) -> asyncio.Future[None]:
    return asyncio.ensure_future(commit.add(list(events), time.monotonic()))


async def test_a_lone_call_waits_for_nobody(commit: GroupCommit, inbox: Watched) -> None:
    async with asyncio.timeout(30):
        await add(commit, event(1))
    assert inbox.inserts == [["dm:100:1"]]
    assert await stored(inbox) == ["dm:100:1"]


async def test_many_concurrent_calls_share_few_inserts(
    commit: GroupCommit, inbox: Watched, told: list[tuple[set[int], int]]
) -> None:
    await asyncio.gather(*(add(commit, event(number, str(number))) for number in range(1000)))

    assert len(inbox.inserts) <= 4
    assert sorted(await stored(inbox)) == sorted(f"dm:100:{number}" for number in range(1000))
    assert sum(calls for _, calls in told) == 1000


async def test_what_arrives_during_an_insert_goes_with_the_next_one(commit: GroupCommit, inbox: Watched) -> None:
    inbox.open.clear()
    calls = [add(commit, event(1)), add(commit, event(2))]
    await asyncio.sleep(0)
    calls += [add(commit, event(number)) for number in range(3, 50)]
    await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    inbox.open.set()
    await asyncio.gather(*calls)

    assert len(inbox.inserts) <= 3
    assert len(await stored(inbox)) == 49


@pytest.mark.parametrize("error", [AutoReconnect("gone"), OverflowError("8-byte ints"), RuntimeError("anything")])
async def test_a_failing_insert_fails_its_callers_and_nobody_else(
    commit: GroupCommit, inbox: Watched, told: list[Any], error: Exception
) -> None:
    inbox.broken.append(error)
    inbox.open.clear()
    unlucky = [add(commit, event(1)), add(commit, event(2))]
    while not inbox.begun:
        await asyncio.sleep(0)
    lucky = [add(commit, event(number)) for number in (3, 4)]
    inbox.open.set()
    async with asyncio.timeout(30):
        failed = await asyncio.gather(*unlucky, return_exceptions=True)
        await asyncio.gather(*lucky)

    assert [type(each) for each in failed] == [Unavailable, Unavailable]
    assert failed[0] is not failed[1]
    assert all(each.retry_after_s for each in failed if isinstance(each, Unavailable))
    assert sorted(await stored(inbox)) == ["dm:100:3", "dm:100:4"]
    assert sum(calls for _, calls in told) == 2
    await add(commit, event(5))


async def test_a_caller_that_has_gone_keeps_nobody_from_being_answered(commit: GroupCommit, inbox: Watched) -> None:
    inbox.open.clear()
    gone, stays = add(commit, event(1)), add(commit, event(2))
    await asyncio.sleep(0)
    gone.cancel()
    inbox.open.set()
    async with asyncio.timeout(30):
        await stays
    assert await stored(inbox) == ["dm:100:1", "dm:100:2"]


async def test_over_the_bound_a_call_is_refused_at_once_and_taken_again_later(
    commit: GroupCommit, inbox: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 5)
    inbox.open.clear()
    waiting: list[asyncio.Future[None]] = []
    refused: Overloaded | None = None
    while refused is None and len(waiting) < 100:
        try:
            waiting.append(add(commit, event(len(waiting))))
        except Overloaded as error:
            refused = error
        await asyncio.sleep(0)
    assert refused is not None
    assert (refused.http_status, bool(refused.retry_after_s)) == (503, True)
    assert len(waiting) >= 5
    inbox.open.set()
    await asyncio.gather(*waiting)
    await add(commit, event(1000))
    assert len(await stored(inbox)) == len(waiting) + 1


async def test_a_sequential_sender_keeps_the_order_of_its_conversation(commit: GroupCommit, inbox: Watched) -> None:
    noise = [asyncio.create_task(_many(commit, f"{3000 + sender}", 5_000_000 + sender * 100)) for sender in range(40)]
    for number in range(25):
        await add(commit, event(number))
    await asyncio.gather(*noise)

    mine = [int(key.rsplit(":", 1)[1]) for key in await stored(inbox) if int(key.rsplit(":", 1)[1]) < 100]
    assert mine == list(range(25))


async def _many(commit: GroupCommit, sender: str, first: int) -> None:
    for number in range(25):
        await add(commit, event(first + number, sender))


async def test_the_order_within_a_call_is_kept(commit: GroupCommit, inbox: Watched) -> None:
    await add(commit, *(event(number) for number in range(300)))
    assert await stored(inbox) == [f"dm:100:{number}" for number in range(300)]


async def test_what_is_too_much_for_one_document_is_stored_in_order(commit: GroupCommit, inbox: Watched) -> None:
    await add(commit, *(event(number, text="x" * 900_000) for number in range(40)))
    found = await stored(inbox)
    # A part that did fit may have been stored by an attempt whose other part did not: twice, but in order.
    assert list(dict.fromkeys(found)) == [f"dm:100:{number}" for number in range(40)]


async def test_one_event_that_can_never_be_stored_fails_its_own_call(commit: GroupCommit, inbox: Watched) -> None:
    inbox.broken.append(DocumentTooLarge("16 MiB"))
    with pytest.raises(Unavailable):
        await add(commit, event(1))
    await add(commit, event(2))


async def test_a_call_without_events_is_answered(commit: GroupCommit, inbox: Watched) -> None:
    async with asyncio.timeout(30):
        await add(commit)
    assert await stored(inbox) == []


async def test_closing_waits_for_all_that_was_added(commit: GroupCommit, inbox: Watched) -> None:
    inbox.open.clear()
    calls = [add(commit, event(number)) for number in range(50)]
    closing = asyncio.create_task(commit.close())
    await asyncio.sleep(0)
    assert not closing.done()
    inbox.open.set()
    async with asyncio.timeout(30):
        await closing
    assert all(call.done() and call.exception() is None for call in calls)
    assert len(await stored(inbox)) == 50
