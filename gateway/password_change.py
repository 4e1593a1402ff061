"""Changing a password: by the person who knows it, or by a token that an administrator has given out."""

from __future__ import annotations

import secrets
from datetime import timedelta

import structlog

from domain.errors import Conflict, InvalidContent, NotAllowed, NotFound, Problem, Unauthenticated
from gateway.audit_trail import note_login_of
from gateway.dependencies import Dependencies
from gateway.login import Attempt, begin_family
from gateway.models.auth import TokenPair
from gateway.models.users import PasswordReset
from gateway.passwords import check_strength
from gateway.principal import Principal
from storage.password_resets import Resetting
from storage.users import UserDocument

log = structlog.get_logger()

RESET_LIFETIME = timedelta(hours=24)
_TOKEN_BYTES = 32
_ACTIVE = "active"


async def change_password(deps: Dependencies, caller: Principal, old: str, new: str, address: str) -> TokenPair:
    """Change the caller's password and return tokens; all refresh tokens that were given out before are revoked.

    Raises:
        NotAllowed: when a machine asks: its key is not to become a person.
        NotFound: when the person is known to an external token issuer only.
        LimitExceeded: after too many wrong passwords from this address or for this account, logins included.
        InvalidContent: when the old password is wrong, or the new one too weak or no other.
        Conflict: when the password was changed by somebody else at this moment.
    """
    users = deps.repositories.users
    if caller.key_id is not None:
        raise NotAllowed("Passwords are changed by people")
    user = await users.get(caller.merchant_id, caller.user_id)
    if user is None:
        raise NotFound("Your password is kept elsewhere")
    attempt = await Attempt.begin(deps, user["email"], address)
    # Wrong passwords are noted as those of a login are.
    note_login_of(user["merchantId"], user["_id"])
    if not await deps.passwords.verify(old, user["passwordHash"]):
        log.info("password.refused", user_id=user["_id"], address=address)
        raise InvalidContent("The old password is wrong", problems=(Problem("oldPassword", "is wrong"),))
    await attempt.succeeded()
    check_strength(new, user["email"])
    if new == old:
        raise InvalidContent("The password is the same", problems=(Problem("newPassword", "is the old one"),))
    fresh = await deps.passwords.hash(new)
    if not await users.replace_password_hash(user["merchantId"], user["_id"], user["passwordHash"], fresh):
        raise Conflict("The password was changed by somebody else meanwhile")
    await _log_out_everywhere(deps, user)
    log.info("password.changed", user_id=user["_id"])
    return await begin_family(deps, user, fresh)


async def issue_reset_token(deps: Dependencies, user: UserDocument, issued_by: str) -> PasswordReset:
    """Return a token by which a person sets a new password within `RESET_LIFETIME`."""
    token, expires_at = secrets.token_urlsafe(_TOKEN_BYTES), deps.clock.now() + RESET_LIFETIME
    who = Resetting(user["merchantId"], user["_id"])
    await deps.repositories.password_resets.add(token, who, issued_by, expires_at)
    log.info("password.reset_begun", user_id=user["_id"])
    return PasswordReset.model_validate({"token": token, "expiresAt": expires_at})


async def reset_password(deps: Dependencies, token: str, new: str, address: str) -> None:
    """Set the password of the person that a token was given out for; all of their refresh tokens are revoked.

    A password that is too weak leaves the token as good as it was.

    Raises:
        LimitExceeded: after too many tokens from this address that don't hold, failed logins included.
        Unauthenticated: when the token is unknown, used or expired, or the person may not work any more.
        InvalidContent: when the password is too weak.
    """
    repositories, now = deps.repositories, deps.clock.now()
    attempt = await Attempt.begin(deps, token, address)
    who = await repositories.password_resets.holder(token, now)
    user = None if who is None else await repositories.users.get(who.merchant_id, who.user_id)
    if user is None or user["status"] != _ACTIVE:
        raise Unauthenticated("The reset token does not hold")
    await attempt.succeeded()
    note_login_of(user["merchantId"], user["_id"])
    check_strength(new, user["email"])
    fresh = await deps.passwords.hash(new)
    if not await repositories.password_resets.use(token, now):
        raise Unauthenticated("The reset token does not hold")
    await repositories.users.set_password_hash(user["merchantId"], user["_id"], fresh)
    await _log_out_everywhere(deps, user)
    log.info("password.reset", user_id=user["_id"])


async def _log_out_everywhere(deps: Dependencies, user: UserDocument) -> None:
    """Revoke what a person, or somebody else, has got by the former password."""
    merchant_id, user_id = user["merchantId"], user["_id"]
    await deps.repositories.refresh_tokens.revoke_user(merchant_id, user_id, deps.clock.now())
    await deps.repositories.password_resets.end(Resetting(merchant_id, user_id))
