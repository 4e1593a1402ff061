from __future__ import annotations

import secrets

from domain.errors import Conflict, NotAllowed, NotFound
from domain.roles import check_does_not_rise, check_may_manage, known_roles
from gateway.models.base import NoBody, NoQuery
from gateway.models.users import ChangeUser, InvitedUser, InviteUser, PasswordReset, UserAnswer, UserQuery
from gateway.password_change import issue_reset_token
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route
from storage.users import UserDocument, UserFilter

_ONE = f"{API}/users/{{userId}}"
_PASSWORD_BYTES = 15


async def list_users(call: Call[UserQuery, NoBody]) -> Reply[UserAnswer]:
    """Return the merchant's people, who was there first first."""
    query = call.query
    wanted = UserFilter(query.status, query.role)
    documents, total = await call.deps.repositories.users.page(call.merchant_id, wanted, query.part)
    return Reply([UserAnswer.model_validate(each) for each in documents], query, total)


async def invite_user(call: Call[NoQuery, InviteUser]) -> Reply[InvitedUser]:
    """Add a person, and return the password that they log in with."""
    invited = call.body
    check_may_manage(call.principal.roles, frozenset(), frozenset(invited.roles))
    users, password = call.deps.repositories.users, secrets.token_urlsafe(_PASSWORD_BYTES)
    user: UserDocument = {
        "_id": call.resource_id,
        "merchantId": call.merchant_id,
        "email": invited.email.lower(),
        "passwordHash": await call.deps.passwords.hash(password),
        "name": invited.name,
        "roles": [role.value for role in invited.roles],
        "status": "active",
        "createdAt": call.deps.clock.now(),
    }
    try:
        await users.insert(user)
    except Conflict:
        # The same request, repeated because its answer was lost: nobody has seen the first password.
        if await users.get(call.merchant_id, call.resource_id) is None:
            raise
        await users.set_password_hash(call.merchant_id, call.resource_id, user["passwordHash"])
    return Reply(InvitedUser.model_validate({**user, "initialPassword": password}))


async def get_user(call: Call[NoQuery, NoBody]) -> Reply[UserAnswer]:
    """Return one person."""
    return Reply(UserAnswer.model_validate(await _user(call)))


async def change_user(call: Call[NoQuery, ChangeUser]) -> Reply[UserAnswer]:
    """Change a person's name, roles or status; who is disabled is logged out everywhere."""
    seen, repositories, caller = await _user(call), call.deps.repositories, call.principal
    changes = call.body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    before, after = known_roles(seen["roles"]), known_roles(changes.get("roles", seen["roles"]))
    check_may_manage(caller.roles, before, after)
    if seen["_id"] == caller.user_id:
        check_does_not_rise(before, after)
    changed = await repositories.users.change(call.merchant_id, seen, changes)
    repositories.standings.forget(call.merchant_id, seen["_id"])
    if changed["status"] == "disabled":
        await repositories.refresh_tokens.revoke_user(call.merchant_id, seen["_id"], call.deps.clock.now())
    return Reply(UserAnswer.model_validate(changed))


async def begin_password_reset(call: Call[NoQuery, NoBody]) -> Reply[PasswordReset]:
    """Return a token by which a person sets a new password; tokens that were given out before end."""
    if call.principal.key_id is not None:
        # Else whoever has a key could become a person, whose keys outlive it.
        raise NotAllowed("Passwords are reset by people")
    user = await _user(call)
    roles = known_roles(user["roles"])
    check_may_manage(call.principal.roles, roles, roles)
    return Reply(await issue_reset_token(call.deps, user, call.principal.user_id))


async def _user(call: Call[QueryT, BodyT]) -> UserDocument:
    user = await call.deps.repositories.users.get(call.merchant_id, call.path["userId"])
    if user is None:
        raise NotFound("User not found")
    return user


ROUTES: tuple[AnyRoute, ...] = (
    Route("GET", f"{API}/users", list_users, UserQuery, NoBody, UserAnswer, summary="List users"),
    Route(
        "POST",
        f"{API}/users",
        invite_user,
        NoQuery,
        InviteUser,
        InvitedUser,
        summary="Invite a user",
        roles=ADMINS,
        errors=(Conflict,),
        idempotent=True,
        secret=True,
    ),
    Route("GET", _ONE, get_user, NoQuery, NoBody, UserAnswer, summary="Get a user", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_user,
        NoQuery,
        ChangeUser,
        UserAnswer,
        summary="Change a user's name, roles or status",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_ONE}/password-reset",
        begin_password_reset,
        NoQuery,
        NoBody,
        PasswordReset,
        summary="Let a user set a new password",
        roles=ADMINS,
        errors=(NotFound,),
        idempotent=True,
        secret=True,
    ),
)
