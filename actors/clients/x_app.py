"""The X API for the app itself: webhooks, subscriptions, and clients for its accounts (x-api, 1.1)."""

from __future__ import annotations

import aiohttp

from actors.clients.x_client import XClient
from actors.clients.x_models import XWebhook
from actors.clients.x_transport import JsonObject, XAnswer, XApiError, XRequest, XTransport
from config.settings import Settings
from domain.clock import Clock
from domain.errors import InvalidContent
from domain.x_fields import as_object, x_id

_NOT_SUBSCRIBED = frozenset({"not_subscribed", "not_found"})


class XApp:
    """X as the app sees it, with its bearer token; every method raises `XApiError` when X does not do as asked."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._settings = settings
        self._session = session
        self._clock = clock
        self._transport = XTransport(settings, session, clock)

    def client_for(self, token: str, secret: str) -> XClient:
        """Return a client for the account that these tokens belong to."""
        return XClient(self._settings, self._session, self._clock, token=token, secret=secret)

    async def webhooks(self) -> list[XWebhook]:
        """Return the app's webhooks."""
        answer = await self._call("GET", "/2/webhooks")
        listed = answer.content().get("data", [])
        if not isinstance(listed, list):
            raise answer.unreadable()
        return [webhook for item in listed if (webhook := _webhook(as_object(item)))]

    async def register_webhook(self, url: str) -> XWebhook:
        """Register an address; X sends it a challenge before it answers."""
        answer = await self._call("POST", "/2/webhooks", {"url": url})
        webhook = _webhook(answer.data())
        if webhook is None:
            raise answer.unreadable()
        return webhook

    async def validate_webhook(self, webhook_id: str) -> bool:
        """Have X send the challenge again; say whether the webhook is valid now."""
        answer = await self._call("PUT", f"/2/webhooks/{_checked(webhook_id)}")
        return answer.data().get("valid") is True

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook; one that does not exist is an error of X."""
        await self._call("DELETE", f"/2/webhooks/{_checked(webhook_id)}")

    async def subscribe(self, client: XClient, webhook_id: str) -> None:
        """Have an account's events sent to a webhook; an account that is subscribed already stays so."""
        try:
            answer = await client.subscribe_to(webhook_id)
        except XApiError as error:
            if error.failure.reason == "already_subscribed":
                return
            raise
        if answer.body and answer.data().get("subscribed") is not True:
            raise answer.unreadable()

    async def unsubscribe(self, user_id: str, webhook_id: str) -> None:
        """Stop an account's events; an account that is not subscribed stays so."""
        route = f"/2/account_activity/webhooks/{_checked(webhook_id)}/subscriptions/{_checked(user_id)}/all"
        try:
            await self._call("DELETE", route)
        except XApiError as error:
            if error.failure.reason not in _NOT_SUBSCRIBED:
                raise

    async def _call(self, method: str, route: str, json: JsonObject | None = None) -> XAnswer:
        headers = {"Authorization": f"Bearer {self._settings.x_bearer_token.get_secret_value()}"}
        if json is not None:
            headers["Content-Type"] = "application/json"
        return await self._transport.call(XRequest(method, self._settings.x_api_base_url + route, headers, json))


def _webhook(item: JsonObject) -> XWebhook | None:
    webhook_id, url = x_id(item.get("id")), item.get("url")
    if not webhook_id or not isinstance(url, str):
        return None
    return XWebhook(webhook_id, url, item.get("valid") is True)


def _checked(value: str) -> str:
    """Return an id of X, which is about to become part of an address."""
    if not x_id(value):
        raise InvalidContent("Not an id of X")
    return value
