"""Reading a journal back into a world; `World` writes the lines, this reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sandbox.body import JsonObject, as_number, as_text
from sandbox.journal import Journal
from sandbox.messages import MessageStore, from_raw
from sandbox.people import People
from sandbox.snowflake import Snowflakes
from sandbox.subscriptions import Subscriptions, activity_from_raw
from sandbox.webhooks import Webhook


class Remembering(Protocol):
    """The parts of a world that outlive it."""

    journal: Journal
    people: People
    messages: MessageStore
    webhooks: dict[str, Webhook]
    subscriptions: Subscriptions
    ids: Snowflakes


def recall(world: Remembering) -> None:
    """Apply every journal line, in order; kinds that nobody knows are passed over."""
    for kind, data in world.journal.read():
        apply = _KINDS.get(kind)
        if apply is not None:
            apply(world, data)


def webhook_raw(webhook: Webhook) -> JsonObject:
    """Return a webhook as the journal keeps it."""
    return {
        "id": webhook.id,
        "url": webhook.url,
        "valid": webhook.valid,
        "created_ms": webhook.created_ms,
        "validated_ms": webhook.validated_ms,
    }


def _message(world: Remembering, data: JsonObject) -> None:
    message = from_raw(data)
    world.messages.add(message)
    world.ids.seen(message.id)


def _shop(world: Remembering, data: JsonObject) -> None:
    world.people.add_shop(as_text(data["id"]), username=as_text(data["username"]), name=as_text(data["name"]))


def _customer(world: Remembering, data: JsonObject) -> None:
    world.people.add_customer(as_text(data["id"]), username=as_text(data["username"]), name=as_text(data["name"]))


def _webhook(world: Remembering, data: JsonObject) -> None:
    webhook = Webhook(
        id=as_text(data["id"]),
        url=as_text(data["url"]),
        valid=data["valid"] is True,
        created_ms=int(as_number(data["created_ms"])),
        validated_ms=int(as_number(data["validated_ms"])),
    )
    world.webhooks[webhook.id] = webhook
    world.ids.seen(webhook.id)


def _webhook_deleted(world: Remembering, data: JsonObject) -> None:
    world.webhooks.pop(as_text(data["id"]), None)


def _subscribed(world: Remembering, data: JsonObject) -> None:
    world.subscriptions.subscribe(as_text(data["webhook_id"]), as_text(data["user_id"]))


def _unsubscribed(world: Remembering, data: JsonObject) -> None:
    world.subscriptions.unsubscribe(as_text(data["webhook_id"]), as_text(data["user_id"]))


def _activity(world: Remembering, data: JsonObject) -> None:
    subscription = activity_from_raw(data)
    world.subscriptions.put_activity(subscription)
    world.ids.seen(subscription.id)


def _activity_deleted(world: Remembering, data: JsonObject) -> None:
    world.subscriptions.drop_activity(as_text(data["id"]))


def _revoked(world: Remembering, data: JsonObject) -> None:
    world.people.revoke(as_text(data["user_id"]))
    world.subscriptions.drop_user(as_text(data["user_id"]))


_KINDS: dict[str, Callable[[Remembering, JsonObject], None]] = {
    "message": _message,
    "shop": _shop,
    "customer": _customer,
    "webhook": _webhook,
    "webhook_deleted": _webhook_deleted,
    "subscribed": _subscribed,
    "unsubscribed": _unsubscribed,
    "activity": _activity,
    "activity_deleted": _activity_deleted,
    "revoked": _revoked,
}
