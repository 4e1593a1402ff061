from __future__ import annotations

from pydantic import BaseModel

from domain.errors import Conflict, LimitExceeded, NotFound
from gateway.login import log_in, log_out, renew
from gateway.models.auth import ChangePassword, Login, RefreshToken, ResetPassword, TokenPair
from gateway.models.base import NoQuery
from gateway.password_change import change_password, reset_password
from gateway.routing import AnyRoute, Call, Reply, Route, nothing

_BASE = "/api/v1/auth"


async def login(call: Call[NoQuery, Login]) -> Reply[TokenPair]:
    """Return tokens for an e-mail address and a password."""
    return Reply(await log_in(call.deps, call.body.email, call.body.password, call.address))


async def refresh(call: Call[NoQuery, RefreshToken]) -> Reply[TokenPair]:
    """Return new tokens for a refresh token, which is used up."""
    return Reply(await renew(call.deps, call.body.refresh_token))


async def logout(call: Call[NoQuery, RefreshToken]) -> Reply[BaseModel]:
    """Revoke a refresh token and its family."""
    await log_out(call.deps, call.body.refresh_token)
    return nothing()


async def put_password(call: Call[NoQuery, ChangePassword]) -> Reply[TokenPair]:
    """Change the caller's password; all refresh tokens are revoked, and new tokens answered."""
    body = call.body
    return Reply(await change_password(call.deps, call.principal, body.old_password, body.new_password, call.address))


async def use_reset_token(call: Call[NoQuery, ResetPassword]) -> Reply[BaseModel]:
    """Set a password by the token that an administrator gave out; it is good once."""
    await reset_password(call.deps, call.body.token, call.body.new_password, call.address)
    return nothing()


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{_BASE}/login",
        login,
        NoQuery,
        Login,
        TokenPair,
        summary="Log in",
        public=True,
        errors=(LimitExceeded, NotFound),
    ),
    Route(
        "POST", f"{_BASE}/refresh", refresh, NoQuery, RefreshToken, TokenPair, summary="Renew the tokens", public=True
    ),
    Route(
        "PUT",
        f"{_BASE}/password",
        put_password,
        NoQuery,
        ChangePassword,
        TokenPair,
        summary="Change the password",
        errors=(LimitExceeded, NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_BASE}/password/reset",
        use_reset_token,
        NoQuery,
        ResetPassword,
        BaseModel,
        summary="Set a password by a reset token",
        public=True,
        errors=(LimitExceeded,),
    ),
    Route("POST", f"{_BASE}/logout", logout, NoQuery, RefreshToken, BaseModel, summary="Log out", public=True),
)
