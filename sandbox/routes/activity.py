"""X Activity subscriptions: one event type of one user each."""

from __future__ import annotations

from aiohttp import web

from sandbox.body import JsonObject, answer, as_object, as_text
from sandbox.endpoint import Call, Endpoint
from sandbox.problems import Refusal, invalid_request, problem, webhook_refusal
from sandbox.subscriptions import ActivitySubscription
from sandbox.xaa import EVENT_TYPES

_PRIVATE = ("dm.", "like.", "mute.", "block.")
_LONGEST_TAG = 200
_MOST_LISTED = 1000
_FILTERS = frozenset({"user_id", "keyword", "direction"})


async def create(call: Call) -> web.Response:
    """POST /2/activity/subscriptions {event_type, filter, tag?, webhook_id?}; private types need the user's token."""
    world = call.world
    body = await call.json()
    event_type, filtered = as_text(body.get("event_type")), as_object(body.get("filter"))
    tag, webhook_id = as_text(body.get("tag")), as_text(body.get("webhook_id"))
    if event_type not in EVENT_TYPES:
        raise invalid_request(f"$.event_type: {event_type or 'nothing'} is not a known type", "event_type")
    if not set(filtered) <= _FILTERS or (event_type != "oauth.revoke" and not as_text(filtered.get("user_id"))):
        raise invalid_request("$.filter: user_id is needed; keyword and direction are allowed", "filter")
    _check(call, tag, webhook_id)
    user_id = as_text(filtered.get("user_id"))
    if event_type.startswith(_PRIVATE) and (call.user is None or call.user.id != user_id):
        detail = "A subscription to private events needs the access token of the user."
        raise Refusal(403, problem(403, "Forbidden", detail))
    for known in world.subscriptions.activity_of(user_id, event_type):
        if known.filter == filtered and known.webhook_id == webhook_id:
            raise webhook_refusal("DuplicateSubscriptionFailed", "the subscription exists already.")
    now = world.now_ms()
    subscription = ActivitySubscription(world.ids.next(), event_type, filtered, tag, webhook_id, now, now)
    world.subscriptions.put_activity(subscription)
    world.journal.append("activity", subscription.raw())
    return answer(_shaped(world.behaviour.subscription_shape, subscription))


def _shaped(shape: str, subscription: ActivitySubscription) -> JsonObject:
    """Return the answer in one of the three shapes that X documents."""
    shown = subscription.v2()
    match shape:
        case "array":
            return {"data": [shown], "meta": {"total_subscriptions": 1}}
        case "object":
            return {"data": shown}
        case _:
            return {"data": {"subscription": shown}}


def _check(call: Call, tag: str, webhook_id: str) -> None:
    if len(tag) > _LONGEST_TAG:
        raise invalid_request(f"$.tag: must be at most {_LONGEST_TAG} characters long", "tag")
    if webhook_id and webhook_id not in call.world.webhooks:
        raise webhook_refusal("WebhookIdInvalid", f"there is no webhook {webhook_id}.")


async def listing(call: Call) -> web.Response:
    """GET /2/activity/subscriptions, with `max_results` and `pagination_token`."""
    query = call.request.query
    size, token = query.get("max_results", str(_MOST_LISTED)), query.get("pagination_token", "0")
    if not size.isdecimal() or not 1 <= int(size) <= _MOST_LISTED or not token.isdecimal():
        raise invalid_request("max_results must be 1-1000, pagination_token one that was given out", "max_results")
    every = list(call.world.subscriptions.activity.values())
    start, end = int(token), int(token) + int(size)
    meta: JsonObject = {"result_count": len(every[start:end])}
    if end < len(every):
        meta["next_token"] = str(end)
    return answer({"data": [subscription.v2() for subscription in every[start:end]], "meta": meta})


def _known(call: Call, subscription_id: str) -> ActivitySubscription:
    subscription = call.world.subscriptions.activity.get(subscription_id)
    if subscription is None:
        raise webhook_refusal("SubscriptionNotFound", f"there is no subscription {subscription_id}.", 404)
    return subscription


async def update(call: Call) -> web.Response:
    """PUT /2/activity/subscriptions/:id {tag?, webhook_id?}."""
    subscription = _known(call, call.part("subscription_id"))
    body = await call.json()
    tag = as_text(body.get("tag"), subscription.tag)
    webhook_id = as_text(body.get("webhook_id"), subscription.webhook_id)
    _check(call, tag, webhook_id)
    subscription.tag, subscription.webhook_id = tag, webhook_id
    subscription.updated_ms = call.world.now_ms()
    call.world.journal.append("activity", subscription.raw())
    return answer(_shaped(call.world.behaviour.subscription_shape, subscription))


async def delete_one(call: Call) -> web.Response:
    """DELETE /2/activity/subscriptions/:id."""
    _drop(call, _known(call, call.part("subscription_id")).id)
    return answer({"data": {"deleted": True}})


async def delete_many(call: Call) -> web.Response:
    """DELETE /2/activity/subscriptions with `ids`."""
    ids = [identifier for identifier in call.request.query.get("ids", "").split(",") if identifier]
    if not ids:
        raise invalid_request("ids is needed", "ids")
    for identifier in [_known(call, identifier).id for identifier in ids]:
        _drop(call, identifier)
    return answer({"data": {"deleted": True}})


def _drop(call: Call, subscription_id: str) -> None:
    if call.world.subscriptions.drop_activity(subscription_id):
        call.world.journal.append("activity_deleted", {"id": subscription_id})


ENDPOINTS = (
    Endpoint("POST", "/2/activity/subscriptions", "either", "activity", create),
    Endpoint("GET", "/2/activity/subscriptions", "either", "activity", listing),
    Endpoint("DELETE", "/2/activity/subscriptions", "app", "activity", delete_many),
    Endpoint("PUT", "/2/activity/subscriptions/{subscription_id}", "app", "activity", update),
    Endpoint("DELETE", "/2/activity/subscriptions/{subscription_id}", "app", "activity", delete_one),
)
