from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest

from domain.ids import new_id
from domain.scopes import SCOPES, is_within
from gateway.app import API_ROUTES
from gateway.audit_trail import action_of
from gateway.routing import AnyRoute
from storage.api_keys import ApiKeys
from tests.gateway.conftest import NOW, Api
from tests.gateway.people import api_key, signed_in


async def created(api: Api, *roles: str, **fields: object) -> dict[str, Any]:
    status, answer = await api.post("/api-keys", {"name": "Till", "roles": list(roles) or ["agent"]} | fields)
    assert status == 200
    return dict(answer["data"])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def api_key_text(api: Api, scopes: list[str]) -> str:
    return str((await created(api, "owner", scopes=scopes))["key"])


async def called(api: Api, key: str, path: str = "/contacts", method: str = "GET", json: object = None) -> int:
    status, answer = await api.call(method, path, headers=bearer(key), json=json)
    assert key not in str(answer)
    return status


async def test_a_key_is_shown_once_and_stored_as_a_hash(api: Api) -> None:
    key = await created(api, name="Till 4", expiresAt="2999-01-01T00:00:00+07:00")
    text = key.pop("key")
    assert text.startswith(key["prefix"] + "_")
    assert (key["name"], key["roles"], key["createdBy"], key["lastUsedAt"]) == ("Till 4", ["agent"], api.user_id, None)
    assert key["expiresAt"] == "2998-12-31T17:00:00Z"
    _, answer = await api.get("/api-keys")
    assert answer["data"] == [key]
    stored = await api.database["apiKeys"].find_one({"_id": key["id"]})
    assert stored is not None
    secret = text.removeprefix(key["prefix"] + "_")
    assert secret not in str(stored)
    assert stored["secretHash"] == hashlib.sha256(secret.encode()).hexdigest()


async def test_a_key_calls_for_its_merchant_with_its_roles(api: Api) -> None:
    await api.contact(await api.account())
    text = (await created(api, "viewer"))["key"]
    status, answer = await api.get("/contacts", headers={"Authorization": f"Bearer {text}"})
    assert (status, answer["pagination"]["total"]) == (200, 1)
    assert await called(api, text, "/users", "POST", {}) == 403
    stranger = (await created(api.other_merchant(), "owner"))["key"]
    _, answer = await api.get("/contacts", headers={"Authorization": f"Bearer {stranger}"})
    assert answer["pagination"]["total"] == 0


async def test_a_key_that_does_not_hold_is_refused(api: Api) -> None:
    key = await created(api)
    text, other = key["key"], (await created(api))["key"]
    assert await called(api, text) == 200
    swapped = key["prefix"] + other[other.index("_", 5) :]
    for wrong in (text[:-1], text + "x", text[:-1] + ("A" if text[-1] != "A" else "B"), swapped, "mktx_", "mktx__"):
        assert await called(api, wrong) == 401
    assert await called(api, f"mktx_{'0' * 12}_{'A' * 43}") == 401


async def test_a_revoked_key_is_refused_and_no_longer_listed(api: Api) -> None:
    key = await created(api)
    assert await called(api, key["key"]) == 200
    assert await api.delete(f"/api-keys/{key['id']}") == (200, {"success": True, "data": None})
    assert await called(api, key["key"]) == 401
    assert (await api.get("/api-keys"))[1]["data"] == []
    assert (await api.delete(f"/api-keys/{key['id']}"))[0] == 404


async def test_a_key_holds_until_it_expires(api: Api) -> None:
    key = await created(api, expiresAt="2999-01-01T00:00:00Z")
    keys = ApiKeys(api.database)
    stored = await keys.proven(key["key"], NOW)
    assert stored is not None
    assert stored["expiresAt"] is not None
    assert await keys.proven(key["key"], stored["expiresAt"] - timedelta(milliseconds=1)) is not None
    assert await keys.proven(key["key"], stored["expiresAt"]) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "2999-01-01"},
        {"expiresAt": "2999-01-01T00:00:00"},
        {"expiresAt": 32503680000},
        {"expiresAt": "9999-12-31T23:59:59-14:00"},
        {"roles": []},
        {"roles": ["root"]},
        {"name": ""},
        {"prefix": "mine"},
        {"scopes": []},
        {"scopes": ["contacts"]},
        {"scopes": ["contacts:delete"]},
        {"scopes": ["contacts:read", "contacts:read"]},
        {"createdBy": "somebody"},
    ],
)
async def test_a_key_that_can_t_be_made_is_refused(api: Api, changed: dict[str, object]) -> None:
    status, answer = await api.post("/api-keys", {"name": "Till", "roles": ["agent"]} | changed)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")


async def test_a_key_has_no_more_rights_than_who_made_it(api: Api) -> None:
    admin = await signed_in(api, "admin")
    assert (await admin.post("/api-keys", {"name": "Till", "roles": ["owner"]}))[0] == 403
    text = (await created(admin, "admin"))["key"]
    assert await called(api, text, "/api-keys") == 200
    assert (await api.put(f"/users/{admin.user_id}", {"roles": ["viewer"]}))[0] == 200
    assert await called(api, text, "/api-keys") == 403
    assert await called(api, text) == 200
    assert (await api.put(f"/users/{admin.user_id}", {"status": "disabled"}))[0] == 200
    assert await called(api, text) == 401


async def test_an_admin_does_not_revoke_the_key_of_an_owner(api: Api) -> None:
    key_id = await api_key(api, "owner")
    status, answer = await api.as_role("admin").delete(f"/api-keys/{key_id}")
    assert (status, answer["code"]) == (403, "FORBIDDEN")


async def test_a_key_makes_no_keys(api: Api) -> None:
    text = (await created(api, "owner"))["key"]
    assert await called(api, text, "/api-keys", "POST", {"name": "Child", "roles": ["viewer"]}) == 403


@pytest.mark.parametrize("route", [each for each in API_ROUTES if not each.public], ids=action_of)
async def test_a_key_reaches_what_its_scopes_name_and_nothing_else(api: Api, route: AnyRoute) -> None:
    needed = route.scope
    assert needed in SCOPES if needed else route.path.startswith("/api/v1/auth/")
    others = [scope for scope in SCOPES if needed is None or not is_within([scope], needed)]
    path = re.sub(r"{[^}]*}+", "x", route.path)
    assert await called(api, await api_key_text(api, scopes=others), path, route.method) == 403
    if needed is not None and not route.streams:
        # What was let through may be refused for what it says: there is nothing with the id, and the body is empty.
        allowed = await api.call(route.method, path, headers=bearer(await api_key_text(api, scopes=[needed])), json={})
        assert "scope" not in str(allowed[1].get("error")), allowed


async def test_who_may_write_may_read_there(api: Api) -> None:
    text = (await created(api, "owner", scopes=["contacts:write"]))["key"]
    assert await called(api, text, "/contacts") == 200
    assert await called(api, text, "/conversations") == 403
    status, answer = await api.get("/segments", headers=bearer(text))
    assert (status, answer["error"]) == (403, "The API key has not the scope segments:read")
    (listed,) = (await api.get("/api-keys"))[1]["data"]
    assert listed["scopes"] == ["contacts:write"]


async def test_scopes_give_no_more_than_roles(api: Api) -> None:
    text = (await created(api, "viewer", scopes=["contacts:write"]))["key"]
    assert await called(api, text, "/contacts/x", "DELETE") == 403


async def test_the_last_use_is_written_once_a_minute_at_most(api: Api) -> None:
    key = await created(api)
    assert await called(api, key["key"]) == 200
    shown: list[Any] = []

    async def look() -> None:
        shown[:] = [each["lastUsedAt"] for each in (await api.get("/api-keys"))[1]["data"]]

    for _ in range(200):
        await look()
        if shown[0] is not None:
            break
    assert shown[0] is not None
    keys = ApiKeys(api.database)
    stored = await keys.get(api.merchant_id, key["id"])
    assert stored is not None
    assert stored["lastUsedAt"] is not None
    assert not keys.is_use_due(stored, stored["lastUsedAt"] + timedelta(seconds=59))
    assert keys.is_use_due(stored, stored["lastUsedAt"] + timedelta(minutes=1))
    # Of two requests that saw the same last use, one writes.
    first, second = stored["lastUsedAt"] + timedelta(minutes=1), stored["lastUsedAt"] + timedelta(minutes=2)
    await keys.used(stored, first)
    await keys.used(stored, second)
    after = await keys.get(api.merchant_id, key["id"])
    assert after is not None
    assert after["lastUsedAt"] == first


async def test_a_request_that_is_repeated_after_a_crash_makes_one_key(api: Api) -> None:
    keys, key_id = ApiKeys(api.database), await api_key(api)
    stored = await keys.get(api.merchant_id, key_id)
    assert stored is not None
    await keys.put({**stored, "prefix": new_id()})
    assert await api.database["apiKeys"].count_documents({"merchantId": api.merchant_id}) == 1
