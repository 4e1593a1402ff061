"""Subscribes connected accounts whose events go nowhere, or to a webhook that is ours no more.

Usually connecting an account subscribes it. Where the webhook was not registered yet, was registered anew, or the
process died in between, this makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from actors.clients.x_app import XApp
from actors.clients.x_transport import XApiError
from domain.clock import Clock
from storage.accounts import Accounts
from storage.encryption import CannotOpen

log = structlog.get_logger()

_MOST_AT_ONCE = 50


class AccountSubscriptions:
    """Looks after the subscriptions of all accounts; one gateway of a deployment does."""

    def __init__(self, x: XApp, accounts: Accounts, clock: Clock, webhook_id: Callable[[], str]) -> None:
        self._x = x
        self._accounts = accounts
        self._clock = clock
        self._webhook_id = webhook_id

    async def look(self) -> None:
        """Subscribe the accounts that are not subscribed to our webhook."""
        webhook_id = self._webhook_id()
        if not webhook_id:
            return
        for merchant_id, account_id in await self._accounts.not_subscribed(webhook_id, _MOST_AT_ONCE):
            try:
                await self._subscribe(merchant_id, account_id, webhook_id)
            except XApiError as error:
                log.warning("account.subscribe_failed", account_id=account_id, reason=error.failure.reason)
            except CannotOpen as error:
                log.warning("account.tokens_unreadable", account_id=account_id, error=str(error))

    async def _subscribe(self, merchant_id: str, account_id: str, webhook_id: str) -> None:
        tokens = await self._accounts.tokens(merchant_id, account_id)
        if tokens is None:
            return
        client = self._x.client_for(tokens.oauth_token, tokens.oauth_token_secret)
        await self._x.subscribe(client, webhook_id)
        await self._accounts.subscribed(merchant_id, account_id, webhook_id, self._clock.now())
        log.info("account.subscribed", account_id=account_id)
