from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import new_id
from storage.actor_states import ActorStates, StaleActor
from storage.client import Database
from storage.epochs import next_epoch


@pytest.fixture
def states(database: Database) -> ActorStates:
    return ActorStates(database, "accountActors")


async def test_a_state_that_is_new_is_empty_and_one_that_was_saved_comes_back(states: ActorStates) -> None:
    version, state = await states.claim("a", 1)
    assert (version, state) == (1, {})
    version = await states.save("a", 1, version, {"used": 3})
    assert await states.save("a", 1, version, {"used": 4}) == version + 1
    _, state = await states.claim("a", 2)
    assert state == {"used": 4}


async def test_a_stale_epoch_can_neither_write_nor_claim(states: ActorStates) -> None:
    version, _ = await states.claim("a", 1)
    await states.claim("a", 2)
    for stale_version in (version, version + 1):
        with pytest.raises(StaleActor):
            await states.save("a", 1, stale_version, {"used": 9})
    with pytest.raises(StaleActor):
        await states.claim("a", 1)
    assert (await states.claim("a", 2))[1] == {}


async def test_a_stale_version_of_the_same_epoch_can_not_write(states: ActorStates) -> None:
    version, _ = await states.claim("a", 1)
    newer = await states.save("a", 1, version, {"used": 1})
    with pytest.raises(StaleActor):
        await states.save("a", 1, version, {"used": 2})
    again, _ = await states.claim("a", 1)
    with pytest.raises(StaleActor):
        await states.save("a", 1, newer, {"used": 3})
    assert await states.save("a", 1, again, {"used": 4})


async def test_keys_and_collections_are_apart(states: ActorStates, database: Database) -> None:
    await states.claim("a", 5)
    assert (await states.claim("b", 1))[0] == 1
    assert (await ActorStates(database, "otherActors").claim("a", 1))[0] == 1


async def test_of_two_first_claims_at_once_the_later_epoch_wins(states: ActorStates) -> None:
    for number in range(10):
        key = f"k{number}"
        outcomes = await asyncio.gather(*(states.claim(key, epoch) for epoch in (1, 2)), return_exceptions=True)
        # Two inserts at the same moment may also end with one of them told to try again.
        assert sum(isinstance(outcome, tuple) for outcome in outcomes) >= 1
        version, _ = await states.claim(key, 2)
        assert await states.save(key, 2, version, {}) == version + 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["claim", "save"])), max_size=12))
async def test_only_the_latest_claim_can_write(states: ActorStates, steps: list[tuple[int, str]]) -> None:
    key, held, owner, highest = new_id(), {}, 0, 0
    for epoch, step in steps:
        if step == "claim":
            if epoch < highest:
                with pytest.raises(StaleActor):
                    await states.claim(key, epoch)
            else:
                held[epoch] = (await states.claim(key, epoch))[0]
                owner = highest = epoch
        elif epoch in held:
            if epoch == owner:
                held[epoch] = await states.save(key, epoch, held[epoch], {"by": epoch})
            else:
                with pytest.raises(StaleActor):
                    await states.save(key, epoch, held[epoch], {"by": epoch})


async def test_every_start_takes_a_higher_epoch(database: Database) -> None:
    first = await next_epoch(database)
    epochs = await asyncio.gather(*(next_epoch(database) for _ in range(10)))
    assert sorted(epochs) == list(range(first + 1, first + 11))
