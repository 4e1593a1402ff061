"""The actor of a merchant's limit over a real database: what it grants is written, and survives its host."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.merchant_limit import LimitServices, MerchantLimit
from actors.runtime.errors import Fenced
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from domain.call_limit import LEASE_S, SPAN_S, Answer, CallLease
from domain.clock import ManualClock
from domain.errors import Unavailable
from storage.actor_states import ActorStates
from storage.client import Client, Database
from tests.actors.desk import failing

MERCHANT = "merchant-1"
START = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)


class Hosts:
    """Hosts of the actor, one after the other; the clock stands still."""

    def __init__(self, database: Database, limit: int = 100) -> None:
        self.database = database
        self.limit = limit
        self.clock = ManualClock(START)
        self.epoch = 0

    def start(self) -> MerchantLimit:
        self.epoch += 1
        states = ActorStates(self.database, "merchantLimits")
        services = LimitServices(limit=self.limit, states=states, clock=self.clock, epoch=self.epoch)
        host = ActorHost({MerchantLimit.kind: lambda key: MerchantLimit(key, services)})
        return LocalActors(host).ref(MerchantLimit, MERCHANT, timeout_s=20)

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()

    async def written(self) -> dict[str, Any]:
        found = await self.database["merchantLimits"].find_one({"_id": MERCHANT})
        assert found is not None
        return found


@pytest.fixture
def hosts(database: Database) -> Hosts:
    return Hosts(database)


async def talk(hosts: Hosts, actor: MerchantLimit, lease: CallLease, waiting: int = 1, *, ahead: bool = True) -> Answer:
    ask = lease.ask(hosts.now, waiting=waiting, ahead=ahead)
    answer: Any = await actor.ask(ask)
    lease.take(ask, answer, hosts.now, hosts.now)
    return Answer(*answer)


async def test_a_grant_is_written_before_it_is_answered_and_a_report_is_not_written(hosts: Hosts) -> None:
    actor, lease = hosts.start(), CallLease("a")
    assert (await talk(hosts, actor, lease)).tokens == 25
    first = await hosts.written()
    (holder,) = first["state"]["holders"]
    assert (holder["id"], holder["out"]) == ("a", 25)
    assert lease.spend(hosts.now)
    hosts.clock.set(START + timedelta(seconds=LEASE_S))
    assert (await talk(hosts, actor, lease, 0, ahead=False)).free == 99
    assert lease.is_settled
    assert (await hosts.written())["version"] == first["version"]


async def test_grants_of_the_same_moment_share_writes(hosts: Hosts) -> None:
    actor = hosts.start()
    await talk(hosts, actor, CallLease("first"))
    before = (await hosts.written())["version"]
    answers = await asyncio.gather(*(talk(hosts, actor, CallLease(f"gateway-{n}")) for n in range(8)))
    assert sum(answer.tokens for answer in answers) <= 75
    assert all(answer.tokens for answer in answers)
    assert (await hosts.written())["version"] - before <= 3


async def test_the_next_host_counts_everything_that_may_have_been_spent(hosts: Hosts) -> None:
    gone, lease = CallLease("gone"), CallLease("a")
    actor = hosts.start()
    await talk(hosts, actor, gone, 60)
    await talk(hosts, actor, lease, 10)
    assert all(lease.spend(hosts.now) for _ in range(10))
    actor = hosts.start()
    answer = await talk(hosts, actor, lease, 50)
    assert answer.tokens == 30
    hosts.clock.set(START + timedelta(seconds=SPAN_S + LEASE_S + 0.5))
    assert (await talk(hosts, actor, CallLease("b"), 100)).tokens >= 60


async def test_the_next_host_believes_a_gateway_that_did_not_spend_its_lease(hosts: Hosts) -> None:
    lease = CallLease("a")
    await talk(hosts, hosts.start(), lease, 80)
    hosts.clock.set(START + timedelta(seconds=LEASE_S))
    answer = await talk(hosts, hosts.start(), lease, 100)
    assert answer.tokens == 100


async def test_a_host_that_was_believed_dead_grants_nothing_more(hosts: Hosts) -> None:
    old, lease = hosts.start(), CallLease("a")
    await talk(hosts, old, lease)
    await talk(hosts, hosts.start(), CallLease("b"))
    for _ in range(3):
        with pytest.raises(Fenced):
            await talk(hosts, old, lease)


async def test_without_the_database_nothing_is_granted_and_nothing_is_lost(hosts: Hosts, client: Client) -> None:
    actor, lease = hosts.start(), CallLease("a")
    await talk(hosts, actor, lease, 0, ahead=False)
    async with failing(
        client, ["update"], "alwaysOn", errorCode=8000, namespace=f"{hosts.database.name}.merchantLimits"
    ):
        with pytest.raises(Unavailable):
            await talk(hosts, actor, lease)
    answer = await talk(hosts, actor, lease, 100)
    assert answer.tokens == 100
    (holder,) = (await hosts.written())["state"]["holders"]
    assert holder["out"] == 100


async def test_an_actor_that_can_not_read_its_window_grants_nothing(hosts: Hosts, client: Client) -> None:
    actor = hosts.start()
    namespace = f"{hosts.database.name}.merchantLimits"
    async with failing(client, ["findAndModify"], "alwaysOn", errorCode=8000, namespace=namespace):
        with pytest.raises(Unavailable):
            await talk(hosts, actor, CallLease("a"))
    assert (await talk(hosts, actor, CallLease("a"))).tokens == 25
