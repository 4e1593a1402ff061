from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import structlog
from aiohttp import web
from prometheus_client import REGISTRY

from actors.clients.safe_fetch import SafeFetch
from actors.webhook_endpoint import WebhookEndpointActor
from actors.webhook_events import TEST
from config.settings import Settings
from domain.ids import new_id
from domain.webhook_attempts import MOST_ATTEMPTS, PAUSES
from storage.client import Database
from storage.webhook_deliveries import DeliveryDocument, new_delivery
from tests.actors.webhook_stage import MORNING, WebhookStage
from tests.standard_webhooks import WrongSignature, verified


@pytest.fixture
async def stage(database: Database, settings: Settings) -> AsyncIterator[WebhookStage]:
    stage = WebhookStage(database, settings)
    yield stage
    await stage.stop()


async def due(stage: WebhookStage, endpoint_id: str, count: int = 1, **fields: Any) -> list[str]:
    """Have test events due for an endpoint; returns their ids."""
    now = stage.clock.now()
    made: list[DeliveryDocument] = [
        {**new_delivery("m1", endpoint_id, new_id(), TEST, now, now), **fields}  # type: ignore[typeddict-item]
        for _ in range(count)
    ]
    await stage.deliveries.add(made)
    return [each["eventId"] for each in made]


def outcome(name: str) -> float:
    return REGISTRY.get_sample_value("mktx_outgoing_webhooks_total", {"outcome": name}) or 0.0


async def test_what_is_due_is_posted_signed_and_over_with_2xx(stage: WebhookStage) -> None:
    receiver = await stage.receiver(204)
    endpoint_id, secret = await stage.endpoint(receiver.url)
    before = outcome("delivered")
    await stage.start()
    (event_id,) = await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.ends(endpoint_id, "delivered")
    (received,) = receiver.received
    assert stage.check(secret, received) == received.id == event_id
    assert received.headers["content-type"] == "application/json"
    assert received.payload == {
        "type": "webhook.test",
        "timestamp": "2026-11-02T08:00:00.000Z",
        "data": {"endpointId": endpoint_id},
    }
    delivery = await stage.delivery(endpoint_id)
    assert (delivery["attempts"], delivery["dueAt"], delivery["endedAt"]) == (1, None, MORNING)
    assert (delivery["lastAttempt"]["status"], delivery["lastAttempt"]["answer"]) == (204, None)
    assert outcome("delivered") == before + 1


async def test_no_secret_is_kept_in_the_clear(stage: WebhookStage) -> None:
    endpoint_id, secret = await stage.endpoint("http://127.0.0.1:1/hooks")
    assert secret.removeprefix("whsec_") not in str(await stage.state(endpoint_id))


async def test_while_a_secret_is_replaced_both_prove_what_is_sent(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, former = await stage.endpoint(receiver.url)
    rotated = await stage.endpoints.rotate("m1", endpoint_id, timedelta(hours=1), stage.clock.now())
    assert rotated is not None
    present = rotated[1]
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 1)
    assert receiver.received[0].headers["webhook-signature"].count("v1,") == 2
    for secret in (present, former):
        stage.check(secret, receiver.received[0])

    await stage.forward(hours=1)
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 2)
    stage.check(present, receiver.received[1])
    with pytest.raises(WrongSignature):
        stage.check(former, receiver.received[1])


async def test_a_secret_in_wrong_hands_ends_at_once(stage: WebhookStage) -> None:
    endpoint_id, _ = await stage.endpoint("http://127.0.0.1:1/hooks")
    rotated = await stage.endpoints.rotate("m1", endpoint_id, timedelta(), stage.clock.now())
    assert rotated is not None
    endpoint, present = rotated
    assert stage.endpoints.secrets_of(endpoint, stage.clock.now()) == [present]


async def test_failures_are_tried_again_by_the_schedule_until_it_is_used_up(stage: WebhookStage) -> None:
    receiver = await stage.receiver(500)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    for attempt, pause in enumerate(PAUSES, start=1):
        delivery = await stage.tried(endpoint_id, attempt)
        assert delivery["status"] == "pending"
        assert pause <= delivery["dueAt"] - stage.clock.now() <= pause * 1.1 + timedelta(milliseconds=1)
        stage.clock.set(delivery["dueAt"] - timedelta(seconds=4))
        await stage.forward(seconds=0)
        await stage.rests(endpoint_id)
        assert len(receiver.received) == attempt
        await stage.forward(seconds=4)
    delivery = await stage.tried(endpoint_id, MOST_ATTEMPTS)
    assert (delivery["status"], delivery["reason"]) == ("failed", "attempts_used_up")
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == MOST_ATTEMPTS
    # 75.6 hours and no other event: the endpoint has not failed for five days.
    assert (await stage.state(endpoint_id))["status"] == "active"


async def test_each_try_has_a_timestamp_of_its_own(stage: WebhookStage) -> None:
    receiver = await stage.receiver(500, 200)
    endpoint_id, secret = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.tried(endpoint_id, 1)
    first_at = stage.clock.now()
    await stage.forward(hours=1)
    await stage.ends(endpoint_id, "delivered")
    first, second = receiver.received
    assert verified(secret, first.headers, first.body, first_at) == stage.check(secret, second)
    with pytest.raises(WrongSignature):
        stage.check(secret, first)


async def test_after_five_days_of_nothing_but_failures_an_endpoint_is_disabled_and_says_so(stage: WebhookStage) -> None:
    receiver = await stage.receiver(500)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.tried(endpoint_id, 1)
    assert (await stage.state(endpoint_id))["failingSince"] == MORNING
    stage.clock.set(MORNING + timedelta(days=5))
    await due(stage, endpoint_id)
    waiting = await due(stage, endpoint_id, 3, dueAt=stage.clock.now() + timedelta(hours=1))
    await stage.actor(endpoint_id).handle()

    async def is_disabled() -> bool:
        return (await stage.state(endpoint_id))["status"] == "disabled"

    await stage.until(is_disabled)
    assert (await stage.state(endpoint_id))["statusReason"] == "failing"
    await stage.ends(endpoint_id, "failed", 5)
    assert not {*waiting} & {*receiver.ids}
    reasons = {each["reason"] async for each in stage.database["webhookDeliveries"].find({})}
    assert reasons == {"endpoint_disabled"}


async def test_one_success_is_enough_to_go_on(stage: WebhookStage) -> None:
    receiver = await stage.receiver(500, 200, 500)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.tried(endpoint_id, 1)
    await stage.forward(days=4)
    await stage.ends(endpoint_id, "delivered")

    async def is_well() -> bool:
        return (await stage.state(endpoint_id))["failingSince"] is None

    await stage.until(is_well)
    await stage.forward(days=2)
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 3)
    await stage.rests(endpoint_id)
    state = await stage.state(endpoint_id)
    assert (state["status"], state["failingSince"]) == ("active", stage.clock.now())


async def test_410_disables_at_once_and_nothing_more_is_sent(stage: WebhookStage) -> None:
    receiver = await stage.receiver(410)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start(outgoing_webhooks_at_once=1)
    await due(stage, endpoint_id, 5)
    await stage.actor(endpoint_id).handle()
    await stage.ends(endpoint_id, "failed", 5)
    state = await stage.state(endpoint_id)
    assert (state["status"], state["statusReason"]) == ("disabled", "gone")
    assert len(receiver.received) == 1
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.ends(endpoint_id, "failed", 6)
    assert len(receiver.received) == 1


async def test_what_is_under_way_when_an_endpoint_is_disabled_keeps_its_own_outcome(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    receiver.hold = asyncio.Event()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start(outgoing_webhooks_at_once=1)
    await due(stage, endpoint_id, 3)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 1)
    await stage.endpoints.change("m1", endpoint_id, {"status": "disabled"}, stage.clock.now())
    await stage.actor(endpoint_id).changed()
    receiver.hold.set()
    await stage.ends(endpoint_id, "delivered", 1)
    await stage.ends(endpoint_id, "failed", 2)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_a_pause_gets_it_for_everything(stage: WebhookStage, status: int) -> None:
    receiver = await stage.receiver(web.Response(status=status, headers={"Retry-After": "120"}), 200)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start(outgoing_webhooks_at_once=1)
    await due(stage, endpoint_id, 3)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 1)
    await stage.rests(endpoint_id)
    stage.hosts[-1]._idle_s = 0
    stage.hosts[-1].sweep()
    await stage.forward(seconds=100)
    await stage.actor(endpoint_id).handle()
    await stage.rests(endpoint_id)
    assert len(receiver.received) == 1
    await stage.forward(seconds=20)
    await stage.ends(endpoint_id, "delivered", 3)


async def test_retry_after_of_other_answers_puts_nobody_off(stage: WebhookStage) -> None:
    receiver = await stage.receiver(web.Response(status=500, headers={"Retry-After": "3600"}), 200)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.tried(endpoint_id, 1)
    await stage.forward(seconds=6)
    await stage.ends(endpoint_id, "delivered")


async def test_no_more_than_allowed_are_under_way_at_once(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    receiver.hold = asyncio.Event()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start(outgoing_webhooks_at_once=3)
    event_ids = await due(stage, endpoint_id, 120)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 3)
    for _ in range(3):
        await stage.actor(endpoint_id).handle()
    assert receiver.under_way == 3
    receiver.hold.set()
    await stage.ends(endpoint_id, "delivered", 120)
    assert receiver.most_under_way == 3
    assert sorted(receiver.ids) == sorted(event_ids)


async def test_a_slow_receiver_holds_up_nobody_else(stage: WebhookStage) -> None:
    slow, quick = await stage.receiver(), await stage.receiver()
    slow.hold = asyncio.Event()
    slow_id, _ = await stage.endpoint(slow.url)
    quick_id, _ = await stage.endpoint(quick.url)
    await stage.start()
    await due(stage, slow_id, 20)
    await due(stage, quick_id, 20)
    await stage.actor(slow_id).handle()
    await stage.has(slow, 8)
    await stage.actor(quick_id).handle()
    await stage.ends(quick_id, "delivered", 20)
    assert len(slow.received) == 8
    slow.hold.set()
    await stage.ends(slow_id, "delivered", 20)


async def test_a_receiver_that_does_not_answer_in_time_is_tried_again(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    receiver.hold = asyncio.Event()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start(outgoing_webhook_timeout_s=0.2)
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    delivery = await stage.tried(endpoint_id, 1)
    assert delivery["status"] == "pending"
    assert (delivery["lastAttempt"]["status"], delivery["lastAttempt"]["error"]) == (None, "did not answer in time")
    receiver.hold.set()


async def test_redirects_are_not_followed(stage: WebhookStage) -> None:
    elsewhere = await stage.receiver()
    receiver = await stage.receiver(web.Response(status=307, headers={"Location": elsewhere.url}))
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    delivery = await stage.tried(endpoint_id, 1)
    assert (delivery["status"], delivery["lastAttempt"]["status"]) == ("pending", 307)
    assert elsewhere.received == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_private_and_plain_addresses_are_not_called_whatever_is_stored(stage: WebhookStage, scheme: str) -> None:
    receiver = await stage.receiver()

    async def rebound(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    stage.fetch = SafeFetch(resolve=rebound)
    host = "shop.example.com" if scheme == "https" else "127.0.0.1"
    endpoint_id, _ = await stage.endpoint(f"{scheme}://{host}/hooks")
    await stage.start(fetch_private_addresses=False)
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    delivery = await stage.tried(endpoint_id, 1)
    expected = "must lead to a public address"
    assert (delivery["status"], delivery["lastAttempt"]["error"]) == ("pending", expected)
    assert receiver.received == []


async def test_plain_http_is_not_called_for_real(stage: WebhookStage) -> None:
    endpoint_id, _ = await stage.endpoint("http://shop.example.com/hooks")
    await stage.start(fetch_private_addresses=False)
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    assert (await stage.tried(endpoint_id, 1))["lastAttempt"]["error"] == "must be an https address"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"wrong signature", "wrong signature"),
        (b"x" * 5000, "x" * 1024),
        ("ä".encode() * 5000, "ä" * 512),
        (b"\xff\xfe" * 2000, "\ufffd" * 341),
        (b"", ""),
    ],
)
async def test_no_more_than_a_kilobyte_of_a_failures_answer_is_kept(
    stage: WebhookStage, body: bytes, kept: str
) -> None:
    receiver = await stage.receiver(web.Response(status=400, body=body))
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    attempt = (await stage.tried(endpoint_id, 1))["lastAttempt"]
    assert (attempt["status"], attempt["answer"]) == (400, kept)
    assert len(attempt["answer"].encode()) <= 1024


async def test_what_an_answer_says_is_not_logged(stage: WebhookStage) -> None:
    receiver = await stage.receiver(web.Response(status=410, body=b"a customer's words"))
    endpoint_id, secret = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    with structlog.testing.capture_logs() as logged:
        await stage.actor(endpoint_id).handle()
        await stage.ends(endpoint_id, "failed")
    assert "outgoing_webhook.disabled" in {each["event"] for each in logged}
    assert "a customer's words" not in str(logged)
    assert secret not in str(logged)


async def test_who_dies_between_delivery_and_note_leaves_a_repetition_with_the_same_id(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    receiver.hold = asyncio.Event()
    endpoint_id, secret = await stage.endpoint(receiver.url)
    await stage.start()
    (event_id,) = await due(stage, endpoint_id)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 1)
    await stage.kill()
    receiver.hold = None
    assert await stage.deliveries.waiting(stage.clock.now()) == [endpoint_id]
    await stage.start()
    await stage.actor(endpoint_id).handle()
    await stage.ends(endpoint_id, "delivered")
    assert receiver.ids == [event_id, event_id]
    assert {stage.check(secret, each) for each in receiver.received} == {event_id}
    assert await stage.deliveries.waiting(stage.clock.now()) == []


async def test_a_host_that_stops_waits_for_what_is_under_way(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    receiver.hold = asyncio.Event()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start(outgoing_webhooks_at_once=1)
    await due(stage, endpoint_id, 2)
    await stage.actor(endpoint_id).handle()
    await stage.has(receiver, 1)
    stopping = asyncio.create_task(stage.hosts.pop().stop(20))
    receiver.hold.set()
    await stopping
    await stage.ends(endpoint_id, "delivered", 1)
    assert len(receiver.received) == 1
    assert await stage.deliveries.pending(10, endpoint_id) == 1


async def test_what_is_gone_by_the_time_is_sent_to_nobody(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    erased = await stage.message(status="erased")
    other_merchants = await stage.message(merchant="m2")
    for message_id in (new_id(), erased, other_merchants):
        await due(stage, endpoint_id, subject={"collection": "messages", "id": message_id}, type="message.created")
    await due(stage, endpoint_id, subject={"collection": "no longer told", "id": "1"}, type="thing.created")
    await stage.actor(endpoint_id).handle()
    await stage.ends(endpoint_id, "skipped", 4)
    assert receiver.received == []


async def test_a_deleted_endpoint_is_told_nothing(stage: WebhookStage) -> None:
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id, 2)
    assert await stage.endpoints.remove("m1", endpoint_id, stage.clock.now())
    await stage.actor(endpoint_id).changed()
    await stage.ends(endpoint_id, "failed", 2)
    assert receiver.received == []
    assert (await stage.state(endpoint_id))["secrets"] == []


async def test_an_endpoint_that_fails_with_too_much_waiting_is_disabled(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.webhook_endpoint._MOST_PENDING", 20)
    receiver = await stage.receiver(500)
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id, 30)
    await stage.actor(endpoint_id).handle()
    await stage.ends(endpoint_id, "failed", 30)
    assert (await stage.state(endpoint_id))["statusReason"] == "backlog"


@asynccontextmanager
async def a_note_refused(stage: WebhookStage) -> AsyncIterator[None]:
    """Have the database refuse once to write what became of a delivery."""
    admin = stage.database.client.admin
    data = {"failCommands": ["update"], "errorCode": 1, "namespace": f"{stage.database.name}.webhookDeliveries"}
    await admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=data)
    try:
        yield
    finally:
        await admin.command("configureFailPoint", "failCommand", mode="off")


async def test_what_could_not_be_noted_is_sent_again_under_the_same_id(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.webhook_endpoint._RETRY_S", 0.05)
    receiver = await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    await stage.start()
    await due(stage, endpoint_id)
    async with a_note_refused(stage):
        await stage.actor(endpoint_id).handle()
        await stage.ends(endpoint_id, "delivered")
    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1


async def test_nobody_is_sent_anything_in_a_hurry_that_can_not_be_noted(
    stage: WebhookStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.webhook_endpoint._RETRY_S", 3600.0)
    receiver, other = await stage.receiver(), await stage.receiver()
    endpoint_id, _ = await stage.endpoint(receiver.url)
    other_id, _ = await stage.endpoint(other.url)
    await stage.start()
    await due(stage, endpoint_id)
    async with a_note_refused(stage):
        await stage.actor(endpoint_id).handle()
        await stage.has(receiver, 1)

        async def is_refused() -> bool:
            actor: Any = stage.hosts[-1]._activations[(WebhookEndpointActor.kind, endpoint_id)].actor
            return not actor._sending

        await stage.until(is_refused)
    await due(stage, other_id, 20)
    await stage.actor(endpoint_id).handle()
    await stage.actor(other_id).handle()
    await stage.ends(other_id, "delivered", 20)
    assert len(receiver.received) == 1
