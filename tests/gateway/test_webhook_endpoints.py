from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.clock import ManualClock
from domain.errors import Unavailable
from domain.ids import new_id
from gateway.dependencies import Dependencies
from gateway.events.kinds import EVENTS
from storage.webhook_endpoints import MOST_ENDPOINTS, MOST_SECRETS
from tests.gateway.conftest import NOW, Actors, Api, serve
from tests.gateway.webhook_endpoints import created, delivery, endpoint

URL = "https://shop.example.com/hooks"


async def test_an_endpoint_is_shown_with_its_secret_once(api: Api) -> None:
    account_id = await api.account()
    made = await created(api, accountId=account_id, description="Order desk")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert {name: made[name] for name in ("url", "events", "accountId", "description")} == {
        "url": URL,
        "events": ["message.created"],
        "accountId": account_id,
        "description": "Order desk",
    }
    assert (made["status"], made["statusReason"], made["failingSince"]) == ("active", None, None)
    assert [each["expiresAt"] for each in made["secrets"]] == [None]
    _, one = await api.get(f"/webhook-endpoints/{made['id']}")
    _, several = await api.get("/webhook-endpoints")
    assert one["data"] == made
    assert several["data"] == [made]
    assert several["pagination"]["total"] == 1
    stored = await api.database["webhookEndpoints"].find_one({"_id": made["id"]})
    assert secret.removeprefix("whsec_") not in str(stored)


async def test_what_is_changed_is_what_is_given(api: Api, actors: Actors) -> None:
    made = await created(api)
    path = f"/webhook-endpoints/{made['id']}"
    _, answer = await api.put(path, {"events": ["conversation.closed", "message.updated"]})
    assert answer["data"]["events"] == ["conversation.closed", "message.updated"]
    assert answer["data"]["url"] == URL
    account_id = await api.account()
    await api.put(path, {"accountId": account_id, "url": f"{URL}/2"})
    _, answer = await api.put(path, {"accountId": None})
    assert (answer["data"]["accountId"], answer["data"]["url"]) == (None, f"{URL}/2")
    _, answer = await api.put(path, {"status": "disabled"})
    assert (answer["data"]["status"], answer["data"]["statusReason"]) == ("disabled", "by_request")
    _, answer = await api.put(path, {"description": "still off"})
    assert (answer["data"]["status"], answer["data"]["statusReason"]) == ("disabled", "by_request")
    _, answer = await api.put(path, {"status": "active"})
    assert (answer["data"]["status"], answer["data"]["statusReason"]) == ("active", None)
    assert actors.calls == [("changed", made["id"])] * 6


async def test_one_that_was_disabled_for_its_failures_begins_anew(api: Api) -> None:
    made = await created(api)
    fields = {"status": "disabled", "statusReason": "failing", "failingSince": NOW}
    await api.database["webhookEndpoints"].update_one({"_id": made["id"]}, {"$set": fields})
    _, answer = await api.get(f"/webhook-endpoints/{made['id']}")
    assert (answer["data"]["statusReason"], answer["data"]["failingSince"]) == ("failing", "2026-01-18T10:00:00Z")
    _, answer = await api.put(f"/webhook-endpoints/{made['id']}", {"status": "active"})
    assert (answer["data"]["statusReason"], answer["data"]["failingSince"]) == (None, None)


async def test_a_deleted_endpoint_is_gone_for_every_call(api: Api, actors: Actors) -> None:
    endpoint_id = await endpoint(api)
    delivery_id = await delivery(api, endpoint_id)
    status, answer = await api.delete(f"/webhook-endpoints/{endpoint_id}")
    assert (status, answer["data"]) == (200, None)
    assert actors.calls == [("changed", endpoint_id)]
    calls: list[tuple[str, str, object]] = [
        ("GET", "", None),
        ("PUT", "", {"description": "x"}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
        ("GET", f"/deliveries/{delivery_id}", None),
        ("POST", f"/deliveries/{delivery_id}/retry", None),
    ]
    for method, path, body in calls:
        status, answer = await api.call(method, f"/webhook-endpoints/{endpoint_id}{path}", json=body)
        assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND"), (method, path)
    _, answer = await api.get("/webhook-endpoints")
    assert answer["data"] == []


async def test_a_merchant_has_no_more_than_twenty_however_many_are_made_at_once(api: Api) -> None:
    body = {"url": URL, "events": ["message.created"]}
    answers = await asyncio.gather(*(api.post("/webhook-endpoints", body) for _ in range(MOST_ENDPOINTS + 3)))
    statuses = [status for status, _ in answers]
    # Those who were slower too often may be refused while there was room; nobody is let in beyond it.
    assert statuses.count(200) <= MOST_ENDPOINTS
    assert set(statuses) == {200, 409}
    while (await api.post("/webhook-endpoints", body))[0] == 200:
        continue
    assert await api.database["webhookEndpoints"].count_documents({"merchantId": api.merchant_id}) == MOST_ENDPOINTS
    _, listed = await api.get("/webhook-endpoints?take=1")
    await api.delete(f"/webhook-endpoints/{listed['data'][0]['id']}")
    assert (await api.post("/webhook-endpoints", body))[0] == 200
    assert (await api.post("/webhook-endpoints", body))[0] == 409
    assert (await api.other_merchant().post("/webhook-endpoints", body))[0] == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "http://shop.example.com/hooks"}, "url"),
        ({"url": "https://127.0.0.1/hooks"}, "url"),
        ({"url": "https://shop.internal/hooks"}, "url"),
        ({"url": "https://user:pw@shop.example.com/"}, "url"),
        ({"url": ""}, "url"),
        ({"url": "https://shop.example.com/" + "x" * 2048}, "url"),
        ({"events": []}, "events"),
        ({"events": ["message.deleted"]}, "events.0"),
        ({"events": ["reset"]}, "events.0"),
        ({"events": ["message.created", "message.created"]}, "events"),
        ({"accountId": "nobody's"}, "accountId"),
        ({"description": "x" * 501}, "description"),
        ({"secret": "whsec_of_my_own"}, "secret"),
        ({"merchantId": "another"}, "merchantId"),
    ],
)
async def test_what_can_not_be_an_endpoint_is_refused(api: Api, changes: dict[str, Any], field: str) -> None:
    status, answer = await api.post("/webhook-endpoints", {"url": URL, "events": ["message.created"]} | changes)
    assert (status, answer["details"]["field"]) == (422, field)
    made = await created(api)
    status, answer = await api.put(f"/webhook-endpoints/{made['id']}", changes)
    assert (status, answer["details"]["field"]) == (422, field)


async def test_an_account_of_another_merchant_is_as_unknown_as_any(api: Api) -> None:
    foreign = await api.other_merchant().account()
    body = {"url": URL, "events": ["message.created"], "accountId": foreign}
    assert (await api.post("/webhook-endpoints", body))[0] == 422


async def test_private_addresses_are_taken_where_a_setting_allows_it(deps: Dependencies, api: Api) -> None:
    settings = deps.settings.model_copy(update={"fetch_private_addresses": True})
    async with serve(replace(deps, settings=settings)) as http:
        allowed = Api(http, api.database, api.merchant_id, api.user_id, ["owner"], deps)
        made = await created(allowed, url="http://127.0.0.1:8080/hooks")
        assert made["url"] == "http://127.0.0.1:8080/hooks"


async def test_every_event_of_the_streams_can_be_asked_for(api: Api) -> None:
    made = await created(api, events=[*EVENTS])
    assert made["events"] == [*EVENTS]


async def test_the_same_request_again_answers_the_same_secret(api: Api) -> None:
    body, key = {"url": URL, "events": ["message.created"]}, {"Idempotency-Key": new_id()}
    _, first = await api.post("/webhook-endpoints", body, headers=key)
    _, again = await api.post("/webhook-endpoints", body, headers=key)
    assert first == again
    kept = await api.database["idempotencyKeys"].find_one({"merchantId": api.merchant_id})
    assert first["data"]["secret"] not in str(kept)
    path = f"/webhook-endpoints/{first['data']['id']}/rotate-secret"
    key = {"Idempotency-Key": new_id()}
    _, first = await api.post(path, {}, headers=key)
    _, again = await api.post(path, {}, headers=key)
    assert first == again


async def test_a_creation_that_was_cut_off_and_repeated_is_one_endpoint(api: Api) -> None:
    endpoints, endpoint_id = api.deps.repositories.webhook_endpoints, new_id()
    fields: Any = {"url": URL, "events": ["message.created"], "accountId": None, "description": ""}
    _, lost = await endpoints.add(api.merchant_id, endpoint_id, fields, NOW)
    document, secret = await endpoints.add(api.merchant_id, endpoint_id, fields, NOW)
    assert secret != lost
    assert endpoints.secrets_of(document, NOW) == [secret]
    assert await api.database["webhookEndpoints"].count_documents({"merchantId": api.merchant_id}) == 1


async def test_former_secrets_hold_for_the_overlap_and_no_longer(api: Api) -> None:
    endpoints, clock = api.deps.repositories.webhook_endpoints, ManualClock(NOW)
    made = await created(api)
    path = f"/webhook-endpoints/{made['id']}/rotate-secret"
    status, answer = await api.post(path, {"overlapSeconds": 3600})
    assert status == 200
    assert answer["data"]["secret"] != made["secret"]
    newest, former = answer["data"]["secrets"]
    assert newest["expiresAt"] is None
    assert former["id"] == made["secrets"][0]["id"]
    assert former["expiresAt"] is not None
    for _ in range(MOST_SECRETS + 1):
        _, answer = await api.post(path)
    assert len(answer["data"]["secrets"]) == MOST_SECRETS
    _, answer = await api.post(path, {"overlapSeconds": 0})
    assert len(answer["data"]["secrets"]) == 1
    document = await endpoints.get(api.merchant_id, made["id"])
    assert document is not None
    assert endpoints.secrets_of(document, clock.now()) == [answer["data"]["secret"]]
    assert (await api.post(path, {"overlapSeconds": 7 * 86_400 + 1}))[0] == 422
    assert (await api.post(path, {"overlapSeconds": -1}))[0] == 422


async def test_a_second_rotation_does_not_prolong_the_first(api: Api) -> None:
    endpoints, endpoint_id = api.deps.repositories.webhook_endpoints, await endpoint(api)
    first = await endpoints.rotate(api.merchant_id, endpoint_id, timedelta(hours=1), NOW)
    second = await endpoints.rotate(api.merchant_id, endpoint_id, timedelta(hours=24), NOW + timedelta(minutes=30))
    assert first is not None
    assert second is not None
    ends = [each["expiresAt"] for each in second[0]["secrets"]]
    assert ends == [None, NOW + timedelta(hours=24, minutes=30), NOW + timedelta(hours=1)]
    third = await endpoints.rotate(api.merchant_id, endpoint_id, timedelta(hours=24), NOW + timedelta(hours=2))
    assert third is not None
    assert len(third[0]["secrets"]) == 3


async def test_a_test_event_is_a_delivery(api: Api, actors: Actors) -> None:
    endpoint_id = await endpoint(api)
    status, answer = await api.post(f"/webhook-endpoints/{endpoint_id}/test")
    assert status == 200
    assert (answer["data"]["type"], answer["data"]["status"]) == ("webhook.test", "pending")
    assert actors.calls == [("handle", endpoint_id)]
    _, one = await api.get(f"/webhook-endpoints/{endpoint_id}/deliveries/{answer['data']['id']}")
    assert one["data"] == answer["data"]


async def test_deliveries_are_listed_newest_first_and_filtered(api: Api) -> None:
    endpoint_id, other = await endpoint(api), await endpoint(api)
    first = await delivery(api, endpoint_id, status="failed", reason="attempts_used_up", endedAt=NOW, dueAt=None)
    second = await delivery(api, endpoint_id, "message.updated")
    attempt = {"at": NOW, "status": 500, "error": None, "milliseconds": 12, "answer": "broken"}
    third = await delivery(api, endpoint_id, attempts=1, lastAttempt=attempt)
    await delivery(api, other)
    path = f"/webhook-endpoints/{endpoint_id}/deliveries"

    async def listed(query: str = "") -> list[str]:
        _, answer = await api.get(path + query)
        return [each["id"] for each in answer["data"]]

    assert await listed() == [third, second, first]
    assert await listed("?status=pending") == [third, second]
    assert await listed("?status=failed") == [first]
    assert await listed("?status=delivered") == []
    assert await listed("?type=message.updated") == [second]
    assert await listed("?type=message.created&status=pending") == [third]
    assert await listed("?skip=1&take=1") == [second]
    _, answer = await api.get(f"{path}/{third}")
    assert answer["data"]["lastAttempt"] == {**attempt, "at": "2026-01-18T10:00:00Z"}
    assert answer["data"]["nextAttemptAt"] == "2026-01-18T10:00:00Z"
    assert (await api.get(f"{path}?status=lost"))[0] == 400
    assert (await api.get(f"{path}/{new_id()}"))[0] == 404


async def test_a_delivery_is_sent_again_under_its_own_id(api: Api, actors: Actors) -> None:
    endpoint_id = await endpoint(api)
    failed: dict[str, Any] = {"status": "failed", "reason": "attempts_used_up", "attempts": 10, "tries": 10}
    delivery_id = await delivery(api, endpoint_id, **failed, endedAt=NOW, dueAt=None)
    path = f"/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}"
    status, answer = await api.post(f"{path}/retry")
    assert (status, answer["data"]["id"], answer["data"]["status"]) == (200, delivery_id, "pending")
    assert (answer["data"]["attempts"], answer["data"]["endedAt"]) == (10, None)
    assert answer["data"]["nextAttemptAt"] is not None
    assert actors.calls == [("handle", endpoint_id)]
    stored = await api.database["webhookDeliveries"].find_one({"eventId": delivery_id})
    assert stored is not None
    assert stored["tries"] == 0
    other = await endpoint(api)
    assert (await api.post(f"/webhook-endpoints/{other}/deliveries/{delivery_id}/retry"))[0] == 404


async def test_nothing_is_sent_to_a_disabled_endpoint_by_hand(api: Api, actors: Actors) -> None:
    endpoint_id = await endpoint(api)
    delivery_id = await delivery(api, endpoint_id, status="failed", endedAt=NOW, dueAt=None)
    await api.put(f"/webhook-endpoints/{endpoint_id}", {"status": "disabled"})
    actors.calls.clear()
    for path in ("test", f"deliveries/{delivery_id}/retry"):
        status, answer = await api.post(f"/webhook-endpoints/{endpoint_id}/{path}")
        assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert actors.calls == []


async def test_what_is_written_counts_where_the_actors_are_not_to_be_reached(api: Api, actors: Actors) -> None:
    endpoint_id = await endpoint(api)
    actors.webhooks_fail = Unavailable("The actors are starting")
    assert (await api.post(f"/webhook-endpoints/{endpoint_id}/test"))[0] == 200
    assert (await api.put(f"/webhook-endpoints/{endpoint_id}", {"status": "disabled"}))[0] == 200
    assert (await api.delete(f"/webhook-endpoints/{endpoint_id}"))[0] == 200


async def test_what_was_made_and_changed_is_in_the_audit_trail(api: Api) -> None:
    endpoint_id = await endpoint(api)
    await api.post(f"/webhook-endpoints/{endpoint_id}/rotate-secret")
    await api.deps.repositories.audit.close()
    _, answer = await api.get("/audit")
    actions = [(each["action"], each["targets"]) for each in answer["data"]]
    assert ("POST /webhook-endpoints/{endpointId}/rotate-secret", {"endpointId": endpoint_id}) in actions
