"""What the control API shows of the simulated X."""

from __future__ import annotations

from itertools import islice

from sandbox.body import JsonObject, as_text
from sandbox.routes.order import WrongOrder
from sandbox.world import World

_MOST = 1000


def state(world: World, _: JsonObject) -> object:
    """Count everything."""
    courier = world.courier
    return {
        "shops": len(world.people.shops()),
        "customers": len(world.people.customers()),
        "messages": len(world.messages.all),
        "written_by_customers": world.customers.written,
        "webhooks": [{**webhook.v2()} for webhook in world.webhooks.values()],
        "subscriptions": {
            "account_activity": {user: hooks for user, hooks in world.subscriptions.accounts.items() if hooks},
            "x_activity": len(world.subscriptions.activity),
        },
        "deliveries": {
            "total": len(courier.records),
            "pending": courier.pending,
            "acknowledged": courier.acknowledged,
            "lost": courier.lost,
            "held": world.held,
        },
        "faults": len(world.faults.ordered),
        "requests": dict(world.requests),
        "rate": world.customers.manner.rate,
        "answers": world.customers.manner.answers,
    }


def messages(world: World, query: JsonObject) -> object:
    """List accepted messages, oldest first."""
    account, participant = as_text(query.get("account")), as_text(query.get("participant"))
    sender, since = as_text(query.get("sender")), as_text(query.get("since"))
    found = world.messages.of_user(account) if account else world.messages.all
    chosen = [
        message
        for message in found
        if participant in ("", message.sender_id, message.recipient_id)
        and sender in ("", message.sender_id)
        and (not since or _after(message.id, message.created_ms, since))
    ]
    skip, take = _window(query)
    return {"total": len(chosen), "messages": [message.raw() for message in chosen[skip : skip + take]]}


def _after(message_id: str, created_ms: int, since: str) -> bool:
    """Whether a message is newer than `since`, an id (16 digits and more) or milliseconds."""
    return int(message_id) > int(since) if len(since) > 15 else created_ms > int(since)  # noqa: PLR2004


def _window(query: JsonObject) -> tuple[int, int]:
    skip, take = as_text(query.get("skip"), "0"), as_text(query.get("take"), str(_MOST))
    if not skip.isdecimal() or not take.isdecimal():
        raise WrongOrder("skip and take are whole numbers")
    return int(skip), int(take)


def list_faults(world: World, _: JsonObject) -> object:
    """List the ordered faults and how often each happened."""
    return {"faults": [fault.raw() for fault in world.faults.ordered]}


def deliveries(world: World, query: JsonObject) -> object:
    """List deliveries, oldest first."""
    wanted = {name: as_text(query.get(name)) for name in ("account", "kind", "key", "outcome")}
    chosen = [
        delivery
        for delivery in world.courier.records
        if wanted["account"] in ("", delivery.account_id)
        and wanted["kind"] in ("", delivery.kind)
        and wanted["key"] in ("", delivery.key)
        and wanted["outcome"] in ("", delivery.outcome)
    ]
    skip, take = _window(query)
    return {"total": len(chosen), "deliveries": [delivery.raw() for delivery in islice(chosen, skip, skip + take)]}


def progress(world: World, _: JsonObject) -> object:
    """Tell how far the load is; all counts are zero when there was none."""
    return {"load": world.load.progress() if world.load is not None else None}
