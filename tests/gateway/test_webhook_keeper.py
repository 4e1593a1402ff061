"""The keeper against the simulated X, which challenges the real webhook over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from actors.clients.x_app import XApp
from config.settings import Settings
from domain.clock import SystemClock
from domain.x_signature import crc_answer
from gateway import webhook_keeper as module
from gateway.webhook_keeper import WebhookKeeper
from gateway.webhooks import PATH
from sandbox.server import running
from sandbox.webhooks import Webhook
from sandbox.world import World
from tests.gateway.conftest import eventually
from tests.sandbox.shop import BEARER, SECRET, make_world
from tests.serving import serving


@dataclass
class Address:
    """Where X finds the webhook."""

    url: str = ""
    secret: str = SECRET
    challenges: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.challenges += 1
        return web.json_response({"response_token": crc_answer(self.secret.encode(), request.query["crc_token"])})


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    address = Address()
    async with serving(web.get(PATH, address.answer)) as address.url:
        yield address


@pytest.fixture
def world() -> World:
    return make_world()


Make = Callable[..., WebhookKeeper]


@pytest.fixture
async def make(
    world: World, address: Address, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    """Return what makes a started keeper; every one is stopped afterwards."""
    monkeypatch.setattr(module, "_RETRY_S", 0.02)
    monkeypatch.setattr(module, "_INVALID_RETRY_S", 0.02)
    keepers: list[WebhookKeeper] = []
    async with running(world) as base, aiohttp.ClientSession() as session:

        def started(*, registers: bool = True, **changes: object) -> WebhookKeeper:
            own = settings.model_copy(
                update={
                    "x_api_base_url": base,
                    "x_bearer_token": SecretStr(BEARER),
                    "public_url": address.url,
                    "x_webhook_check_s": 0.02,
                    **changes,
                }
            )
            keeper = WebhookKeeper(own, XApp(own, session, SystemClock()), registers=registers)
            keeper.start()
            keepers.append(keeper)
            return keeper

        yield started
        for keeper in keepers:
            await keeper.stop()


def requests(world: World, what: str) -> int:
    return sum(count for name, count in world.requests.items() if name.startswith(what))


async def checks(world: World, more: int = 3) -> None:
    """Wait until the keeper has looked so many times again."""
    before = requests(world, "GET /2/webhooks")
    await eventually(lambda: requests(world, "GET /2/webhooks") >= before + more)


def existing(world: World, webhook_id: str, url: str, *, valid: bool = True) -> Webhook:
    webhook = Webhook(webhook_id, url, valid=valid, created_ms=world.now_ms(), validated_ms=world.now_ms())
    world.webhooks[webhook_id] = webhook
    return webhook


async def test_the_webhook_is_registered_once_and_found_from_then_on(
    make: Make, world: World, address: Address
) -> None:
    keeper = make()
    await eventually(lambda: bool(keeper.webhook_id))
    await checks(world)

    [webhook] = world.webhooks.values()
    assert (webhook.id, webhook.url, webhook.valid) == (keeper.webhook_id, address.url + PATH, True)
    assert address.challenges == 1
    assert module.VALID._value.get() == 1


async def test_an_existing_webhook_is_found_after_a_restart(make: Make, world: World, address: Address) -> None:
    existing(world, "4711", address.url + PATH)
    keeper = make()
    await eventually(lambda: keeper.webhook_id == "4711")
    await checks(world)

    assert list(world.webhooks) == ["4711"]
    assert address.challenges == 0


async def test_the_webhook_that_is_set_is_taken_whatever_its_address(make: Make, world: World) -> None:
    existing(world, "4711", "https://shop.example/elsewhere")
    keeper = make(x_webhook_id="4711")
    await checks(world)

    assert keeper.webhook_id == "4711"
    assert list(world.webhooks) == ["4711"]


async def test_an_invalid_webhook_is_validated_again_and_known_at_once(
    make: Make, world: World, address: Address
) -> None:
    webhook = existing(world, "4711", address.url + PATH, valid=False)
    keeper = make(x_webhook_check_s=3600)
    await eventually(lambda: webhook.valid)

    # With the next check in an hour, accounts that are connected meanwhile need the id.
    await eventually(lambda: keeper.webhook_id == "4711")
    assert (address.challenges, list(world.webhooks)) == (1, ["4711"])
    await eventually(lambda: module.VALID._value.get() == 1)


async def test_a_webhook_that_stays_invalid_is_tried_again_before_the_next_check(
    make: Make, world: World, address: Address
) -> None:
    webhook = existing(world, "4711", address.url + PATH, valid=False)
    address.secret = "another"
    make(x_webhook_check_s=3600)
    await eventually(lambda: address.challenges >= 2)
    assert module.VALID._value.get() == 0
    address.secret = SECRET
    await eventually(lambda: webhook.valid)
    await eventually(lambda: module.VALID._value.get() == 1)


async def test_webhooks_of_others_are_never_touched(make: Make, world: World, address: Address) -> None:
    other = existing(world, "1", "https://other.example/hook", valid=False)
    near = existing(world, "2", address.url + "/other" + PATH, valid=False)
    world.behaviour.webhook_limit = 10
    keeper = make()
    await eventually(lambda: bool(keeper.webhook_id))
    await checks(world)

    assert keeper.webhook_id not in {"1", "2"}
    assert {"1", "2"} < set(world.webhooks)
    assert (other.valid, near.valid) == (False, False)
    assert not requests(world, "DELETE")
    assert not requests(world, "PUT")


@pytest.mark.parametrize("kind", ["drop", "reset", "error"])
async def test_it_is_tried_again_when_x_fails(make: Make, world: World, kind: str) -> None:
    fault = world.faults.order({"kind": kind, "match": "/2/webhooks", "count": 3, "error": "InternalServerError"})
    keeper = make(x_webhook_check_s=3600)
    await eventually(lambda: bool(keeper.webhook_id))

    assert fault.fired == 3
    assert list(world.webhooks) == [keeper.webhook_id]


async def test_a_registration_whose_answer_is_lost_is_not_made_twice(make: Make, world: World) -> None:
    world.faults.order({"kind": "accept_then_drop", "match": {"path": "/2/webhooks", "method": "POST"}})
    world.behaviour.webhook_limit = 10
    keeper = make(x_webhook_check_s=3600)
    await eventually(lambda: bool(keeper.webhook_id))
    assert list(world.webhooks) == [keeper.webhook_id]


async def test_a_refused_challenge_is_tried_again(make: Make, world: World, address: Address) -> None:
    address.secret = "another"
    keeper = make()
    await eventually(lambda: address.challenges >= 2)
    assert (keeper.webhook_id, dict(world.webhooks)) == ("", {})
    address.secret = SECRET
    await eventually(lambda: bool(keeper.webhook_id))


async def test_of_several_gateways_one_registers_and_all_learn_the_id(make: Make, world: World) -> None:
    follower = make(registers=False)
    await checks(world)
    assert not world.webhooks
    leader = make()
    await eventually(lambda: bool(leader.webhook_id) and follower.webhook_id == leader.webhook_id)
    assert len(world.webhooks) == 1


async def test_a_deleted_webhook_is_registered_anew(make: Make, world: World) -> None:
    keeper = make()
    await eventually(lambda: bool(keeper.webhook_id))
    first = keeper.webhook_id
    world.webhooks.clear()
    await eventually(lambda: bool(world.webhooks))
    await eventually(lambda: keeper.webhook_id != first)
    assert list(world.webhooks) == [keeper.webhook_id]


async def test_without_a_public_address_x_is_left_alone(make: Make, world: World) -> None:
    keeper = make(public_url="")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not world.requests
    await keeper.stop()
