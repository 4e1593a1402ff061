from __future__ import annotations

from pydantic import BaseModel

from domain.errors import LimitExceeded, NotFound
from gateway.login import log_in, log_out, renew
from gateway.models.auth import Login, RefreshToken, TokenPair
from gateway.models.base import NoQuery
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
    Route("POST", f"{_BASE}/logout", logout, NoQuery, RefreshToken, BaseModel, summary="Log out", public=True),
)
