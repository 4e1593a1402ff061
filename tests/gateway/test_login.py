from __future__ import annotations

import asyncio

import pytest

from domain.ids import new_id
from gateway.passwords import Passwords
from storage.users import UserDocument
from tests.gateway.conftest import NOW, Api

AUTH = "/api/v1/auth"
PASSWORD = "a good password"


@pytest.fixture
async def email(api: Api, passwords: Passwords) -> str:
    # Failed logins of one test would count against the next: they all come from one address.
    await api.database["loginAttempts"].delete_many({})
    address = f"{new_id()}@example.com"
    user: UserDocument = {
        "_id": api.user_id,
        "merchantId": api.merchant_id,
        "email": address,
        "passwordHash": await passwords.hash(PASSWORD),
        "name": "Owner",
        "roles": ["owner"],
        "status": "active",
        "createdAt": NOW,
    }
    await api.deps.repositories.users.insert(user)
    return address


async def login(api: Api, email: str, password: str = PASSWORD) -> tuple[int, dict[str, str]]:
    response = await api.http.post(f"{AUTH}/login", json={"email": email, "password": password})
    answer = await response.json()
    return response.status, answer.get("data") or {"code": answer["code"], "error": answer["error"]}


async def refresh(api: Api, token: str) -> tuple[int, dict[str, str]]:
    response = await api.http.post(f"{AUTH}/refresh", json={"refreshToken": token})
    answer = await response.json()
    return response.status, answer.get("data") or {"code": answer["code"]}


async def test_a_login_answers_tokens_that_work(api: Api, email: str) -> None:
    status, tokens = await login(api, email.upper())
    assert status == 200
    assert tokens["expiresIn"] == 3600
    response = await api.http.get(
        "/api/v1/mkt-x/accounts", headers={"Authorization": f"Bearer {tokens['accessToken']}"}
    )
    assert response.status == 200
    principal = await api.deps.tokens.verify(tokens["accessToken"])
    assert (principal.user_id, principal.merchant_id, set(principal.roles)) == (
        api.user_id,
        api.merchant_id,
        {"owner"},
    )


async def test_a_wrong_password_and_an_unknown_address_look_the_same(api: Api, email: str) -> None:
    wrong = await login(api, email, "wrong")
    unknown = await login(api, f"{new_id()}@example.com", "wrong")
    assert wrong == unknown == (401, {"code": "UNAUTHORIZED", "error": "E-mail address or password is wrong"})


async def test_a_person_who_left_can_t_log_in(api: Api, email: str) -> None:
    await api.database["users"].update_one({"email": email}, {"$set": {"status": "disabled"}})
    assert (await login(api, email))[0] == 401


async def test_after_too_many_failures_even_the_right_password_waits(api: Api, email: str) -> None:
    statuses = [(await login(api, email, "wrong"))[0] for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    response = await api.http.post(f"{AUTH}/login", json={"email": email, "password": PASSWORD})
    assert response.status == 429
    assert int(response.headers["Retry-After"]) > 0


async def test_failures_at_once_are_limited_too(api: Api, email: str) -> None:
    statuses = [status for status, _ in await asyncio.gather(*(login(api, email, "wrong") for _ in range(12)))]
    assert statuses.count(401) <= 3
    assert set(statuses) <= {401, 429}


async def test_successful_logins_are_not_limited(api: Api, email: str) -> None:
    assert [(await login(api, email))[0] for _ in range(6)] == [200] * 6


async def test_a_refresh_token_is_good_once(api: Api, email: str) -> None:
    _, first = await login(api, email)
    status, second = await refresh(api, first["refreshToken"])
    assert status == 200
    assert second["refreshToken"] != first["refreshToken"]
    assert (await refresh(api, second["refreshToken"]))[0] == 200


async def test_using_a_refresh_token_again_revokes_its_family(api: Api, email: str) -> None:
    _, first = await login(api, email)
    _, other_login = await login(api, email)
    _, second = await refresh(api, first["refreshToken"])
    assert (await refresh(api, first["refreshToken"]))[0] == 401
    assert (await refresh(api, second["refreshToken"]))[0] == 401
    assert (await refresh(api, other_login["refreshToken"]))[0] == 200


async def test_a_refresh_token_used_twice_at_once_leaves_no_good_token(api: Api, email: str) -> None:
    for _ in range(5):
        _, tokens = await login(api, email)
        answers = await asyncio.gather(*(refresh(api, tokens["refreshToken"]) for _ in range(3)))
        for _, answer in answers:
            if "refreshToken" in answer:
                assert (await refresh(api, answer["refreshToken"]))[0] == 401
        assert [status for status, _ in answers].count(200) <= 1


async def test_logging_out_revokes_the_family(api: Api, email: str) -> None:
    _, first = await login(api, email)
    _, second = await refresh(api, first["refreshToken"])
    response = await api.http.post(f"{AUTH}/logout", json={"refreshToken": second["refreshToken"]})
    assert (response.status, await response.json()) == (200, {"success": True, "data": None})
    assert (await refresh(api, second["refreshToken"]))[0] == 401


async def test_a_person_who_left_gets_no_new_tokens(api: Api, email: str) -> None:
    _, tokens = await login(api, email)
    await api.database["users"].update_one({"email": email}, {"$set": {"status": "disabled"}})
    assert (await refresh(api, tokens["refreshToken"]))[0] == 401


async def test_roles_are_those_of_today(api: Api, email: str) -> None:
    _, tokens = await login(api, email)
    await api.database["users"].update_one({"email": email}, {"$set": {"roles": ["viewer"]}})
    _, renewed = await refresh(api, tokens["refreshToken"])
    assert set((await api.deps.tokens.verify(renewed["accessToken"])).roles) == {"viewer"}


async def test_neither_passwords_nor_refresh_tokens_are_stored_in_clear(api: Api, email: str) -> None:
    _, tokens = await login(api, email)
    everything = [
        str(document)
        for name in ("users", "refreshTokens", "loginAttempts")
        for document in await api.database[name].find().to_list(None)
    ]
    assert not [text for text in everything if tokens["refreshToken"] in text or PASSWORD in text]


@pytest.mark.parametrize(
    "body",
    [
        {"email": {"$ne": None}, "password": {"$ne": None}},
        {"email": ["a@example.com"], "password": "x"},
        {"email": "a@example.com"},
        {"email": "a@example.com", "password": "x", "roles": ["owner"]},
    ],
)
async def test_operators_and_unknown_fields_are_no_credentials(api: Api, body: object) -> None:
    response = await api.http.post(f"{AUTH}/login", json=body)
    assert response.status == 422
