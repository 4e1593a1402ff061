from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from config.settings import Settings
from storage.client import Database
from storage.encryption import key_ring
from storage.idempotency import STALE_AFTER, Answered, IdempotencyKeys, Refused, Reserved

NOW = datetime(2026, 1, 18, 10, tzinfo=UTC)


@pytest.fixture
def keys(database: Database, settings: Settings) -> IdempotencyKeys:
    return IdempotencyKeys(database, key_ring(settings))


async def test_of_many_reservations_at_once_one_is_carried_out(keys: IdempotencyKeys) -> None:
    made = await asyncio.gather(*(keys.reserve("m", "key", "hash", f"id-{n}", NOW) for n in range(10)))
    assert sum(isinstance(each, Reserved) for each in made) == 1
    assert sum(each is Refused.IN_PROGRESS for each in made) == 9


async def test_the_first_answer_is_kept_and_no_other(keys: IdempotencyKeys) -> None:
    await keys.reserve("m", "key", "hash", "id", NOW)
    await keys.keep("m", "key", 200, b"first")
    await keys.keep("m", "key", 500, b"second")
    await keys.release("m", "key")
    assert await keys.reserve("m", "key", "hash", "other", NOW) == Answered(200, b"first")
    assert await keys.reserve("m", "key", "other hash", "other", NOW) is Refused.OTHER_REQUEST


async def test_a_reservation_that_went_stale_is_taken_over_once_with_its_id(keys: IdempotencyKeys) -> None:
    await keys.reserve("m", "key", "hash", "first", NOW)
    early = NOW + STALE_AFTER - timedelta(milliseconds=1)
    assert await keys.reserve("m", "key", "hash", "second", early) is Refused.IN_PROGRESS
    late = NOW + STALE_AFTER
    made = await asyncio.gather(*(keys.reserve("m", "key", "hash", "second", late) for _ in range(5)))
    assert made.count(Reserved("first")) == 1
    assert made.count(Refused.IN_PROGRESS) == 4


async def test_a_released_reservation_is_free_at_once_for_the_same_request_only(keys: IdempotencyKeys) -> None:
    await keys.reserve("m", "key", "hash", "first", NOW)
    await keys.release("m", "key")
    assert await keys.reserve("m", "key", "other hash", "second", NOW) is Refused.OTHER_REQUEST
    assert await keys.reserve("m", "key", "hash", "second", NOW) == Reserved("first")


async def test_keys_of_merchants_are_apart(keys: IdempotencyKeys) -> None:
    assert await keys.reserve("m", "key", "hash", "one", NOW) == Reserved("one")
    assert await keys.reserve("n", "key", "hash", "two", NOW) == Reserved("two")


async def test_an_answer_that_holds_a_secret_is_kept_sealed(keys: IdempotencyKeys, database: Database) -> None:
    await keys.reserve("m", "key", "hash", "id", NOW)
    await keys.keep("m", "key", 200, b'{"initialPassword":"planted"}', secret=True)
    assert "planted" not in str(await database["idempotencyKeys"].find_one({}))
    assert await keys.reserve("m", "key", "hash", "other", NOW) == Answered(200, b'{"initialPassword":"planted"}')
