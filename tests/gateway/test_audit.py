from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from pymongo.errors import AutoReconnect

from domain.ids import new_id
from gateway.app import API_ROUTES
from gateway.audit_trail import action_of
from gateway.dependencies import Dependencies
from storage.audit import AuditEntry, AuditFilter, AuditTrail
from storage.client import Database
from storage.indexes import INDEXES
from storage.paging import Slice
from tests.gateway.conftest import NOW, Api, later, serve
from tests.gateway.people import colleague

PASSWORD = "a good password"


async def trail(api: Api, query: str = "") -> list[dict[str, Any]]:
    status, answer = await api.get(f"/audit{query}")
    assert status == 200
    assert answer["pagination"]["total"] >= len(answer["data"])
    return list(answer["data"])


def entry(merchant_id: str, **fields: object) -> AuditEntry:
    return {  # type: ignore[return-value]
        "_id": new_id(),
        "merchantId": merchant_id,
        "at": NOW,
        "actor": {"kind": "user", "id": "ann"},
        "action": "POST /users",
        "targets": {},
        "requestId": "r",
        "address": "127.0.0.1",
        "status": 200,
    } | fields


async def test_a_change_says_who_did_what_when_and_from_where(api: Api) -> None:
    user_id = await colleague(api)
    before = api.deps.clock.now()
    await api.put(f"/users/{user_id}", {"name": "A secret name"}, headers={"X-Request-Id": "request-7"})
    (noted,) = await trail(api)
    assert noted.pop("id")
    assert before.isoformat()[:10] <= noted.pop("at")[:10]
    assert noted == {
        "merchantId": api.merchant_id,
        "actor": {"kind": "user", "id": api.user_id},
        "action": "PUT /users/{userId}",
        "targets": {"userId": user_id},
        "createdId": None,
        "fields": ["name"],
        "requestId": "request-7",
        "address": "127.0.0.1",
        "status": 200,
    }
    assert "A secret name" not in str(await api.database["audit"].find({"merchantId": api.merchant_id}).to_list(None))


async def test_a_machine_is_noted_by_its_key(api: Api) -> None:
    _, answer = await api.post("/api-keys", {"name": "Till", "roles": ["agent"]})
    conversation_id, key = await api.dialogue(), answer["data"]
    sent = {"Authorization": f"Bearer {key['key']}"}
    await api.post(f"/conversations/{conversation_id}/messages", {"content": "a message text"}, headers=sent)
    newest, oldest = await trail(api)
    assert newest["actor"] == {"kind": "key", "id": key["id"]}
    assert newest["targets"] == {"conversationId": conversation_id}
    assert (oldest["actor"]["kind"], oldest["action"]) == ("user", "POST /api-keys")
    stored = str(await api.database["audit"].find({"merchantId": api.merchant_id}).to_list(None))
    assert "a message text" not in stored
    assert key["key"] not in stored


async def test_something_new_is_noted_by_its_id_and_a_change_by_the_names_of_its_fields(api: Api) -> None:
    account_id = await api.account()
    wanted = {"accountId": account_id, "twitterUserId": str(uuid4().int)[:18], "displayName": "A secret name"}
    _, answer = await api.post("/contacts", wanted)
    contact_id = answer["data"]["id"]
    await api.put(f"/contacts/{contact_id}", {"attributes": {"notes": "a secret"}, "displayName": "Ann"})
    await api.post(f"/contacts/{contact_id}/tags", {"tags": ["vip"]})
    await api.delete(f"/contacts/{contact_id}")
    noted = [(each["action"], each["createdId"], each["fields"]) for each in reversed(await trail(api))]
    assert noted == [
        ("POST /contacts", contact_id, ["accountId", "displayName", "twitterUserId"]),
        ("PUT /contacts/{contactId}", None, ["attributes", "displayName"]),
        ("POST /contacts/{contactId}/tags", None, ["tags"]),
        ("DELETE /contacts/{contactId}", None, []),
    ]
    assert "secret" not in str(await api.database["audit"].find({"merchantId": api.merchant_id}).to_list(None))


async def test_what_is_refused_or_only_read_or_answered_again_is_not_noted(api: Api) -> None:
    await api.get("/users")
    await api.as_role("viewer").post("/api-keys", {"name": "Till", "roles": ["agent"]})
    await api.post("/api-keys", {"name": "Till", "roles": []})
    await api.put(f"/users/{new_id()}", {"name": "Ann"})
    await api.http.post("/api/v1/auth/refresh", json={"refreshToken": "unknown"})
    assert await trail(api) == []
    for _ in range(3):
        headers = {"Idempotency-Key": "one"}
        assert (await api.post("/api-keys", {"name": "Till", "roles": ["agent"]}, headers=headers))[0] == 200
    assert len(await trail(api)) == 1


async def test_logins_are_noted_refused_ones_too(api: Api) -> None:
    await api.database["loginAttempts"].delete_many({})
    email = f"{new_id()}@example.com"
    await colleague(api, "owner", _id=api.user_id, email=email, passwordHash=await api.deps.passwords.hash(PASSWORD))
    for password in (PASSWORD, "wrong"):
        await api.http.post("/api/v1/auth/login", json={"email": email, "password": password})
    await api.http.post("/api/v1/auth/login", json={"email": f"{new_id()}@example.com", "password": PASSWORD})
    noted = await trail(api)
    assert [each["status"] for each in noted] == [401, 200]
    assert {each["action"] for each in noted} == {"POST /auth/login"}
    assert {each["actor"]["id"] for each in noted} == {api.user_id}
    assert email not in str(noted)


async def test_a_login_is_not_taken_for_the_next_request_of_the_connection(api: Api) -> None:
    await api.database["loginAttempts"].delete_many({})
    email = f"{new_id()}@example.com"
    await colleague(api, "owner", _id=api.user_id, email=email, passwordHash=await api.deps.passwords.hash(PASSWORD))
    await api.http.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
    await api.http.post("/api/v1/auth/login", json={"email": f"{new_id()}@example.com", "password": PASSWORD})
    await api.http.post("/api/v1/auth/refresh", json={"refreshToken": "unknown"})
    assert len(await trail(api)) == 1


async def test_entries_are_filtered_and_paged_newest_first(api: Api) -> None:
    audit = api.deps.repositories.audit
    for minute, (person, action) in enumerate([("ann", "POST /users"), ("bob", "POST /users"), ("ann", "PUT /flows")]):
        audit.note(
            entry(
                api.merchant_id,
                at=later(minutes=minute),
                actor={"kind": "user", "id": person},
                action=action,
                requestId=str(minute),
            )
        )
    for query, found in [
        ("", "210"),
        ("?actor=ann", "20"),
        ("?action=POST%20/users", "10"),
        ("?actor=ann&action=POST%20/users", "0"),
        ("?from=2026-01-18T10:01:00Z", "21"),
        ("?to=2026-01-18T10:01:00Z", "0"),
        ("?from=2026-01-18T17:00:30%2B07:00&to=2026-01-18T10:01:30Z", "1"),
        ("?skip=1&take=1", "1"),
        ("?actor=nobody", ""),
    ]:
        assert "".join(each["requestId"] for each in await trail(api, query)) == found
    for wrong in ("?from=yesterday", "?from=1700000000", "?since=2026-01-18T10:01:00Z", "?to=2026-01-18T10:00:00"):
        assert (await api.get(f"/audit{wrong}"))[0] == 400
    assert await trail(api.other_merchant()) == []


async def test_a_normal_stop_loses_nothing(deps: Dependencies, gateway_database: Database) -> None:
    async with serve(deps) as http:
        api = Api(http, gateway_database, new_id(), new_id(), ["owner"], deps)
        calls = [api.post("/api-keys", {"name": "Till", "roles": ["agent"]}) for _ in range(20)]
        assert {status for status, _ in await asyncio.gather(*calls)} == {200}
    assert await gateway_database["audit"].count_documents({"merchantId": api.merchant_id}) == 20


class _Flaky:
    """A collection whose first inserts fail, one of them after it was carried out."""

    def __init__(self, database: Database) -> None:
        self._collection = database["audit"]
        self.tries = 0

    async def insert_many(self, documents: list[dict[str, Any]], **options: Any) -> None:
        self.tries += 1
        if self.tries == 1:
            raise AutoReconnect("away")
        await self._collection.insert_many(documents, **options)
        if self.tries == 2:
            raise AutoReconnect("the answer was lost")


async def test_entries_wait_for_a_database_that_is_away_and_are_written_once(gateway_database: Database) -> None:
    audit, merchant_id = AuditTrail(gateway_database), new_id()
    flaky = _Flaky(gateway_database)
    audit._collection = flaky  # type: ignore[assignment]
    for number in range(3):
        audit.note(entry(merchant_id, requestId=str(number)))
    await audit.close()
    assert flaky.tries == 3
    documents, total = await AuditTrail(gateway_database).page(merchant_id, AuditFilter(), Slice())
    assert total == 3
    assert [each["requestId"] for each in documents] == ["2", "1", "0"]


def test_every_route_that_changes_something_is_named_once() -> None:
    actions = [action_of(route) for route in API_ROUTES]
    assert len(actions) == len(set(actions))
    assert "POST /auth/login" in actions
    assert not [action for action in actions if "/api/v1" in action]


def test_entries_go_after_four_hundred_days() -> None:
    documents = [model.document for model in INDEXES["audit"]]
    assert [each["expireAfterSeconds"] for each in documents if "expireAfterSeconds" in each] == [400 * 86_400]


async def test_a_disabled_person_s_login_is_noted_as_refused(api: Api) -> None:
    await api.database["loginAttempts"].delete_many({})
    email = f"{new_id()}@example.com"
    hashed = await api.deps.passwords.hash(PASSWORD)
    user_id = await colleague(api, "agent", email=email, passwordHash=hashed, status="disabled")
    await api.http.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
    assert [(each["actor"]["id"], each["status"]) for each in await trail(api)] == [(user_id, 401)]


async def test_what_only_looks_is_not_noted_though_it_is_a_post(api: Api) -> None:
    looking = [route for route in API_ROUTES if route.method != "GET" and not route.changes]
    assert {action_of(route) for route in looking} >= {
        "POST /templates/{templateId}/preview",
        "POST /segments/{segmentId}/preview",
    }
    assert not [route for route in looking if route.method != "POST"]
    _, made = await api.post("/templates", {"name": new_id(), "type": "text", "content": "Hello"})
    assert (await api.post(f"/templates/{made['data']['id']}/preview"))[0] == 200
    assert [each["action"] for each in await trail(api)] == ["POST /templates"]
