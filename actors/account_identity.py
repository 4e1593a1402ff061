"""Who an account is on X, and whether X lets it send."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from storage.accounts import Accounts, Tokens
from storage.client import Document
from storage.encryption import CannotOpen
from storage.outbox import Outbox

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """The account as X knows it, and how to reach X in its name; no client where it is not connected."""

    merchant_id: str
    twitter_user_id: str
    status: str
    client: XClient | None
    account: Document


class AccountIdentity:
    """Knows the account's document and tokens until it is told to forget them."""

    def __init__(self, account_id: str, outbox: Outbox, accounts: Accounts, x: XApp) -> None:
        self._account_id = account_id
        self._outbox = outbox
        self._accounts = accounts
        self._x = x
        self._sender: Sender | None = None

    @property
    def is_refused(self) -> bool:
        """Whether X is known to refuse the account as a whole: it waits for a person."""
        return self._sender is not None and self._sender.status == "error"

    def forget(self) -> None:
        """Read everything anew when it is asked for."""
        self._sender = None

    async def sender(self) -> Sender:
        """Return the account as it is."""
        if self._sender is None:
            account = await self._outbox.sender(self._account_id) or {}
            client = None
            if account.get("connected"):
                tokens = await self._tokens(account["merchantId"])
                if tokens is not None:
                    client = self._x.client_for(tokens.oauth_token, tokens.oauth_token_secret)
            self._sender = Sender(
                merchant_id=account.get("merchantId", ""),
                twitter_user_id=account.get("twitterUserId", ""),
                status=account.get("status", "inactive"),
                client=client,
                account=account,
            )
        return self._sender

    async def refused(self, reason: str, now: datetime) -> None:
        """X refuses the account as a whole, for this reason."""
        sender = await self.sender()
        await self._accounts.set_status(sender.merchant_id, self._account_id, "error", reason, now)
        self._sender = None

    async def works(self, sender: Sender, now: datetime) -> None:
        """Take back the error of an account that X lets send again."""
        if sender.status == "error":
            log.info("account.works_again", account=self._account_id)
            await self._accounts.set_status(sender.merchant_id, self._account_id, "active", None, now)
            self._sender = None

    async def _tokens(self, merchant_id: str) -> Tokens | None:
        try:
            return await self._accounts.tokens(merchant_id, self._account_id)
        except CannotOpen:
            log.exception("account.tokens_unreadable", account=self._account_id)
            return None
