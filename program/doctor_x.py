"""X: does it take our credentials, does it have our webhook as valid, and is our clock like its own."""

from __future__ import annotations

import binascii
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
import orjson
from pymongo.errors import PyMongoError

from actors.clients.x_app import XApp
from actors.clients.x_models import XWebhook
from actors.clients.x_transport import XApiError
from config.settings import Settings
from domain.x_errors import FailureKind
from domain.x_signature import crc_answer
from gateway.webhooks import PATH
from program.doctor_finding import Check, Finding, failed, ok, warning
from program.doctor_installation import Installation
from storage.accounts import Accounts, Tokens
from storage.client import Database
from storage.encryption import CannotOpen, WrongKey, key_ring

#: X refuses OAuth 1.0a signatures whose time is off; where exactly it draws the line is its own affair.
_MOST_SKEW = timedelta(seconds=30)
_MUCH_SKEW = timedelta(seconds=5)
#: Each costs one call of X's limit.
_MOST_ACCOUNTS = 20
#: X gives a challenge three seconds.
_CHALLENGE_S = 3.0
_LONGEST_ANSWER = 4096

Look = Callable[[Installation], Awaitable[Finding]]


def _of_real_x(look: Look) -> Look:
    """Return the check, which has nothing to look at where the sandbox stands in for X."""

    async def checked(installation: Installation) -> Finding:
        if installation.given.uses_sandbox:
            return ok("the bundled sandbox stands in for X")
        return await look(installation)

    return checked


async def bearer_token(installation: Installation) -> Finding:
    """Look whether X takes the app's bearer token."""
    try:
        webhooks = await _app(installation).webhooks()
    except XApiError as error:
        return _of_x(error, "copy MKTX_X_BEARER_TOKEN from the app's page in X's developer portal")
    return ok(f"X takes it; the app has {len(webhooks)} webhooks")


async def account_tokens(installation: Installation) -> Finding:
    """Look whether X takes the tokens of the connected accounts, which need the consumer key and secret too."""
    if installation.database is None:
        return warning("could not be read: no database", "see the database")
    try:
        accounts = await _account_tokens(installation, installation.database)
    except (CannotOpen, WrongKey):
        return failed("can't be opened", "see the encryption key")
    except PyMongoError as error:
        return warning(f"could not be read ({type(error).__name__})", "see the database")
    try:
        refusals = [await _refusal(installation, account) for account in accounts]
    except XApiError as error:
        return _of_x(error, "")
    refused = ", ".join(
        f"{account.username} ({reason})" for account, reason in zip(accounts, refusals, strict=True) if reason
    )
    if refused:
        return failed(
            f"X refuses those of {refused}",
            "connect the accounts again; where it is all of them, check MKTX_X_CONSUMER_KEY and its secret",
        )
    return ok(f"X takes those of {len(accounts)} accounts" if accounts else "no account is connected yet")


@dataclass(frozen=True, slots=True)
class _Account:
    twitter_user_id: str
    username: str
    tokens: Tokens | None


async def _account_tokens(installation: Installation, database: Database) -> list[_Account]:
    """Return the connected accounts with their tokens; without a key nothing was ever stored that could be opened."""
    if not installation.settings.encryption_key.get_secret_value():
        return []
    stored = Accounts(database, key_ring(installation.settings))
    fields = {"merchantId": 1, "username": 1, "twitterUserId": 1}
    found = database["accounts"].find({"connected": True}, fields).limit(_MOST_ACCOUNTS)
    return [
        _Account(each["twitterUserId"], each["username"], await stored.tokens(each["merchantId"], each["_id"]))
        async for each in found
    ]


async def _refusal(installation: Installation, account: _Account) -> str:
    """Return why the account's tokens are no good, empty when they are good.

    Raises:
        XApiError: when X could not be asked.
    """
    if account.tokens is None:
        return "no tokens"
    client = _app(installation).client_for(account.tokens.oauth_token, account.tokens.oauth_token_secret)
    try:
        user = await client.me()
    except XApiError as error:
        if error.failure.kind in {FailureKind.TEMPORARY, FailureKind.RATE_LIMIT}:
            raise
        return error.failure.reason
    return "" if user.id == account.twitter_user_id else "tokens of another account"


async def webhook(installation: Installation) -> Finding:
    """Look whether our webhook is registered with X, and valid."""
    if not installation.given.public_url and not installation.given.x_webhook_id:
        return failed("can't be registered: MKTX_PUBLIC_URL is not set", "set it to the https address that X reaches")
    try:
        found = _ours(installation.given, await _app(installation).webhooks())
    except XApiError as error:
        return _of_x(error, "see the bearer token")
    if found is None:
        return warning("is not registered with X", "start the program: it registers the webhook")
    if not found.valid:
        return failed(
            "X has it as invalid and sends no events",
            "see the challenge; once it is answered, a running program has X check it again within minutes",
        )
    return ok("registered and valid")


async def challenge(installation: Installation) -> Finding:
    """Look whether the public address answers a challenge as X would ask it."""
    settings = installation.given
    if not settings.public_url:
        return failed("can't be asked: MKTX_PUBLIC_URL is not set", "set it to the https address that X reaches")
    token = binascii.b2a_base64(os.urandom(24), newline=False).decode()
    try:
        async with installation.session.get(
            settings.public_url + PATH,
            params={"crc_token": token},
            timeout=aiohttp.ClientTimeout(total=_CHALLENGE_S),
            allow_redirects=False,
        ) as response:
            status, raw = response.status, await response.content.read(_LONGEST_ANSWER)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        judge = failed if installation.running else warning
        return judge(
            f"the public address does not answer ({type(error).__name__})",
            "start the program; where it runs, check the proxy, DNS and certificate of MKTX_PUBLIC_URL",
        )
    if status != HTTPStatus.OK:
        return failed(f"the public address answers {status}", f"let the proxy pass {PATH} to the gateway")
    if _response_token(raw) != crc_answer(settings.x_consumer_secret.get_secret_value().encode(), token):
        return failed("answered wrongly", "let what runs there have the same MKTX_X_CONSUMER_SECRET, and restart it")
    return ok("answered rightly through the public address")


async def clock(installation: Installation) -> Finding:
    """Look whether our clock is like X's."""
    before = installation.clock.now()
    try:
        async with installation.session.get(installation.given.x_api_base_url + "/", allow_redirects=False) as response:
            told = response.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return failed(f"X is not to be reached ({type(error).__name__})", "check the network and MKTX_X_API_BASE_URL")
    after = installation.clock.now()
    theirs = _date(told)
    if theirs is None:
        return warning("X did not tell the time", "check MKTX_X_API_BASE_URL")
    # The header is cut to whole seconds.
    return judge_skew(before + (after - before) / 2 - (theirs + timedelta(milliseconds=500)))


def judge_skew(skew: timedelta) -> Finding:
    """Judge how far our clock is ahead of X's."""
    way = "ahead of" if skew > timedelta() else "behind"
    found = f"{abs(skew.total_seconds()):.0f} s {way} X's"
    advice = "have the machine's clock set over the network (NTP)"
    if abs(skew) > _MOST_SKEW:
        return failed(f"{found}: X refuses our signatures", advice)
    if abs(skew) > _MUCH_SKEW:
        return warning(found, advice)
    return ok("like X's")


def _app(installation: Installation) -> XApp:
    return XApp(installation.given, installation.session, installation.clock)


def _of_x(error: XApiError, advice: str) -> Finding:
    reason = f"{error.failure.reason}{f', {error.x_status}' if error.x_status else ''}"
    if error.failure.kind is FailureKind.RATE_LIMIT:
        return warning(f"X's limit is used up ({reason})", "try again in a quarter of an hour")
    if error.failure.kind is FailureKind.TEMPORARY:
        return failed(f"X is not to be reached ({reason})", "check the network and MKTX_X_API_BASE_URL, or try again")
    return failed(f"X refuses ({reason})", advice)


def _ours(settings: Settings, webhooks: list[XWebhook]) -> XWebhook | None:
    url = settings.public_url + PATH
    return next((hook for hook in webhooks if hook.id == settings.x_webhook_id or hook.url == url), None)


def _response_token(raw: bytes) -> object:
    try:
        answer: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return answer.get("response_token") if isinstance(answer, dict) else None


def _date(header: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


CHECKS = (
    Check("X bearer token", _of_real_x(bearer_token)),
    Check("X account tokens", _of_real_x(account_tokens), deadline_s=60.0),
    Check("X webhook", _of_real_x(webhook)),
    Check("X challenge", _of_real_x(challenge)),
    Check("clock", _of_real_x(clock)),
)
