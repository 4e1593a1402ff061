"""Keeps the webhook registered with X, and valid: X stops delivering when a challenge fails, and tells nobody."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import Gauge

from actors.clients.x_app import XApp
from actors.clients.x_models import XWebhook
from actors.clients.x_transport import XApiError
from config.settings import Settings
from domain.ended import ended
from gateway.webhooks import PATH

log = structlog.get_logger()

VALID = Gauge("mktx_webhook_valid", "Whether X has our webhook as valid (1) or not (0)", multiprocess_mode="mostrecent")

_RETRY_S = 5.0
#: After X has found the webhook invalid again: each try is a challenge, and X limits them.
_INVALID_RETRY_S = 30.0


class WebhookKeeper:
    """Registers the webhook when it is not there, has it validated again when it is invalid."""

    def __init__(self, settings: Settings, x: XApp, *, registers: bool) -> None:
        """Make a keeper; of several gateways one `registers`, the others only learn the webhook's id."""
        self._registers = registers
        self._settings = settings
        self._x = x
        self._url = f"{settings.public_url}{PATH}"
        self._task: asyncio.Task[None] | None = None
        self.webhook_id = settings.x_webhook_id

    def start(self) -> None:
        """Begin to look after the webhook; without a public address there is nothing to look after."""
        if self._settings.public_url:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Look after it no more; it stays registered."""
        await ended(self._task)

    async def _keep(self) -> None:
        while True:
            pause = self._settings.x_webhook_check_s if self.webhook_id else _RETRY_S
            try:
                if not await self._check():
                    pause = min(_INVALID_RETRY_S, pause)
            except XApiError as error:
                VALID.set(0)
                log.warning("webhook.check_failed", kind=error.failure.kind.value, reason=error.failure.reason)
                pause = min(_RETRY_S, pause)
            await asyncio.sleep(pause)

    async def _check(self) -> bool:
        """Say whether the webhook is there and valid, after doing what can be done about it."""
        webhook = self._ours(await self._x.webhooks())
        if webhook is None and not self._registers:
            return False
        if webhook is None:
            webhook = await self._x.register_webhook(self._url)
            log.info("webhook.registered", webhook_id=webhook.id)
        self.webhook_id = webhook.id
        valid = webhook.valid
        if not valid and self._registers:
            valid = await self._x.validate_webhook(webhook.id)
            log.warning("webhook.was_invalid", webhook_id=webhook.id, valid=valid)
        VALID.set(1 if valid else 0)
        return valid

    def _ours(self, webhooks: list[XWebhook]) -> XWebhook | None:
        """Return our webhook among those of the app; nobody else's is ever touched."""
        for webhook in webhooks:
            if webhook.id == self._settings.x_webhook_id or webhook.url == self._url:
                return webhook
        return None
