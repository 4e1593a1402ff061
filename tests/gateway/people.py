"""People and keys of a merchant, as the database has them."""

from __future__ import annotations

from dataclasses import replace

from domain.ids import new_id
from storage.api_keys import ApiKeys, FreshKey
from tests.gateway.conftest import NOW, Api


async def colleague(api: Api, *roles: str, **fields: object) -> str:
    """Return the id of a new person of the merchant."""
    user_id = new_id()
    user = {
        "_id": user_id,
        "merchantId": api.merchant_id,
        "email": f"{user_id}@example.com",
        "passwordHash": "",
        "name": "A Colleague",
        "roles": list(roles) or ["agent"],
        "status": "active",
        "createdAt": NOW,
    } | fields
    await api.database["users"].insert_one(user)
    return str(user["_id"])


async def signed_in(api: Api, *roles: str) -> Api:
    """Return the client of a new person of the merchant."""
    return replace(api, user_id=await colleague(api, *roles), roles=list(roles))


async def api_key(api: Api, *roles: str) -> str:
    """Return the id of a new key of the merchant."""
    fresh, key_id = FreshKey.make(), new_id()
    await ApiKeys(api.database).put(
        {
            "_id": key_id,
            "merchantId": api.merchant_id,
            "prefix": fresh.prefix,
            "secretHash": fresh.secret_hash,
            "name": "Till",
            "roles": list(roles) or ["agent"],
            "createdBy": api.user_id,
            "createdAt": NOW,
            "expiresAt": None,
            "lastUsedAt": None,
            "revokedAt": None,
        }
    )
    return key_id
