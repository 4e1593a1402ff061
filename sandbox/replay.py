"""Sending a webhook again what it was sent in a span of time, then telling it that the job is done."""

from __future__ import annotations

from dataclasses import replace

from sandbox import aaa
from sandbox.body import dump
from sandbox.delivery import make
from sandbox.events import Event, Kind
from sandbox.webhooks import Webhook
from sandbox.world import APP, World


async def replay(world: World, webhook: Webhook, job_id: str, since_ms: int, until_ms: int) -> None:
    """Deliver again, once each and without repetition, what is still kept; the webhook's status message comes last."""
    chosen = [
        (delivery, body)
        for delivery, body in world.courier.replayable
        if delivery.webhook_id == webhook.id and since_ms <= delivery.created_ms < until_ms and delivery.repeatable
    ]
    again = [
        replace(
            delivery,
            body=body,
            repeatable=False,
            outcome="pending",
            attempts=[],
            settled_ms=None,
            attempted=None,
            on_settled=None,
        )
        for delivery, body in chosen
    ]
    try:
        for delivery in again:
            world.courier.submit(delivery)
        for delivery in again:
            await world.courier.attempted(delivery)
    finally:
        world.replaying.discard(webhook.id)
    data: dict[str, object] = {"webhook_id": webhook.id, "job_id": job_id}
    event = Event(Kind.REPLAY_STATUS, "", "", world.now_ms(), job_id, data=data)
    world.courier.submit(
        make(
            webhook,
            key=event.key,
            kind=event.kind,
            envelope="aaa",
            account_id="",
            participant_id="",
            body=dump(aaa.envelope(event, world.people, APP)),
            at_ms=event.at_ms,
        )
    )
