"""Webhooks, Account Activity subscriptions and replay."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from sandbox.body import answer, as_text
from sandbox.clock import DAY_MS, MINUTE_MS, rfc3339
from sandbox.endpoint import Call, Endpoint
from sandbox.memory import webhook_raw
from sandbox.problems import webhook_refusal
from sandbox.replay import replay
from sandbox.webhooks import Webhook, check_url
from sandbox.world import APP

_NEWEST_FROM_MS = 31 * MINUTE_MS
_NEWEST_TO_MS = 10 * MINUTE_MS


def _webhook(call: Call, webhook_id: str) -> Webhook:
    webhook = call.world.webhooks.get(webhook_id)
    if webhook is None:
        raise webhook_refusal("WebhookIdInvalid", f"there is no webhook {webhook_id}.")
    return webhook


async def create(call: Call) -> web.Response:
    """POST /2/webhooks {url}: checked, challenged, then valid."""
    world = call.world
    url = as_text((await call.json()).get("url"))
    check_url(url)
    if any(webhook.url == url for webhook in world.webhooks.values()):
        raise webhook_refusal("DuplicateUrlFailed", "the URL is registered already.")
    if len(world.webhooks) >= world.behaviour.webhook_limit:
        raise webhook_refusal("WebhookLimitExceeded", f"{world.behaviour.webhook_limit} webhooks are allowed.")
    outcome = await world.challenger.ask(world.courier.session, url)
    if outcome != "right":
        raise webhook_refusal("CrcValidationFailed", f"the answer to the challenge was {outcome}.")
    now = world.now_ms()
    webhook = Webhook(world.ids.next(), url, valid=True, created_ms=now, validated_ms=now)
    world.webhooks[webhook.id] = webhook
    world.journal.append("webhook", webhook_raw(webhook))
    return answer({"data": webhook.v2()})


async def listing(call: Call) -> web.Response:
    """GET /2/webhooks."""
    webhooks = [webhook.v2() for webhook in call.world.webhooks.values()]
    return answer({"data": webhooks, "meta": {"result_count": len(webhooks)}})


async def validate(call: Call) -> web.Response:
    """PUT /2/webhooks/:id: challenge it anew."""
    webhook = _webhook(call, call.part("webhook_id"))
    valid = await call.world.challenger.revalidate(call.world.courier.session, webhook)
    call.world.journal.append("webhook", webhook_raw(webhook))
    return answer({"data": {"valid": valid}})


async def delete(call: Call) -> web.Response:
    """DELETE /2/webhooks/:id; its subscriptions go with it."""
    webhook = _webhook(call, call.part("webhook_id"))
    world = call.world
    for user_id in world.subscriptions.subscribers(webhook.id):
        world.subscriptions.unsubscribe(webhook.id, user_id)
        world.journal.append("unsubscribed", {"webhook_id": webhook.id, "user_id": user_id})
    del world.webhooks[webhook.id]
    world.journal.append("webhook_deleted", {"id": webhook.id})
    return answer({"data": {"deleted": True}})


async def subscribe(call: Call) -> web.Response:
    """POST /2/account_activity/webhooks/:id/subscriptions/all, with the subscribed user's token."""
    webhook = _webhook(call, call.part("webhook_id"))
    if not call.world.subscriptions.subscribe(webhook.id, call.sender.id):
        raise webhook_refusal("DuplicateSubscriptionFailed", "the user is subscribed already.")
    call.world.journal.append("subscribed", {"webhook_id": webhook.id, "user_id": call.sender.id})
    return answer({"data": {"subscribed": True}})


async def subscribed(call: Call) -> web.Response:
    """GET /2/account_activity/webhooks/:id/subscriptions/all, with the user's token."""
    webhook = _webhook(call, call.part("webhook_id"))
    return answer({"data": {"subscribed": call.sender.id in call.world.subscriptions.subscribers(webhook.id)}})


async def subscribers(call: Call) -> web.Response:
    """GET /2/account_activity/webhooks/:id/subscriptions/all/list."""
    webhook = _webhook(call, call.part("webhook_id"))
    users = [{"user_id": user_id} for user_id in call.world.subscriptions.subscribers(webhook.id)]
    data = {"application_id": APP.id, "webhook_id": webhook.id, "webhook_url": webhook.url, "subscriptions": users}
    return answer({"data": data})


async def count(call: Call) -> web.Response:
    """GET /2/account_activity/subscriptions/count."""
    users = [user_id for user_id, webhooks in call.world.subscriptions.accounts.items() if webhooks]
    data = {
        "account_name": APP.name,
        "provisioned_count": "5000",
        "subscriptions_count_all": str(len(users)),
        "subscriptions_count_direct_messages": "0",
    }
    return answer({"data": data})


async def unsubscribe(call: Call) -> web.Response:
    """DELETE /2/account_activity/webhooks/:id/subscriptions/:user_id/all."""
    webhook, user_id = _webhook(call, call.part("webhook_id")), call.part("user_id")
    if not call.world.subscriptions.unsubscribe(webhook.id, user_id):
        raise webhook_refusal("SubscriptionNotFound", "the user is not subscribed.", 404)
    call.world.journal.append("unsubscribed", {"webhook_id": webhook.id, "user_id": user_id})
    return answer({"data": {"subscribed": False}})


async def start_replay(call: Call) -> web.Response:
    """POST /2/webhooks/replay {webhook_id, from_date, to_date}: dates as yyyymmddhhmm in UTC, `to_date` exclusive."""
    body = await call.json()
    world = call.world
    webhook = _webhook(call, as_text(body.get("webhook_id")))
    since, until = _minute(as_text(body.get("from_date"))), _minute(as_text(body.get("to_date")))
    now = world.now_ms()
    newest_from = now - int(_NEWEST_FROM_MS * world.time_scale)
    newest_to = now - int(_NEWEST_TO_MS * world.time_scale)
    if not now - DAY_MS - MINUTE_MS <= since < until or since > newest_from or until > newest_to:
        raise webhook_refusal("QueryParamInvalid", "from_date must be 31 minutes to 24 hours old, to_date 10 minutes.")
    if webhook.id in world.replaying:
        raise webhook_refusal("ReplayConflictError", "a replay of this webhook is under way.", 409)
    if not await world.challenger.revalidate(world.courier.session, webhook):
        raise webhook_refusal("CrcValidationFailed", "the webhook is not valid.")
    job_id = world.ids.next()
    world.replaying.add(webhook.id)
    world.spawn(replay(world, webhook, job_id, since, until))
    return answer({"data": {"job_id": job_id, "created_at": rfc3339(now)}})


def _minute(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise webhook_refusal("QueryParamInvalid", "dates are written yyyymmddhhmm.") from None


_SUBSCRIPTIONS = "/2/account_activity/webhooks/{webhook_id}/subscriptions"

ENDPOINTS = (
    Endpoint("POST", "/2/webhooks", "either", "webhooks", create),
    Endpoint("GET", "/2/webhooks", "either", "webhooks", listing),
    Endpoint("POST", "/2/webhooks/replay", "app", "replay", start_replay),
    Endpoint("PUT", "/2/webhooks/{webhook_id}", "either", "webhooks", validate),
    Endpoint("DELETE", "/2/webhooks/{webhook_id}", "either", "webhooks", delete),
    Endpoint("POST", f"{_SUBSCRIPTIONS}/all", "user", "activity", subscribe),
    Endpoint("GET", f"{_SUBSCRIPTIONS}/all", "user", "activity", subscribed),
    Endpoint("GET", f"{_SUBSCRIPTIONS}/all/list", "app", "activity", subscribers),
    Endpoint("DELETE", f"{_SUBSCRIPTIONS}/{{user_id}}/all", "app", "activity", unsubscribe),
    Endpoint("GET", "/2/account_activity/subscriptions/count", "app", "activity", count),
)
