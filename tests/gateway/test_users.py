from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.ids import new_id
from gateway.login import log_in, renew
from storage.refresh_tokens import Holder
from storage.standings import STALE_AFTER
from storage.users import Users
from tests.gateway.conftest import NOW, Api
from tests.gateway.people import colleague, signed_in


def email() -> str:
    return f"{new_id()}@example.com"


async def test_an_invited_person_logs_in_with_the_password_that_is_shown_once(api: Api) -> None:
    await api.database["loginAttempts"].delete_many({})
    address = email()
    status, answer = await api.post("/users", {"email": address.upper(), "name": "Ann", "roles": ["agent"]})
    assert status == 200
    invited = answer["data"]
    password = invited.pop("initialPassword")
    assert (invited["email"], invited["name"], invited["roles"], invited["status"]) == (
        address,
        "Ann",
        ["agent"],
        "active",
    )
    assert (await log_in(api.deps, address, password, "127.0.0.1")).access_token
    assert (await api.get(f"/users/{invited['id']}"))[1]["data"] == invited
    stored = await api.database["users"].find_one({"_id": invited["id"]})
    assert stored is not None
    assert stored["passwordHash"].startswith("$argon2id$")
    assert password not in str(stored)


async def test_an_invitation_repeated_after_its_answer_was_lost_invites_one_person(api: Api) -> None:
    await api.database["loginAttempts"].delete_many({})
    body, headers = {"email": email(), "name": "Ann", "roles": ["agent"]}, {"Idempotency-Key": "one"}
    _, first = await api.post("/users", body, headers=headers)
    # As a gateway leaves it that died before it had answered.
    lost = {"status": None, "body": None, "reservedAt": None}
    await api.database["idempotencyKeys"].update_many({"merchantId": api.merchant_id}, {"$set": lost})
    status, second = await api.post("/users", body, headers=headers)
    assert (status, second["data"]["id"]) == (200, first["data"]["id"])
    assert await api.database["users"].count_documents({"merchantId": api.merchant_id}) == 1
    assert (await log_in(api.deps, str(body["email"]), second["data"]["initialPassword"], "127.0.0.1")).access_token


async def test_people_are_listed_and_filtered(api: Api) -> None:
    ann = await colleague(api, "owner")
    bob = await colleague(api, "agent", status="disabled")
    cid = await colleague(api, "agent", "viewer")
    await colleague(api.other_merchant(), "agent")
    for query, found in [
        ("", [ann, bob, cid]),
        ("?status=disabled", [bob]),
        ("?role=agent", [bob, cid]),
        ("?role=agent&status=active", [cid]),
        ("?skip=1&take=1", [bob]),
    ]:
        status, answer = await api.get(f"/users{query}")
        assert status == 200
        assert [each["id"] for each in answer["data"]] == found
        assert not [each for each in answer["data"] if "passwordHash" in each]
    assert (await api.get("/users?role=root"))[0] == 400


async def test_an_address_is_taken_once_over_all_merchants(api: Api) -> None:
    address = email()
    body = {"email": address, "name": "Ann", "roles": ["viewer"]}
    assert (await api.post("/users", body))[0] == 200
    status, answer = await api.other_merchant().post("/users", body)
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")


@pytest.mark.parametrize(
    "changed",
    [
        {"email": "no address"},
        {"email": "@"},
        {"email": "a\u0000@example.com"},
        {"email": None},
        {"name": ""},
        {"roles": []},
        {"roles": ["root"]},
        {"roles": ["agent", "agent"]},
        {"merchantId": "another"},
        {"passwordHash": "x"},
        {"status": "active"},
    ],
)
async def test_an_invitation_that_is_wrong_is_refused(api: Api, changed: dict[str, object]) -> None:
    body = {"email": email(), "name": "Ann", "roles": ["viewer"]} | changed
    assert (await api.post("/users", body))[0] == 422


async def test_a_change_leaves_alone_what_it_does_not_name(api: Api) -> None:
    user_id = await colleague(api, "agent")
    status, answer = await api.put(f"/users/{user_id}", {"name": "Renamed"})
    assert (status, answer["data"]["name"], answer["data"]["roles"]) == (200, "Renamed", ["agent"])
    _, answer = await api.put(f"/users/{user_id}", {"roles": ["viewer"]})
    assert (answer["data"]["name"], answer["data"]["roles"], answer["data"]["status"]) == (
        "Renamed",
        ["viewer"],
        "active",
    )
    assert (await api.put(f"/users/{user_id}", {}))[1]["data"] == answer["data"]
    for wrong in ({"roles": None}, {"status": "gone"}, {"email": "new@example.com"}, {"merchantId": "x"}):
        assert (await api.put(f"/users/{user_id}", wrong))[0] == 422


async def test_an_admin_neither_makes_nor_changes_nor_disables_an_owner(api: Api) -> None:
    admin = await signed_in(api, "admin")
    owner, agent = await colleague(api, "owner"), await colleague(api, "agent")
    before = await api.database["users"].find({"merchantId": api.merchant_id}).to_list(None)
    answers = [
        await admin.post("/users", {"email": email(), "name": "Ann", "roles": ["viewer", "owner"]}),
        await admin.put(f"/users/{agent}", {"roles": ["owner"]}),
        await admin.put(f"/users/{owner}", {"status": "disabled"}),
        await admin.put(f"/users/{owner}", {"roles": ["viewer"]}),
        await admin.put(f"/users/{owner}", {"name": "Renamed"}),
    ]
    assert [(status, answer["code"]) for status, answer in answers] == [(403, "FORBIDDEN")] * 5
    assert await api.database["users"].find({"merchantId": api.merchant_id}).to_list(None) == before
    assert (await admin.put(f"/users/{agent}", {"roles": ["admin"]}))[0] == 200


async def test_nobody_raises_themselves(api: Api) -> None:
    admin = await signed_in(api, "admin")
    assert (await admin.put(f"/users/{admin.user_id}", {"roles": ["owner"]}))[0] == 403
    # A token of before, when the person was an admin still.
    lowered = replace(await signed_in(api, "agent"), roles=["admin"])
    assert (await lowered.put(f"/users/{lowered.user_id}", {"roles": ["admin"]}))[0] == 403
    stored = await api.database["users"].find_one({"_id": lowered.user_id})
    assert stored is not None
    assert stored["roles"] == ["agent"]


@pytest.mark.parametrize("change", [{"status": "disabled"}, {"roles": ["admin"]}])
async def test_the_last_active_owner_stays(api: Api, change: dict[str, object]) -> None:
    owner = await signed_in(api, "owner")
    await colleague(api, "owner", status="disabled")
    await colleague(api.other_merchant(), "owner")
    status, answer = await owner.put(f"/users/{owner.user_id}", change)
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert (await owner.put(f"/users/{owner.user_id}", {"name": "Still here"}))[0] == 200
    await colleague(api, "owner")
    assert (await owner.put(f"/users/{owner.user_id}", change))[0] == 200


async def test_owners_who_disable_each_other_at_once_leave_one(api: Api) -> None:
    for _ in range(3):
        shop = api.other_merchant()
        owners = [await signed_in(shop, "owner") for _ in range(4)]
        changes = [{"status": "disabled"}, {"roles": ["viewer"]}]
        # Each goes by a token that was good when the request began.
        answers = await asyncio.gather(
            *(owner.put(f"/users/{owner.user_id}", changes[number % 2]) for number, owner in enumerate(owners))
        )
        assert sorted(status for status, _ in answers) == [200, 200, 200, 409]
        left = {"merchantId": shop.merchant_id, "roles": "owner", "status": "active"}
        assert await api.database["users"].count_documents(left) == 1


async def test_of_two_changes_at_once_the_later_one_is_told(api: Api) -> None:
    user_id = await colleague(api, "agent")
    users = Users(api.database)
    seen = await users.get(api.merchant_id, user_id)
    assert seen is not None
    await users.change(api.merchant_id, seen, {"roles": ["owner"]})
    with pytest.raises(Exception, match="somebody else"):
        await users.change(api.merchant_id, seen, {"roles": ["viewer"]})


async def test_who_is_disabled_is_out_at_once(api: Api) -> None:
    victim = await signed_in(api, "agent")
    assert (await victim.get("/contacts"))[0] == 200
    now = api.deps.clock.now()
    for token in ("one", "two"):
        holder = Holder(api.merchant_id, victim.user_id, family=new_id())
        await api.deps.repositories.refresh_tokens.add(token + victim.user_id, holder, now + timedelta(days=1))
    assert (await api.put(f"/users/{victim.user_id}", {"status": "disabled"}))[0] == 200
    status, answer = await victim.get("/contacts")
    assert (status, answer["code"]) == (401, "UNAUTHORIZED")
    tokens = await api.database["refreshTokens"].find({"userId": victim.user_id}).to_list(None)
    assert [token["revokedAt"] is not None for token in tokens] == [True, True]
    assert (await api.put(f"/users/{victim.user_id}", {"status": "active"}))[0] == 200
    assert (await victim.get("/contacts"))[0] == 200
    with pytest.raises(Exception, match="does not hold"):
        await renew(api.deps, "one" + victim.user_id)


async def test_another_gateway_refuses_who_is_disabled_within_seconds(api: Api) -> None:
    user_id = await colleague(api, "agent")
    standings = api.deps.repositories.standings
    known = await standings.of(api.merchant_id, user_id, NOW)
    assert known is not None
    assert known.active
    await api.database["users"].update_one({"_id": user_id}, {"$set": {"status": "disabled"}})
    assert await standings.of(api.merchant_id, user_id, NOW + STALE_AFTER - timedelta(milliseconds=1)) == known
    later = await standings.of(api.merchant_id, user_id, NOW + STALE_AFTER)
    assert later is not None
    assert not later.active
    assert timedelta(seconds=5) >= STALE_AFTER


async def test_a_token_gives_no_more_than_the_person_may_today(api: Api) -> None:
    lowered = replace(await signed_in(api, "viewer"), roles=["owner"])
    assert (await lowered.get("/users"))[0] == 200
    assert (await lowered.post("/users", {"email": email(), "name": "Ann", "roles": ["viewer"]}))[0] == 403
    narrowed = replace(await signed_in(api, "owner"), roles=["viewer"])
    assert (await narrowed.post("/users", {"email": email(), "name": "Ann", "roles": ["viewer"]}))[0] == 403
