"""What must be in the database before anybody can log in: indexes, a merchant, its owner."""

from __future__ import annotations

from datetime import datetime

from pymongo.errors import DuplicateKeyError

from config.settings import Settings
from domain.clock import SystemClock
from domain.errors import Conflict
from domain.ids import new_id
from gateway.passwords import Passwords
from storage.client import Database, close_client, database_of, open_client
from storage.indexes import ensure_indexes
from storage.merchants import Merchants
from storage.users import UserDocument, Users

_MERCHANT_NAME = "My shop"


async def prepare(settings: Settings) -> None:
    """Create indexes and the first user; safe to repeat."""
    client = open_client(settings)
    try:
        database = database_of(client, settings)
        await ensure_indexes(database)
        await _ensure_owner(database, settings, SystemClock().now())
    finally:
        await close_client(client)


async def _ensure_owner(database: Database, settings: Settings, now: datetime) -> None:
    users = Users(database)
    if await users.by_email(settings.admin_email) is not None:
        return
    merchant_id = new_id()
    await Merchants(database).ensure(merchant_id, _MERCHANT_NAME, now)
    owner: UserDocument = {
        "_id": new_id(),
        "merchantId": merchant_id,
        "email": settings.admin_email.lower(),
        "passwordHash": await Passwords().hash(settings.admin_password.get_secret_value()),
        "name": "Owner",
        "roles": ["owner"],
        "status": "active",
        "createdAt": now,
    }
    try:
        await users.insert(owner)
    except (Conflict, DuplicateKeyError):
        # Another process of the same start was faster.
        return
