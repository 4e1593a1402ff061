from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.errors import Conflict
from domain.ids import new_id
from storage.client import Database
from storage.merchants import Merchants
from storage.users import UserDocument, Users

NOW = datetime(2026, 1, 18, 10, tzinfo=UTC)


def person(merchant_id: str, email: str) -> UserDocument:
    return {
        "_id": new_id(),
        "merchantId": merchant_id,
        "email": email,
        "passwordHash": "hash",
        "name": "A Person",
        "roles": ["owner"],
        "status": "active",
        "createdAt": NOW,
    }


async def test_an_address_is_one_person_however_it_is_written(database: Database) -> None:
    users = Users(database)
    await users.insert(person("m", "Ann@Example.com"))
    with pytest.raises(Conflict):
        await users.insert(person("n", "ann@example.COM"))
    found = await users.by_email("ANN@EXAMPLE.COM")
    assert found is not None
    assert (found["email"], found["merchantId"]) == ("ann@example.com", "m")


async def test_people_are_found_by_their_own_merchant_only(database: Database) -> None:
    users, ann = Users(database), person("m", "ann@example.com")
    await users.insert(ann)
    assert await users.get("m", ann["_id"]) == ann
    assert await users.get("n", ann["_id"]) is None
    assert await users.is_active("m", ann["_id"])
    assert not await users.is_active("n", ann["_id"])
    await users.set_password_hash("n", ann["_id"], "stolen")
    assert await users.get("m", ann["_id"]) == ann


async def test_a_merchant_that_exists_keeps_its_name(database: Database) -> None:
    merchants = Merchants(database)
    assert not await merchants.exists("m")
    await merchants.ensure("m", "First", NOW)
    await merchants.ensure("m", "Second", NOW)
    stored = await database["merchants"].find_one({"_id": "m"})
    assert stored == {"_id": "m", "name": "First", "createdAt": NOW}
    assert await merchants.exists("m")
