from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import count
from typing import Any

import pytest

from actors.account import AccountActor
from actors.host_services import Services
from actors.runtime.actor import Actor
from actors.runtime.host import ActorHost
from config.settings import Settings
from domain.partition import host_of, partition_of
from storage.client import Client, Database
from storage.flow_directory import FlowDirectory
from storage.flow_documents import EXECUTOR
from storage.flow_work import FlowWork
from storage.ingest import Ingested
from tests.storage.flow_scenes import active_flow


class Elsewhere:
    """The routes to the other hosts."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def call(self, kind: str, key: str, method: str, args: Any, kwargs: Any, timeout_s: float) -> Awaitable[object]:
        self.calls.append((kind, key, method, args))
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


class Account(Actor):
    kind = "account"
    told: list[tuple[str, list[str]]]

    async def settled(self, message_ids: list[str]) -> None:
        self.told.append((self.key, message_ids))

    async def resume(self) -> None:
        self.told.append((self.key, ["resume"]))


def account_of(host: int) -> str:
    keys = (f"account-{number}" for number in count())
    return next(key for key in keys if host_of(partition_of(AccountActor.kind, key), 2) == host)


@pytest.mark.parametrize("index", [0, 1])
async def test_an_account_is_told_in_the_host_that_owns_it_and_comes_to_life_nowhere_else(
    settings: Settings, index: int
) -> None:
    services: Any = Services(settings, index, hosts=2)
    Account.told = []
    services.host = ActorHost({"account": Account})
    services._elsewhere = elsewhere = Elsewhere()
    mine, theirs = account_of(index), account_of(1 - index)
    await services._react(Ingested(touched_accounts=frozenset({mine, theirs}), settled=(("m1", "x1"),)))
    async with asyncio.timeout(10):
        while not Account.told:
            await asyncio.sleep(0)
    assert Account.told == [(mine, ["m1"])]
    assert elsewhere.calls == [("account", theirs, "settled", (["m1"],))]
    assert len(services.host) == 1
    await services.host.stop(1)


async def test_an_account_with_an_opt_out_to_confirm_is_told_at_once(settings: Settings) -> None:
    services: Any = Services(settings, 0, hosts=1)
    Account.told = []
    services.host = ActorHost({"account": Account})
    await services._react(Ingested(waiting_accounts=frozenset({"account-1"})))
    async with asyncio.timeout(10):
        while not Account.told:
            await asyncio.sleep(0)
    assert Account.told == [("account-1", ["resume"])]
    await services.host.stop(1)


class Taker(Actor):
    kind = EXECUTOR
    told: list[str]

    async def take(self) -> None:
        self.told.append(self.key)


async def test_executors_of_contacts_whose_events_concern_flows_are_told_at_once(settings: Settings) -> None:
    services: Any = Services(settings, 0, hosts=1)
    Taker.told = []
    services.host = ActorHost({EXECUTOR: Taker})
    await services._react(Ingested(flow_contacts=frozenset({"contact-1"})))
    async with asyncio.timeout(10):
        while not Taker.told:
            await asyncio.sleep(0)
    assert Taker.told == ["contact-1"]
    await services.host.stop(1)


async def test_flows_that_start_by_themselves_or_were_being_worked_at_are_followed(
    settings: Settings, client: Client, database: Database
) -> None:
    services: Any = Services(settings, 0, hosts=1)
    assert await services._flows_with_work() == set()
    flow = await active_flow(database, "segment_entered", config={"segmentId": "s"})
    await active_flow(database, "message_received")
    services._flow_work = FlowWork(database)
    services._flows = directory = FlowDirectory(database)
    await directory.read(["m1"])
    await services._flow_work.begin("cancelling", "m1")
    assert await services._flows_with_work() == {flow["_id"], "cancelling"}
