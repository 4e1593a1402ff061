"""Connecting an X account to a merchant, and taking it away again (contract, part 5, "Accounts")."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus

import structlog

from actors.account import AccountActor
from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from actors.clients.x_models import XUser
from actors.clients.x_transport import XApiError
from actors.runtime.errors import ActorFailed
from domain.errors import Conflict, NotFound, Unavailable, XRefused
from gateway.dependencies import Dependencies
from gateway.models.business_hours import UNSET_BUSINESS_HOURS
from storage.accounts import AccountDocument, Identity, Tokens
from storage.encryption import CannotOpen

log = structlog.get_logger()

_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


async def connect(deps: Dependencies, merchant_id: str, account_id: str, tokens: Tokens) -> AccountDocument:
    """Connect the account that the tokens belong to; `account_id` is its id unless it had one before.

    It is stored before its events are subscribed to, so that the first of them finds its account. Where the webhook is
    not registered yet, or the process dies in between, it is subscribed later (`gateway/account_subscriptions.py`).

    Raises:
        XRefused: when X refuses the tokens (400), or refuses or breaks in another way (502).
        Conflict: when the account is connected, by whichever merchant.
    """
    x = _x(deps)
    client = x.client_for(tokens.oauth_token, tokens.oauth_token_secret)
    user = await _who(client)
    accounts = deps.repositories.accounts
    if await accounts.is_connected(user.id):
        # Under an idempotency key this may be the same request again, cut off after the account was stored.
        stored = await accounts.get(merchant_id, account_id)
        if stored is not None and stored["twitterUserId"] == user.id:
            return stored
        raise Conflict("This X account is connected already")
    account_id = await accounts.former_id(merchant_id, user.id) or account_id
    account = await accounts.connect(
        merchant_id,
        account_id,
        Identity(user.id, user.username, user.name or user.username, user.profile_image_url or None),
        tokens,
        webhook_id=None,
        defaults={"autoReplyEnabled": False, "businessHours": UNSET_BUSINESS_HOURS},
        now=deps.clock.now(),
    )
    webhook_id = deps.webhook_id()
    if webhook_id:
        try:
            await x.subscribe(client, webhook_id)
        except XApiError:
            await accounts.disconnect(merchant_id, account_id, deps.clock.now())
            raise
        await accounts.subscribed(merchant_id, account_id, webhook_id, deps.clock.now())
        account["webhookId"] = webhook_id
    log.info("account.connected", account_id=account_id)
    # What came before it was connected; if this is cut off, `gateway/unrouted_events.py` goes on with it.
    deps.background.start("revive_events", deps.repositories.dead_letters.revive(user.id, deps.clock.now()))
    await tell_actor(deps, account_id)
    return account


async def disconnect(deps: Dependencies, merchant_id: str, account_id: str) -> None:
    """Take an account away: no more events, tokens revoked and erased. Its conversations stay.

    X being out of reach does not hold the merchant's wish up: what could not be undone there is logged.

    Raises:
        NotFound: when the merchant has no such account.
    """
    accounts = deps.repositories.accounts
    account = await accounts.get(merchant_id, account_id)
    if account is None:
        raise NotFound("Account not found")
    if not account["connected"]:
        return
    if deps.x is not None:
        await _leave_x(deps, deps.x, account)
    await accounts.disconnect(merchant_id, account_id, deps.clock.now())
    log.info("account.disconnected", account_id=account_id)
    await tell_actor(deps, account_id)


async def reactivate(deps: Dependencies, merchant_id: str, account_id: str) -> AccountDocument:
    """Let an account send again that X has refused as a whole, now that somebody has put it in order there.

    X is asked for it first. Where it refuses the account's messages still, the next one says so again.

    Raises:
        NotFound: when the merchant has no such account.
        Conflict: when it is not connected, or its tokens can't be read any more.
        XRefused: when X refuses its tokens (400), or refuses or breaks in another way (502).
    """
    accounts = deps.repositories.accounts
    account = await accounts.get(merchant_id, account_id)
    if account is None:
        raise NotFound("Account not found")
    try:
        tokens = await accounts.tokens(merchant_id, account_id) if account["connected"] else None
    except CannotOpen as error:
        log.warning("account.tokens_unreadable", account_id=account_id, error=str(error))
        raise Conflict("The account's tokens can't be read; connect it again") from error
    if tokens is None:
        raise Conflict("The account is not connected")
    await _who(_x(deps).client_for(tokens.oauth_token, tokens.oauth_token_secret))
    if account["status"] == "error":
        await accounts.set_status(merchant_id, account_id, "active", None, deps.clock.now())
        log.info("account.reactivated", account_id=account_id)
    await tell_actor(deps, account_id)
    return await accounts.get(merchant_id, account_id) or account


async def _who(client: XClient) -> XUser:
    try:
        return await client.me()
    except XApiError as error:
        if error.x_status in _REFUSED:
            raise XRefused("X refused the credentials", details=error.details, status=HTTPStatus.BAD_REQUEST) from error
        raise


async def _leave_x(deps: Dependencies, x: XApp, account: AccountDocument) -> None:
    account_id, webhook_id = account["_id"], account["webhookId"] or deps.webhook_id()
    if webhook_id:
        await _try("account.unsubscribe_failed", account_id, x.unsubscribe(account["twitterUserId"], webhook_id))
    try:
        tokens = await deps.repositories.accounts.tokens(account["merchantId"], account_id)
    except CannotOpen as error:
        log.warning("account.tokens_unreadable", account_id=account_id, error=str(error))
        return
    if tokens is not None:
        client = x.client_for(tokens.oauth_token, tokens.oauth_token_secret)
        await _try("account.revoke_failed", account_id, client.invalidate_token())


async def _try(event: str, account_id: str, work: Awaitable[None]) -> None:
    try:
        await work
    except XApiError as error:
        log.warning(event, account_id=account_id, reason=error.failure.reason)


async def tell_actor(deps: Dependencies, account_id: str) -> None:
    """Let the account's actor take note that its tokens or settings have changed."""
    try:
        await deps.actors.ref(AccountActor, account_id).reload()
    except (Unavailable, ActorFailed) as error:
        # It reads the account again when it starts anyway; only one that is in memory would act on what was.
        log.warning("account.reload_failed", account_id=account_id, reason=error.message)


def _x(deps: Dependencies) -> XApp:
    if deps.x is None:
        raise Unavailable("X is not configured", retry_after_s=60)
    return deps.x
