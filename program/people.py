"""`run.py merchant`, `user` and `token`: what an operator does to merchants and people, past the API and its roles.

It works on `MKTX_MONGODB_URI`, or on the embedded database of the data directory: that of a running program, else it is
started for the moment.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import ValidationError
from pymongo.errors import PyMongoError

from config.logs import configure_logs
from config.settings import Settings
from domain.errors import Conflict, NotFound
from domain.ids import new_id
from gateway.models.users import InviteUser
from gateway.passwords import Passwords
from gateway.tokens import AccessTokens, WrongTokenKey
from program.doctor_installation import Installation, examining
from storage.client import Database
from storage.indexes import ensure_indexes
from storage.merchants import Merchants
from storage.paging import Slice
from storage.users import UserDocument, UserFilter, Users

_PASSWORD_BYTES = 15
_PAGE = 500


class CannotManage(Exception):
    """What the operator asked for can't be done; the text is one line that says why."""


async def create_merchant(settings: Settings, name: str) -> list[str]:
    """Create a merchant; returns its id.

    Raises:
        CannotManage: when the name is empty or the database is not to be reached.
    """
    if not name.strip():
        raise CannotManage("--name: must not be empty")
    async with managing(settings) as (database, installation):
        merchant_id = new_id()
        await Merchants(database).ensure(merchant_id, name.strip(), installation.clock.now())
    return [merchant_id]


async def create_user(settings: Settings, merchant_id: str, email: str, roles: Sequence[str], name: str) -> list[str]:
    """Create a user of a merchant; returns the id, the address, and a password that is kept as a hash only.

    Raises:
        CannotManage: when there is no such merchant, or a value can't be used, or the address is taken.
    """
    invited = _invited(email, roles, name or email.partition("@")[0])
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    async with managing(settings) as (database, installation):
        if not await Merchants(database).exists(merchant_id):
            raise CannotManage("--merchant: there is no merchant with this id")
        user: UserDocument = {
            "_id": new_id(),
            "merchantId": merchant_id,
            "email": invited.email.lower(),
            "passwordHash": await Passwords().hash(password),
            "name": invited.name,
            "roles": [role.value for role in invited.roles],
            "status": "active",
            "createdAt": installation.clock.now(),
        }
        try:
            await Users(database).insert(user)
        except Conflict as error:
            raise CannotManage(f"--email: {error.message}") from None
    return [f"id        {user['_id']}", f"email     {user['email']}", f"password  {password}"]


async def list_users(settings: Settings) -> list[str]:
    """Return a line for each user: merchant, its name, user, address, roles, status; with tabs between.

    Raises:
        CannotManage: when the database is not to be reached.
    """
    lines: list[str] = []
    async with managing(settings) as (database, _):
        for merchant in await Merchants(database).all():
            for user in await _users_of(database, merchant["_id"]):
                roles = ",".join(user["roles"])
                fields = (merchant["_id"], merchant["name"], user["_id"], user["email"], roles, user["status"])
                lines.append("\t".join(fields))
    return lines


async def access_token(settings: Settings, email: str, minutes: int) -> list[str]:
    """Return an access token for an active user that holds for some minutes.

    Raises:
        CannotManage: when there is no such user, or tokens come from elsewhere.
    """
    async with managing(settings) as (database, installation):
        user = await Users(database).by_email(email)
        if user is None:
            raise CannotManage("--email: there is no user with this address")
        if user["status"] != "active":
            raise CannotManage("--email: the user is disabled")
        lasting = installation.settings.model_copy(update={"access_token_ttl_s": minutes * 60})
        try:
            tokens = AccessTokens(lasting, installation.clock)
            return [tokens.issue(user["_id"], user["merchantId"], user["roles"])]
        except WrongTokenKey as error:
            raise CannotManage(str(error)) from None
        except NotFound:
            raise CannotManage(_no_secret(lasting)) from None


@asynccontextmanager
async def managing(settings: Settings) -> AsyncIterator[tuple[Database, Installation]]:
    """Open the database of an installation, with its indexes: an address must not be taken twice.

    Raises:
        CannotManage: when there is none, or it can't be reached.
    """
    # What is printed may be read by another program: log lines have no place in it.
    configure_logs(settings.model_copy(update={"log_level": "error"}), process="people", to_socket=False)
    embedded = not settings.mongodb_uri.get_secret_value()
    if embedded and not (settings.data_dir / "mongodb").exists():
        raise CannotManage(f"{settings.data_dir} holds no database yet: run serve first, or set MKTX_MONGODB_URI")
    async with examining(settings) as installation:
        if installation.database is None:
            raise CannotManage(installation.no_database)
        try:
            await ensure_indexes(installation.database)
            yield installation.database, installation
        except PyMongoError as error:
            raise CannotManage(f"the database is not to be reached ({type(error).__name__})") from error


def _invited(email: str, roles: Sequence[str], name: str) -> InviteUser:
    try:
        return InviteUser.model_validate({"email": email, "roles": list(roles), "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = {"roles": "role"}.get(str(first["loc"][0]), str(first["loc"][0]))
        raise CannotManage(f"--{option}: {first['msg']}") from None


async def _users_of(database: Database, merchant_id: str) -> list[UserDocument]:
    found: list[UserDocument] = []
    while True:
        users, total = await Users(database).page(merchant_id, UserFilter(), Slice(len(found), _PAGE))
        found += users
        if not users or len(found) >= total:
            return found


def _no_secret(settings: Settings) -> str:
    if settings.jwt_public_key or settings.jwt_jwks_url:
        return "access tokens are issued elsewhere: MKTX_JWT_SECRET is not set"
    return "there is no secret for tokens yet: run serve first, or set MKTX_JWT_SECRET"
