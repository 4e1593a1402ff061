"""Registering webhooks, subscriptions and replay, against a small real receiver."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from sandbox.problems import Refusal
from sandbox.server import running
from sandbox.webhooks import check_url
from sandbox.world import World
from tests.sandbox.shop import Receiver, Shop, make_world, register


async def test_a_webhook_that_answers_the_challenge_is_registered(shop: Shop, receiver: Receiver) -> None:
    created = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    assert created.status == 200
    webhook = created.body["data"]
    assert (webhook["url"], webhook["valid"]) == (receiver.url, True)
    assert receiver.challenges == 1
    listed = await shop.call("GET", "/2/webhooks", app=True)
    assert listed.body == {"data": [webhook], "meta": {"result_count": 1}}
    again = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    assert again.status == 400
    assert again.body["detail"].startswith("DuplicateUrlFailed")
    deleted = await shop.call("DELETE", f"/2/webhooks/{webhook['id']}", app=True)
    assert deleted.body == {"data": {"deleted": True}}
    assert (await shop.call("GET", "/2/webhooks", app=True)).body["data"] == []


async def test_a_wrong_answer_or_none_in_time_is_not_registered(shop: Shop, receiver: Receiver) -> None:
    receiver.secret = "another"
    wrong = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    assert (wrong.status, wrong.body["detail"].split(":")[0]) == (400, "CrcValidationFailed")
    receiver.secret = "consumer-secret"
    receiver.hold.clear()
    slow = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    assert (slow.status, slow.body["detail"].split(":")[0]) == (400, "CrcValidationFailed")
    nobody = await shop.call("POST", "/2/webhooks", {"url": "http://127.0.0.1:9/hook"}, app=True)
    assert nobody.status == 400


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "http://shop.test/hook",
        "https://shop.test:8443/hook",
        "https://shop.test:x/hook",
        "ftp://127.0.0.1/hook",
        "https://shop.test/" + "x" * 190,
    ],
)
def test_addresses_that_x_would_not_take_are_refused(url: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_url(url)
    assert refused.value.status == 400


@pytest.mark.parametrize("url", ["https://shop.test/hook", "http://127.0.0.1:5000/hook", "http://localhost:5000/hook"])
def test_https_without_port_and_loopback_with_one_are_taken(url: str) -> None:
    check_url(url)


async def test_a_webhook_turns_invalid_by_a_wrong_answer_and_valid_again(shop: Shop, receiver: Receiver) -> None:
    webhook_id = await register(shop, receiver)
    receiver.challenge_status = 503
    unreachable = await shop.call("PUT", f"/2/webhooks/{webhook_id}", app=True)
    assert unreachable.body == {"data": {"valid": True}}
    receiver.challenge_status, receiver.secret = 200, "another"
    assert (await shop.call("PUT", f"/2/webhooks/{webhook_id}", app=True)).body == {"data": {"valid": False}}
    await shop.control("POST", "say", {"from": "200", "to": "100", "text": "nobody hears this"})
    assert (await shop.control("GET", "state"))["deliveries"]["held"] == 1
    receiver.secret = "consumer-secret"
    assert (await shop.call("PUT", f"/2/webhooks/{webhook_id}", app=True)).body == {"data": {"valid": True}}
    await shop.control("POST", "say", {"from": "200", "to": "100", "text": "heard"})
    bodies = await receiver.wait_for(1)
    assert bodies[0]["direct_message_events"][0]["message_create"]["message_data"]["text"] == "heard"


async def test_account_activity_subscriptions_are_added_listed_counted_and_removed(
    shop: Shop, receiver: Receiver
) -> None:
    webhook_id = await register(shop, receiver)
    path = f"/2/account_activity/webhooks/{webhook_id}/subscriptions"
    assert (await shop.call("GET", f"{path}/all")).body == {"data": {"subscribed": True}}
    assert (await shop.call("POST", f"{path}/all")).body["detail"].startswith("DuplicateSubscriptionFailed")
    listed = await shop.call("GET", f"{path}/all/list", app=True)
    assert listed.body["data"]["subscriptions"] == [{"user_id": "100"}]
    assert (await shop.call("GET", f"{path}/all/list")).status == 403
    count = await shop.call("GET", "/2/account_activity/subscriptions/count", app=True)
    assert count.body["data"]["subscriptions_count_all"] == "1"
    assert (await shop.call("DELETE", f"{path}/100/all", app=True)).body == {"data": {"subscribed": False}}
    assert (await shop.call("DELETE", f"{path}/100/all", app=True)).status == 404
    assert (await shop.call("GET", f"{path}/all")).body == {"data": {"subscribed": False}}
    assert (await shop.call("POST", "/2/account_activity/webhooks/7/subscriptions/all")).status == 400


@pytest.mark.parametrize("shape", ["nested", "object", "array"])
async def test_activity_subscriptions_come_in_each_documented_shape(shop: Shop, receiver: Receiver, shape: str) -> None:
    await shop.control("POST", "behaviour", {"subscription_shape": shape})
    body = {"event_type": "dm.received", "filter": {"user_id": "100"}, "tag": "gw:100"}
    created = (await shop.call("POST", "/2/activity/subscriptions", body)).body["data"]
    shown = created["subscription"] if shape == "nested" else created[0] if shape == "array" else created
    assert (shown["event_type"], shown["filter"], shown["tag"]) == ("dm.received", {"user_id": "100"}, "gw:100")
    listed = await shop.call("GET", "/2/activity/subscriptions", app=True)
    assert listed.body["data"] == [shown]
    path = f"/2/activity/subscriptions/{shown['subscription_id']}"
    assert (await shop.call("PUT", path, {"tag": "other"}, app=True)).status == 200
    assert (await shop.call("DELETE", path, app=True)).body == {"data": {"deleted": True}}
    assert (await shop.call("DELETE", path, app=True)).status == 404


async def test_activity_subscriptions_to_private_events_need_the_users_token(shop: Shop) -> None:
    body = {"event_type": "dm.received", "filter": {"user_id": "100"}}
    assert (await shop.call("POST", "/2/activity/subscriptions", body, app=True)).status == 403
    other = {"event_type": "dm.received", "filter": {"user_id": "101"}}
    assert (await shop.call("POST", "/2/activity/subscriptions", other)).status == 403
    unknown = {"event_type": "dm.lost", "filter": {"user_id": "100"}}
    assert (await shop.call("POST", "/2/activity/subscriptions", unknown)).status == 400
    public = {"event_type": "post.mention.create", "filter": {"user_id": "100"}}
    assert (await shop.call("POST", "/2/activity/subscriptions", public, app=True)).status == 200
    assert (await shop.call("POST", "/2/activity/subscriptions", public, app=True)).status == 400


async def test_a_replay_sends_again_and_says_when_it_is_done(shop: Shop, receiver: Receiver, world: World) -> None:
    webhook_id = await register(shop, receiver)
    await shop.control("POST", "say", {"from": "200", "to": "100", "text": "missed"})
    await receiver.wait_for(1)
    await world.courier.settled()
    # an hour ago, as far as the record of it says
    world.courier.records[0].created_ms -= 3_600_000
    now = datetime.now(UTC)
    span = {
        "webhook_id": webhook_id,
        "from_date": f"{now - timedelta(hours=2):%Y%m%d%H%M}",
        "to_date": f"{now - timedelta(minutes=11):%Y%m%d%H%M}",
    }
    receiver.answers = [500]
    started = await shop.call("POST", "/2/webhooks/replay", span, app=True)
    assert started.status == 200
    bodies = await receiver.wait_for(3)
    assert bodies[1] == bodies[0]
    assert bodies[2]["replay_job_status"]["job_id"] == started.body["data"]["job_id"]
    assert bodies[2]["replay_job_status"]["job_state"] == "Complete"
    await world.courier.settled()
    assert len(bodies) == 3, "what is replayed is not repeated"
    early = {**span, "from_date": f"{now - timedelta(hours=30):%Y%m%d%H%M}"}
    assert (await shop.call("POST", "/2/webhooks/replay", early, app=True)).status == 400


async def test_webhooks_are_challenged_again_from_time_to_time(http: aiohttp.ClientSession, receiver: Receiver) -> None:
    world = make_world(challenge_every_s=0.01)
    async with running(world) as base:
        shop = Shop(base, http)
        await register(shop, receiver)
        await receiver.wait_until(lambda _: receiver.challenges >= 3)
        assert (await shop.control("GET", "state"))["webhooks"][0]["valid"]
        receiver.secret = "another"
        async with asyncio.timeout(30):
            while (await shop.control("GET", "state"))["webhooks"][0]["valid"]:
                pass
