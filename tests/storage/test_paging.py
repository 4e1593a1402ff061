from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import OperationFailure

import storage.paging
from storage.client import Database
from storage.paging import LargeTotals


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def totals(now: Now, monkeypatch: pytest.MonkeyPatch) -> LargeTotals:
    monkeypatch.setattr(storage.paging, "COUNTED_ALWAYS", 5)
    return LargeTotals(now)


async def grow(database: Database, count: int, kind: str = "a") -> None:
    await database["things"].insert_many([{"kind": kind} for _ in range(count)])


async def test_a_small_total_is_always_true(database: Database, totals: LargeTotals) -> None:
    for expected in range(1, 6):
        await grow(database, 1)
        assert await totals.of(database["things"], {"kind": "a"}, None) == expected


async def test_a_large_total_holds_for_half_a_minute(database: Database, totals: LargeTotals, now: Now) -> None:
    await grow(database, 6)
    assert await totals.of(database["things"], {"kind": "a"}, None) == 6
    await grow(database, 1)
    now.seconds = 29.9
    assert await totals.of(database["things"], {"kind": "a"}, None) == 6
    now.seconds = 30.0
    assert await totals.of(database["things"], {"kind": "a"}, None) == 7


async def test_a_list_that_became_small_is_counted_again(database: Database, totals: LargeTotals) -> None:
    await grow(database, 6)
    assert await totals.of(database["things"], {"kind": "a"}, None) == 6
    await database["things"].delete_one({"kind": "a"})
    assert await totals.of(database["things"], {"kind": "a"}, None) == 5
    await grow(database, 2)
    assert await totals.of(database["things"], {"kind": "a"}, None) == 7


async def test_each_query_has_a_total_of_its_own(database: Database, totals: LargeTotals) -> None:
    await grow(database, 6)
    await grow(database, 8, "b")
    assert await totals.of(database["things"], {"kind": "a"}, None) == 6
    assert await totals.of(database["things"], {"kind": "b"}, None) == 8
    assert await totals.of(database["others"], {"kind": "b"}, None) == 0


async def test_who_asks_meanwhile_gets_the_same_total_also_when_the_first_is_gone(
    database: Database, totals: LargeTotals, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grow(database, 6)
    counted, counting, go_on = storage.paging._count, asyncio.Event(), asyncio.Event()

    async def waiting(*arguments: Any) -> int:
        if len(arguments) == 3:
            counting.set()
            await go_on.wait()
        return await counted(*arguments)

    monkeypatch.setattr(storage.paging, "_count", waiting)
    first = asyncio.create_task(totals.of(database["things"], {"kind": "a"}, None))
    await counting.wait()
    others = [asyncio.create_task(totals.of(database["things"], {"kind": "a"}, None)) for _ in range(4)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    assert await asyncio.gather(*others) == [6, 6, 6, 6]


async def test_a_count_that_failed_is_made_again(
    database: Database, totals: LargeTotals, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grow(database, 6)
    counted = storage.paging._count

    async def broken(*arguments: Any) -> int:
        if len(arguments) == 3:
            raise OperationFailure("too slow")
        return await counted(*arguments)

    monkeypatch.setattr(storage.paging, "_count", broken)
    with pytest.raises(OperationFailure):
        await totals.of(database["things"], {"kind": "a"}, None)
    monkeypatch.setattr(storage.paging, "_count", counted)
    assert await totals.of(database["things"], {"kind": "a"}, None) == 6


async def test_only_so_many_totals_are_kept(
    database: Database, totals: LargeTotals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.paging, "_MOST_TOTALS", 1)
    await grow(database, 6)
    await grow(database, 8, "b")
    await totals.of(database["things"], {"kind": "a"}, None)
    await totals.of(database["things"], {"kind": "b"}, None)
    await grow(database, 1)
    await grow(database, 1, "b")
    assert await totals.of(database["things"], {"kind": "b"}, None) == 8
    assert await totals.of(database["things"], {"kind": "a"}, None) == 7
