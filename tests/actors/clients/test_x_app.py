from __future__ import annotations

import orjson
import pytest

from actors.clients.x_models import XWebhook
from actors.clients.x_transport import XApiError
from domain.errors import InvalidContent
from domain.x_errors import FailureKind
from tests.actors.clients.x_server import BEARER, says, writes

SUBSCRIBE = "POST /2/account_activity/webhooks/7/subscriptions/all"
UNSUBSCRIBE = "DELETE /2/account_activity/webhooks/7/subscriptions/100/all"
WEBHOOK = {"id": "7", "url": "https://gw.example/hook", "valid": True, "created_at": "2026-11-02T10:00:00Z"}


async def test_webhooks_are_listed_with_the_apps_bearer_token(x_server, x_app):
    listed = [WEBHOOK, WEBHOOK | {"id": 8, "valid": "true"}, {}, "x"]
    x_server.answers["GET /2/webhooks"] = says({"data": listed, "meta": {"result_count": 4}})

    assert await x_app.webhooks() == [
        XWebhook("7", "https://gw.example/hook", valid=True),
        XWebhook("8", "https://gw.example/hook", valid=False),
    ]
    assert x_server.calls[0].headers["authorization"] == f"Bearer {BEARER}"


async def test_an_app_without_webhooks_has_none(x_server, x_app):
    x_server.answers["GET /2/webhooks"] = says({"meta": {"result_count": 0}})

    assert await x_app.webhooks() == []


async def test_a_webhook_is_registered(x_server, x_app):
    x_server.answers["POST /2/webhooks"] = says({"data": WEBHOOK})

    assert await x_app.register_webhook("https://gw.example/hook") == XWebhook("7", WEBHOOK["url"], valid=True)
    assert orjson.loads(x_server.calls[0].body) == {"url": "https://gw.example/hook"}


async def test_a_webhook_that_fails_the_challenge_is_an_error(x_server, x_app):
    x_server.answers["POST /2/webhooks"] = says(
        {"errors": [{"message": "CrcValidationFailed", "title": "Invalid Request"}]}, 400
    )

    with pytest.raises(XApiError, match="refused"):
        await x_app.register_webhook("https://gw.example/hook")


@pytest.mark.parametrize("valid", [True, False])
async def test_a_webhook_is_validated_anew(x_server, x_app, valid):
    x_server.answers["PUT /2/webhooks/7"] = says({"data": {"valid": valid}})

    assert await x_app.validate_webhook("7") is valid


async def test_a_webhook_is_deleted(x_server, x_app):
    x_server.answers["DELETE /2/webhooks/7"] = says({"data": {"deleted": True}})

    await x_app.delete_webhook("7")

    assert len(x_server.calls) == 1


async def test_an_account_is_subscribed_with_its_own_tokens(x_server, x_app, x_client):
    x_server.answers[SUBSCRIBE] = says({"data": {"subscribed": True}})

    await x_app.subscribe(x_client, "7")

    assert x_server.calls[0].signed


@pytest.mark.parametrize(
    "body", [{"errors": [{"title": "DuplicateSubscriptionFailed"}]}, {"errors": [{"code": 355, "message": "exists"}]}]
)
async def test_an_account_that_is_subscribed_already_stays_so(x_server, x_app, x_client, body):
    x_server.answers[SUBSCRIBE] = says(body, 409)

    await x_app.subscribe(x_client, "7")

    assert len(x_server.calls) == 1


@pytest.mark.parametrize(
    "answer",
    [
        says({"data": {"subscribed": False}}),
        says({"errors": [{"title": "SubscriptionLimitExceeded"}]}, 400),
        writes(b"<html>", 502),
    ],
)
async def test_a_subscription_that_did_not_come_about_is_an_error(x_server, x_app, x_client, answer):
    x_server.answers[SUBSCRIBE] = answer

    with pytest.raises(XApiError) as refused:
        await x_app.subscribe(x_client, "7")

    assert refused.value.failure.kind is not FailureKind.AMBIGUOUS


async def test_an_account_is_unsubscribed_by_the_app(x_server, x_app):
    x_server.answers[UNSUBSCRIBE] = says({"data": {"subscribed": False}})

    await x_app.unsubscribe("100", "7")

    assert x_server.calls[0].headers["authorization"] == f"Bearer {BEARER}"


@pytest.mark.parametrize("status", [400, 404])
async def test_an_account_that_is_not_subscribed_stays_so(x_server, x_app, status):
    x_server.answers[UNSUBSCRIBE] = says({"errors": [{"title": "SubscriptionNotFound"}]}, status)

    await x_app.unsubscribe("100", "7")

    assert len(x_server.calls) == 1


async def test_an_unsubscription_that_x_refuses_is_an_error(x_server, x_app):
    x_server.answers[UNSUBSCRIBE] = says({"title": "Unauthorized"}, 401)

    with pytest.raises(XApiError, match="tokens_refused"):
        await x_app.unsubscribe("100", "7")


@pytest.mark.parametrize("webhook_id", ["", "7/../8", "7?x=1"])
async def test_an_id_that_would_change_the_address_is_never_used(x_server, x_app, x_client, webhook_id):
    for call in (
        x_app.validate_webhook(webhook_id),
        x_app.delete_webhook(webhook_id),
        x_app.unsubscribe("100", webhook_id),
        x_app.subscribe(x_client, webhook_id),
    ):
        with pytest.raises(InvalidContent):
            await call

    assert x_server.calls == []
