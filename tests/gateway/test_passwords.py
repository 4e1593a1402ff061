"""Changing a password, and setting one by a token that an administrator gives out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import InvalidContent
from domain.ids import new_id
from gateway.dependencies import Dependencies
from gateway.password_change import RESET_LIFETIME
from gateway.passwords import SHORTEST, Passwords, check_strength
from storage.api_keys import ApiKeys, FreshKey
from tests.gateway.conftest import NOW, Api, serve
from tests.gateway.people import colleague, signed_in

AUTH = "/api/v1/auth"
OLD = "the password of before"
NEW = "correct horse battery"


@pytest.fixture
async def ann(api: Api, passwords: Passwords) -> Api:
    # Failures of one test would count against the next: they all come from one address.
    await api.database["loginAttempts"].delete_many({})
    user_id = await colleague(api, "agent", passwordHash=await passwords.hash(OLD))
    return replace(api, user_id=user_id, roles=["agent"])


async def logged_in(ann: Api, password: str = OLD) -> tuple[int, dict[str, Any]]:
    body = {"email": f"{ann.user_id}@example.com", "password": password}
    status, answer = await ann.post(f"{AUTH}/login", body)
    return status, answer.get("data") or {}


async def changed(ann: Api, old: str = OLD, new: str = NEW, **kwargs: Any) -> tuple[int, dict[str, Any]]:
    return await ann.put(f"{AUTH}/password", {"oldPassword": old, "newPassword": new}, **kwargs)


async def renewed(ann: Api, tokens: dict[str, Any]) -> int:
    return (await ann.post(f"{AUTH}/refresh", {"refreshToken": tokens["refreshToken"]}))[0]


async def token_for(api: Api, ann: Api) -> str:
    status, answer = await api.post(f"/users/{ann.user_id}/password-reset")
    assert status == 200
    return str(answer["data"]["token"])


async def reset(api: Api, token: str, new: str = NEW) -> tuple[int, dict[str, Any]]:
    return await api.post(f"{AUTH}/password/reset", {"token": token, "newPassword": new})


async def test_a_changed_password_is_the_one_that_holds(ann: Api) -> None:
    _, before = await logged_in(ann)
    status, answer = await changed(ann)
    assert status == 200
    assert (await logged_in(ann))[0] == 401
    assert (await logged_in(ann, NEW))[0] == 200
    assert await renewed(ann, before) == 401
    assert await renewed(ann, answer["data"]) == 200
    users = await ann.database["users"].find({"merchantId": ann.merchant_id}).to_list(None)
    assert NEW not in str(users)


async def test_a_wrong_old_password_changes_nothing_and_is_limited_with_the_logins(ann: Api) -> None:
    assert (await logged_in(ann, "wrong"))[0] == 401
    for _ in range(2):
        status, answer = await changed(ann, "wrong")
        assert (status, answer["details"]["field"]) == (422, "oldPassword")
    assert (await changed(ann))[0] == 429
    await ann.database["loginAttempts"].delete_many({})
    assert (await logged_in(ann))[0] == 200


@pytest.mark.parametrize(
    "weak", ["", "short", "a" * 30, "abababababababab", OLD, "x" * 1025], ids=lambda text: text[:12] or "empty"
)
async def test_a_weak_password_is_refused_and_the_old_one_stays(ann: Api, weak: str) -> None:
    status, answer = await changed(ann, new=weak)
    assert (status, answer["details"]["field"]) == (422, "newPassword")
    assert (await logged_in(ann))[0] == 200


@pytest.mark.parametrize("weak", ["ann.smith", "Ann.Smith1", "elevenchars", "aaaabbbbaaaabbbb", "ann.smith-2026"])
def test_what_is_easily_guessed_is_too_weak(weak: str) -> None:
    with pytest.raises(InvalidContent):
        check_strength(weak, "ann.smith@example.com")


@pytest.mark.parametrize(
    "strong", ["twelve chars", "correct horse battery", "ann.smith and her dog", "\u00fcber l\u00e4nge z\u00e4hlt"]
)
def test_length_makes_it_strong(strong: str) -> None:
    assert len(strong) >= SHORTEST
    check_strength(strong, "ann.smith@example.com")


async def test_two_changes_at_once_leave_one_password(ann: Api) -> None:
    wanted = [NEW, "another good password"]
    answers = await asyncio.gather(*(changed(ann, new=each) for each in wanted))
    assert {status for status, _ in answers} <= {200, 409, 422}
    assert [status for status, _ in answers].count(200) == 1
    for each, (status, _) in zip(wanted, answers, strict=True):
        assert (await logged_in(ann, each))[0] == (200 if status == 200 else 401)


async def test_a_login_by_the_former_password_at_the_same_moment_is_worth_nothing(
    ann: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven, go_on = asyncio.Event(), asyncio.Event()
    verify = Passwords.verify

    async def slow(self: Passwords, password: str, password_hash: str | None) -> bool:
        holds = await verify(self, password, password_hash)
        proven.set()
        await go_on.wait()
        return holds

    with monkeypatch.context() as patched:
        patched.setattr(Passwords, "verify", slow)
        logging_in = asyncio.create_task(logged_in(ann))
        await proven.wait()
    assert (await changed(ann))[0] == 200
    go_on.set()
    assert (await logging_in)[0] == 401


async def test_a_machine_and_a_stranger_have_no_password(ann: Api) -> None:
    key = FreshKey.make()
    await ApiKeys(ann.database).put(
        {
            "_id": new_id(),
            "merchantId": ann.merchant_id,
            "createdBy": ann.user_id,
            "createdAt": NOW,
            "prefix": key.prefix,
            "secretHash": key.secret_hash,
            "name": "Till",
            "roles": ["agent"],
            "expiresAt": None,
            "lastUsedAt": None,
            "revokedAt": None,
        }
    )
    assert (await changed(ann, headers={"Authorization": f"Bearer {key.text}"}))[0] == 403
    assert (await changed(replace(ann, user_id=new_id())))[0] == 404
    assert (await ann.put(f"{AUTH}/password", {}, headers={"Authorization": ""}))[0] == 401


async def test_a_reset_token_sets_a_password_once(api: Api, ann: Api) -> None:
    _, before = await logged_in(ann)
    token = await token_for(api, ann)
    assert (await logged_in(ann))[0] == 200
    assert await reset(api, token) == (200, {"success": True, "data": None})
    assert (await logged_in(ann, NEW))[0] == 200
    assert (await logged_in(ann))[0] == 401
    assert await renewed(ann, before) == 401
    status, answer = await reset(api, token, "another good password")
    assert (status, answer["code"]) == (401, "UNAUTHORIZED")
    assert (await logged_in(ann, NEW))[0] == 200


async def test_a_reset_token_used_twice_at_once_is_good_once(api: Api, ann: Api) -> None:
    token = await token_for(api, ann)
    answers = await asyncio.gather(*(reset(api, token, f"{NEW} {number}") for number in range(3)))
    assert sorted(status for status, _ in answers) == [200, 401, 401]


async def test_the_latest_token_is_the_one_that_holds_and_a_change_ends_it(api: Api, ann: Api) -> None:
    first, second = await token_for(api, ann), await token_for(api, ann)
    assert (await reset(api, first))[0] == 401
    assert (await changed(ann))[0] == 200
    assert (await reset(api, second))[0] == 401


async def test_a_weak_password_leaves_the_token_good(api: Api, ann: Api) -> None:
    token = await token_for(api, ann)
    status, answer = await reset(api, token, "short")
    assert (status, answer["details"]["field"]) == (422, "newPassword")
    assert (await reset(api, token))[0] == 200


async def test_a_token_is_kept_as_a_hash_and_ends_after_a_day(api: Api, ann: Api, deps: Dependencies) -> None:
    token = await token_for(api, ann)
    (stored,) = await api.database["passwordResets"].find({"userId": ann.user_id}).to_list(None)
    assert token not in str(stored)
    assert stored["expiresAt"] - deps.clock.now() > RESET_LIFETIME - timedelta(minutes=5)

    class Tomorrow:
        def now(self) -> Any:
            return deps.clock.now() + RESET_LIFETIME + timedelta(seconds=1)

    async with serve(replace(deps, clock=Tomorrow())) as http:
        assert (await reset(replace(api, http=http), token))[0] == 401


async def test_a_disabled_person_sets_no_password(api: Api, ann: Api) -> None:
    token = await token_for(api, ann)
    await api.database["users"].update_one({"_id": ann.user_id}, {"$set": {"status": "disabled"}})
    assert (await reset(api, token))[0] == 401


async def test_guessing_tokens_is_limited(api: Api, ann: Api) -> None:
    assert [(await reset(api, f"guess {number}"))[0] for number in range(4)] == [401, 401, 401, 429]
    await api.database["loginAttempts"].delete_many({})


async def test_only_who_stands_as_high_resets_and_no_machine(api: Api, ann: Api) -> None:
    admin, agent = await signed_in(api, "admin"), await signed_in(api, "agent")
    owner_id = await colleague(api, "owner")
    assert (await admin.post(f"/users/{owner_id}/password-reset"))[0] == 403
    assert (await agent.post(f"/users/{ann.user_id}/password-reset"))[0] == 403
    assert (await admin.post(f"/users/{ann.user_id}/password-reset"))[0] == 200
    assert (await api.other_merchant().post(f"/users/{ann.user_id}/password-reset"))[0] == 404
    key = {"name": "Till", "roles": ["admin"]}
    _, made = await (await signed_in(api, "owner")).post("/api-keys", key)
    headers = {"Authorization": f"Bearer {made['data']['key']}"}
    assert (await api.post(f"/users/{ann.user_id}/password-reset", headers=headers))[0] == 403


async def test_the_trail_says_who_changed_and_reset_passwords_and_no_password(api: Api, ann: Api) -> None:
    assert (await changed(ann, "wrong"))[0] == 422
    assert (await changed(ann))[0] == 200
    token = await token_for(api, ann)
    assert (await reset(api, token, "another good password"))[0] == 200
    _, answer = await api.get("/audit")
    noted = [(each["action"], each["actor"]["id"], each["status"]) for each in answer["data"]]
    assert noted == [
        ("POST /auth/password/reset", ann.user_id, 200),
        ("POST /users/{userId}/password-reset", api.user_id, 200),
        ("PUT /auth/password", ann.user_id, 200),
        ("PUT /auth/password", ann.user_id, 422),
    ]
    entries = await api.database["audit"].find({"merchantId": api.merchant_id}).to_list(None)
    assert not [word for word in (token, NEW, OLD) if word in str(entries)]
