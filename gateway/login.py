"""Getting, renewing and giving up tokens (contract, part 3)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Self

import structlog

from domain.errors import LimitExceeded, Unauthenticated
from domain.ids import new_id
from gateway.audit_trail import note_login_of
from gateway.dependencies import Dependencies
from gateway.models.auth import TokenPair
from storage.refresh_tokens import Holder
from storage.users import UserDocument

log = structlog.get_logger()

_ACTIVE = "active"
_RETRY_S = 60
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Attempt:
    """A proof of a password that has been begun: a failure until it is known to be none."""

    deps: Dependencies
    id: str
    keys: tuple[str, ...]

    @classmethod
    async def begin(cls, deps: Dependencies, account: str, address: str) -> Self:
        """Begin one for an account, whatever it is known by, from an address.

        Raises:
            LimitExceeded: after too many failures from this address or for this account.
        """
        keys = (f"address|{address}", f"account|{sha256(account.lower().encode()).hexdigest()}")
        attempt, most = cls(deps, new_id(), keys), deps.settings.login_attempts_per_minute
        if not await deps.repositories.login_attempts.begin(attempt.id, keys, deps.clock.now(), most):
            log.warning("login.limited", address=address)
            raise LimitExceeded("Too many failed logins; try again later", retry_after_s=_RETRY_S)
        return attempt

    async def succeeded(self) -> None:
        """Have it count as no failure."""
        await self.deps.repositories.login_attempts.forget(self.id, self.keys)


async def log_in(deps: Dependencies, email: str, password: str, address: str) -> TokenPair:
    """Return tokens for the right password; a wrong one and an unknown address look and last the same.

    Raises:
        LimitExceeded: after too many failures from this address or for this account.
        Unauthenticated: when the credentials don't hold.
    """
    users = deps.repositories.users
    attempt = await Attempt.begin(deps, email, address)
    user = await users.by_email(email)
    if user is not None:
        note_login_of(user["merchantId"], user["_id"])
    holds = await deps.passwords.verify(password, None if user is None else user["passwordHash"])
    if user is None or not holds or user["status"] != _ACTIVE:
        log.info("login.refused", address=address)
        raise Unauthenticated("E-mail address or password is wrong")
    await attempt.succeeded()
    proven = user["passwordHash"]
    if deps.passwords.is_outdated(proven):
        fresh = await deps.passwords.hash(password)
        if await users.replace_password_hash(user["merchantId"], user["_id"], proven, fresh):
            proven = fresh
    pair = await begin_family(deps, user, proven)
    log.info("login.accepted", user_id=user["_id"])
    return pair


async def begin_family(deps: Dependencies, user: UserDocument, proven: str) -> TokenPair:
    """Return tokens of a new family for a person who has proven the password of this hash.

    Raises:
        Unauthenticated: when the password was changed meanwhile, which revokes the tokens that were there before.
    """
    tokens, now = deps.repositories.refresh_tokens, deps.clock.now()
    holder = Holder(user["merchantId"], user["_id"], family=new_id())
    pair = _pair(deps, user)
    await tokens.add(pair.refresh_token, holder, now + _lifetime(deps))
    today = await deps.repositories.users.get(user["merchantId"], user["_id"])
    if today is None or today["passwordHash"] != proven:
        await tokens.revoke_family(holder.family, now)
        raise Unauthenticated("E-mail address or password is wrong")
    return pair


async def renew(deps: Dependencies, refresh_token: str) -> TokenPair:
    """Use a refresh token up and return new tokens, with the roles that the person has now.

    Raises:
        Unauthenticated: when the token does not hold, or the person may not work any more.
    """
    tokens, now = deps.repositories.refresh_tokens, deps.clock.now()
    holder = await tokens.use(refresh_token, now)
    user = await deps.repositories.users.get(holder.merchant_id, holder.user_id)
    if user is None or user["status"] != _ACTIVE:
        await tokens.revoke_family(holder.family, now)
        raise Unauthenticated("The refresh token does not hold")
    pair = _pair(deps, user)
    await tokens.replace(refresh_token, pair.refresh_token, holder, now + _lifetime(deps), now)
    return pair


async def log_out(deps: Dependencies, refresh_token: str) -> None:
    """Revoke a refresh token and all that descend from the same login; an unknown one is nobody's business."""
    await deps.repositories.refresh_tokens.revoke(refresh_token, deps.clock.now())


def _pair(deps: Dependencies, user: UserDocument) -> TokenPair:
    access = deps.tokens.issue(user["_id"], user["merchantId"], user["roles"])
    return TokenPair.model_validate(
        {
            "accessToken": access,
            "refreshToken": secrets.token_urlsafe(_TOKEN_BYTES),
            "expiresIn": deps.settings.access_token_ttl_s,
        }
    )


def _lifetime(deps: Dependencies) -> timedelta:
    return timedelta(seconds=deps.settings.refresh_token_ttl_s)
