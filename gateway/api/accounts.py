from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from actors.account import AccountActor
from domain.errors import Conflict, NotFound, XRefused
from gateway.account_connection import connect, disconnect, reactivate, tell_actor
from gateway.models.accounts import (
    AccountAnswer,
    AccountDetails,
    AccountLimits,
    AccountQuery,
    ChangeAccount,
    ConnectAccount,
)
from gateway.models.base import InputModel, NoBody, NoQuery
from gateway.models.business_hours import HourRange
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, Call, Reply, Route, nothing
from storage.accounts import AccountDocument, Tokens

_ONE = f"{API}/accounts/{{accountId}}"


async def connect_account(call: Call[NoQuery, ConnectAccount]) -> Reply[AccountAnswer]:
    """Connect the X account that the tokens belong to."""
    tokens = Tokens(call.body.oauth_token, call.body.oauth_token_secret)
    account = await connect(call.deps, call.merchant_id, call.resource_id, tokens)
    return Reply(AccountAnswer.model_validate(account))


async def list_accounts(call: Call[AccountQuery, NoBody]) -> Reply[AccountAnswer]:
    """Return the merchant's accounts, latest connected first."""
    accounts = call.deps.repositories.accounts
    documents, total = await accounts.page(call.merchant_id, call.query.status, call.query.part)
    return Reply([AccountAnswer.model_validate(each) for each in documents], call.query, total)


async def get_account(call: Call[NoQuery, NoBody]) -> Reply[AccountDetails]:
    """Return one account with its statistics."""
    account = await _account(call)
    return Reply(AccountDetails.model_validate({**account, "statistics": await _statistics(call, account["_id"])}))


async def change_account(call: Call[NoQuery, ChangeAccount]) -> Reply[AccountAnswer]:
    """Change an account's settings."""
    accounts, account_id = call.deps.repositories.accounts, call.path["accountId"]
    changes = changed_paths(call.body)
    account = await accounts.change(call.merchant_id, account_id, changes, call.deps.clock.now())
    if account is None:
        raise NotFound("Account not found")
    await tell_actor(call.deps, account["_id"])
    return Reply(AccountAnswer.model_validate(account))


async def disconnect_account(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Disconnect an account and revoke its tokens."""
    await disconnect(call.deps, call.merchant_id, call.path["accountId"])
    return nothing()


async def reactivate_account(call: Call[NoQuery, NoBody]) -> Reply[AccountAnswer]:
    """Let an account send again that X has refused as a whole, once it is in order there; within a minute it does."""
    account = await reactivate(call.deps, call.merchant_id, call.path["accountId"])
    return Reply(AccountAnswer.model_validate(account))


async def get_limits(call: Call[NoQuery, NoBody]) -> Reply[AccountLimits]:
    """Return every window that the account's sending is held to."""
    account = await _account(call)
    windows = await call.deps.actors.ref(AccountActor, account["_id"]).limits()
    return Reply(AccountLimits.model_validate({"windows": [_window(each) for each in windows]}))


def changed_paths(change: InputModel, prefix: str = "") -> dict[str, object]:
    """Return the fields that a change sets, by their path in the document; what isn't given isn't there."""
    paths: dict[str, object] = {}
    shown: Mapping[str, object] = change.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for name, field in type(change).model_fields.items():
        if name not in change.model_fields_set:
            continue
        key = field.alias or name
        value = getattr(change, name)
        # Settings within settings are changed one by one; a range of hours is replaced whole.
        if isinstance(value, InputModel) and not isinstance(value, HourRange):
            paths |= changed_paths(value, f"{prefix}{key}.")
        else:
            paths[prefix + key] = shown[key]
    return paths


async def _account(call: Call[NoQuery, NoBody]) -> AccountDocument:
    account = await call.deps.repositories.accounts.get(call.merchant_id, call.path["accountId"])
    if account is None:
        raise NotFound("Account not found")
    return account


async def _statistics(call: Call[NoQuery, NoBody], account_id: str) -> dict[str, int]:
    repositories, merchant_id = call.deps.repositories, call.merchant_id
    contacts, conversations, messages = await asyncio.gather(
        repositories.contacts.count(merchant_id, account_id),
        repositories.conversations.count(merchant_id, account_id),
        repositories.rollups.messages_in_month(merchant_id, account_id, call.deps.clock.now()),
    )
    return {"totalContacts": contacts, "totalConversations": conversations, "messagesThisMonth": messages}


def _window(state: Mapping[str, Any]) -> dict[str, object]:
    """Return a window as the actor describes it, under the API's names."""
    return {
        "name": state["name"],
        "limit": state["limit"],
        "used": state["used"],
        "remaining": max(0, state["limit"] - state["used"]),
        "resetsAt": state["resets_at"],
    }


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{API}/accounts",
        connect_account,
        NoQuery,
        ConnectAccount,
        AccountAnswer,
        summary="Connect an X account",
        roles=ADMINS,
        errors=(Conflict, XRefused),
        idempotent=True,
    ),
    Route(
        "GET", f"{API}/accounts", list_accounts, AccountQuery, NoBody, AccountAnswer, summary="List connected accounts"
    ),
    Route("GET", _ONE, get_account, NoQuery, NoBody, AccountDetails, summary="Get an account", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_account,
        NoQuery,
        ChangeAccount,
        AccountAnswer,
        summary="Change an account's settings",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _ONE,
        disconnect_account,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Disconnect an account",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_ONE}/reactivate",
        reactivate_account,
        NoQuery,
        NoBody,
        AccountAnswer,
        summary="Let a refused account send again",
        roles=ADMINS,
        errors=(NotFound, Conflict, XRefused),
    ),
    Route(
        "GET",
        f"{_ONE}/limits",
        get_limits,
        NoQuery,
        NoBody,
        AccountLimits,
        summary="Get an account's sending limits",
        errors=(NotFound,),
    ),
)
