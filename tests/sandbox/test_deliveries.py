"""How events travel: signatures, repetition, duplicates, echoes, order."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import aiohttp

from sandbox.delivery import RETRY_AFTER_S
from sandbox.server import running
from sandbox.world import World
from tests.sandbox.shop import Receiver, Shop, make_world, register


async def say(shop: Shop, text: str, customer: str = "200") -> str:
    said = await shop.control("POST", "say", {"from": customer, "to": "100", "text": text})
    return str(said["message"]["id"])


async def test_a_customers_message_is_delivered_and_its_answer_recorded(
    shop: Shop, world: World, receiver: Receiver
) -> None:
    webhook_id = await register(shop, receiver)
    message_id = await say(shop, "hi")
    await world.courier.settled()
    assert receiver.bodies[0]["direct_message_events"][0]["id"] == message_id
    listed = await shop.control("GET", f"deliveries?key=message:{message_id}")
    assert listed["total"] == 1
    delivery = listed["deliveries"][0]
    assert (delivery["outcome"], delivery["account_id"], delivery["participant_id"]) == ("acknowledged", "100", "200")
    assert (delivery["webhook_id"], delivery["envelope"], delivery["kind"]) == (webhook_id, "aaa", "message")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [200]


async def test_a_refused_delivery_is_repeated_on_schedule_until_it_is_taken(
    shop: Shop, world: World, receiver: Receiver
) -> None:
    await register(shop, receiver)
    receiver.answers = [503, 404, 201, 200]
    await say(shop, "hi")
    await world.courier.settled()
    record = world.courier.records[0]
    assert [attempt.status for attempt in record.attempts] == [503, 404, 201, 200]
    assert record.outcome == "acknowledged"
    assert all(body == receiver.bodies[0] for body in receiver.bodies)
    gaps = [after.at_ms - before.at_ms for before, after in pairwise(record.attempts)]
    # the schedule at a thousandth: 3, 27 and 242 ms at the least (times are cut to whole milliseconds)
    assert all(gap >= seconds - 1 for gap, seconds in zip(gaps, RETRY_AFTER_S, strict=True))


async def test_a_delivery_that_is_never_taken_is_lost_after_four_attempts(
    shop: Shop, world: World, receiver: Receiver
) -> None:
    await register(shop, receiver)
    receiver.answers = [500] * 4
    await say(shop, "hi")
    await world.courier.settled()
    assert world.courier.records[0].outcome == "lost"
    assert len(receiver.bodies) == 4
    state = await shop.control("GET", "state")
    assert state["deliveries"] == {"total": 1, "pending": 0, "acknowledged": 0, "lost": 1, "held": 0}


async def test_a_webhook_that_does_not_answer_in_time_counts_as_refusing(
    shop: Shop, world: World, receiver: Receiver
) -> None:
    await register(shop, receiver)
    receiver.hold.clear()
    await say(shop, "hi")
    record = world.courier.records[0]
    await asyncio.wait_for(world.courier.attempted(record), 30)
    assert record.attempts[0].status is None
    assert str(record.attempts[0].error).endswith("TimeoutError")
    receiver.hold.set()
    await world.courier.settled()
    assert record.outcome == "acknowledged"


async def test_an_own_send_comes_back_with_the_id_of_its_answer(shop: Shop, world: World, receiver: Receiver) -> None:
    await register(shop, receiver)
    sent = await shop.send("hello from us")
    body = (await receiver.wait_for(1))[0]
    event = body["direct_message_events"][0]
    assert body["for_user_id"] == "100"
    assert event["id"] == sent.body["data"]["dm_event_id"]
    assert event["message_create"]["sender_id"] == "100"
    assert event["message_create"]["target"] == {"recipient_id": "200"}
    assert event["message_create"]["source_app_id"] in body["apps"]


async def test_a_message_from_the_app_of_x_names_no_app(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver)
    await shop.control("POST", "say", {"from": "100", "to": "200", "text": "typed by hand"})
    body = (await receiver.wait_for(1))[0]
    assert "apps" not in body
    assert "source_app_id" not in body["direct_message_events"][0]["message_create"]


async def test_two_subscribed_shops_in_one_conversation_get_one_delivery_each(shop: Shop, receiver: Receiver) -> None:
    webhook_id = await register(shop, receiver)
    await shop.control("POST", "accounts", {"id": "101"})
    other = Shop(shop.base, shop.http, account_id="101")
    await other.call("POST", f"/2/account_activity/webhooks/{webhook_id}/subscriptions/all")
    await shop.send("from shop to shop", to="101")
    bodies = await receiver.wait_for(2)
    assert {body["for_user_id"] for body in bodies} == {"100", "101"}
    assert len({body["direct_message_events"][0]["id"] for body in bodies}) == 1


async def test_duplicates_come_at_the_set_rate(shop: Shop, world: World, receiver: Receiver) -> None:
    await register(shop, receiver)
    await shop.control("POST", "rate", {"duplicates": 1})
    message_id = await say(shop, "hi")
    await world.courier.settled()
    assert [body["direct_message_events"][0]["id"] for body in receiver.bodies] == [message_id] * 2
    await shop.control("POST", "rate", {"duplicates": 0})
    await say(shop, "once")
    await world.courier.settled()
    assert len(receiver.bodies) == 3


async def test_ordered_deliveries_wait_for_the_conversations_last_one(
    shop: Shop, world: World, receiver: Receiver
) -> None:
    await register(shop, receiver)
    await shop.control("POST", "behaviour", {"ordered": True})
    receiver.answers = [500]
    ids = [await say(shop, f"message {number}") for number in range(5)]
    await world.courier.settled()
    assert [body["direct_message_events"][0]["id"] for body in receiver.bodies] == [ids[0], *ids]


async def test_without_order_a_refused_message_is_overtaken(http: aiohttp.ClientSession, receiver: Receiver) -> None:
    # at this scale the refused message is not repeated while the test runs
    world = make_world(time_scale=1000)
    async with running(world) as base:
        shop = Shop(base, http)
        await register(shop, receiver)
        receiver.answers = [500]
        await say(shop, "first")
        await receiver.wait_for(1)
        second = await say(shop, "second")
        bodies = await receiver.wait_for(2)
        assert bodies[1]["direct_message_events"][0]["id"] == second
        assert world.courier.records[0].outcome == "pending"


async def test_a_load_is_delivered_whole_and_measured(shop: Shop, world: World, receiver: Receiver) -> None:
    await register(shop, receiver)
    started = await shop.control("POST", "load", {"count": 200, "rate": 2000, "customers": 20})
    assert started["load"]["count"] == 200
    await receiver.wait_for(200)
    await world.courier.settled()
    progress = (await shop.control("GET", "load"))["load"]
    assert progress["done"]
    assert (progress["sent"], progress["acknowledged"], progress["lost"]) == (200, 200, 0)
    assert 0 < progress["p50_ms"] <= progress["p99_ms"] <= progress["max_ms"]
    senders = {body["direct_message_events"][0]["message_create"]["sender_id"] for body in receiver.bodies}
    assert len(senders) == 20
    ids = {body["direct_message_events"][0]["id"] for body in receiver.bodies}
    assert ids == {message["id"] for message in (await shop.control("GET", "messages"))["messages"]}


async def test_a_load_counts_what_had_to_be_repeated(shop: Shop, world: World, receiver: Receiver) -> None:
    await register(shop, receiver)
    receiver.answers = [503, 503]
    await shop.control("POST", "load", {"count": 10, "rate": 0})
    await receiver.wait_for(12)
    await world.courier.settled()
    progress = (await shop.control("GET", "load"))["load"]
    assert (progress["acknowledged"], progress["lost"]) == (10, 0)
    assert 1 <= progress["retried"] <= 2


async def test_customers_write_at_a_rate_answer_and_stop(shop: Shop, world: World, receiver: Receiver) -> None:
    await register(shop, receiver)
    await shop.control("POST", "rate", {"rate": 500})
    await receiver.wait_for(5)
    await shop.control("POST", "rate", {"rate": 0})
    written = (await shop.control("GET", "state"))["written_by_customers"]
    assert written >= 5
    await world.courier.settled()
    world.customers.manner.answer_after_s = (0.0, 0.01)
    await shop.control("POST", "rate", {"answers": 1})
    before = len(receiver.bodies)
    await shop.send("May I help?")
    bodies = (await receiver.wait_for(before + 4))[before:]
    families = {next(name for name in body if name.endswith("_events")) for body in bodies}
    assert families == {
        "direct_message_events",
        "direct_message_indicate_typing_events",
        "direct_message_mark_read_events",
    }
    assert (await shop.control("GET", "state"))["written_by_customers"] == written


async def test_the_same_seed_writes_the_same_messages() -> None:
    def texts(seed: int) -> list[str]:
        world = make_world(seed=seed)
        world.subscriptions.subscribe("1", "100")
        return [written.text for _ in range(20) if (written := world.customers.write())]

    assert len(texts(7)) == 20
    assert texts(7) == texts(7)
    assert texts(7) != texts(8)
