"""What holds for every route: the shape of answers, bodies, queries, paths, ids of requests, health and metrics."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from domain.ids import new_id
from gateway.answers import rfc3339
from gateway.app import API_ROUTES, create_app
from gateway.dependencies import Dependencies, PartHealth
from gateway.durations import duration_text
from gateway.idempotency import HEADER
from gateway.models.base import NoBody
from tests.gateway.conftest import Api, serve

JSON = {"Content-Type": "application/json"}
KNOWN_ERRORS = {"VALIDATION_ERROR", "RESOURCE_NOT_FOUND"}


# --- bodies


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"", JSON, (400, "VALIDATION_ERROR")),
        (b"{", JSON, (400, "VALIDATION_ERROR")),
        (b'{"userId": NaN}', JSON, (400, "VALIDATION_ERROR")),
        (b'{"userId": "\\ud800"}', JSON, (400, "VALIDATION_ERROR")),
        (b"\xff\xfe", JSON, (400, "VALIDATION_ERROR")),
        (b'{"userId": null}', {"Content-Type": "text/plain"}, (400, "VALIDATION_ERROR")),
        (b"userId=me", {"Content-Type": "application/x-www-form-urlencoded"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"<userId/>", {"Content-Type": "application/xml"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (gzip.compress(b"{}", mtime=0), JSON | {"Content-Encoding": "gzip"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", JSON | {"Content-Encoding": "br"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b'{"userId": "' + b"x" * 70_000 + b'"}', JSON, (413, "PAYLOAD_TOO_LARGE")),
        (b"[" * 65 + b"]" * 65, JSON, (400, "VALIDATION_ERROR")),
        (b"[" * 5000 + b"]" * 5000, JSON, (400, "VALIDATION_ERROR")),
        (b"[" * 64 + b"]" * 64, JSON, (422, "VALIDATION_ERROR")),
        (b"[]", JSON, (422, "VALIDATION_ERROR")),
        (b"null", JSON, (422, "VALIDATION_ERROR")),
        (b'"text"', JSON, (422, "VALIDATION_ERROR")),
        (b"{}", JSON, (422, "VALIDATION_ERROR")),
        (b'{"userId": null}', {"Content-Type": "application/json; charset=utf-8"}, (200, None)),
    ],
)
async def test_bodies_are_json_and_nothing_else(
    api: Api, body: bytes, headers: dict[str, str], expected: tuple[int, str | None]
) -> None:
    path = f"/conversations/{await api.dialogue()}/assign"
    status, answer = await api.call("POST", path, data=body, headers=headers)
    assert (status, answer.get("code")) == expected


async def test_a_body_that_does_not_tell_its_length_is_bounded_too(api: Api) -> None:
    async def chunks() -> object:
        for _ in range(80):
            yield b" " * 1000

    status, answer = await api.call(
        "POST", f"/conversations/{await api.dialogue()}/assign", data=chunks(), headers=JSON
    )
    assert (status, answer["code"]) == (413, "PAYLOAD_TOO_LARGE")


# --- queries


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/contacts?unknown=1", "unknown"),
        ("/contacts?skip=-1", "skip"),
        ("/contacts?take=0", "take"),
        ("/contacts?take=101", "take"),
        ("/contacts?take=ten", "take"),
        ("/contacts?take=1.5", "take"),
        ("/contacts?take=1&take=2", "take"),
        ("/contacts?skip=99999999999999999999999", "skip"),
        ("/contacts?search[$ne]=x", "search[$ne]"),
        ("/contacts?tags[$in]=x", "tags[$in]"),
        ("/contacts?accountId=x&accountId=y", "accountId"),
        ("/contacts?merchantId=another", "merchantId"),
        ("/contacts?account_id=x", "account_id"),
        ("/accounts?status=active'", "status"),
        ("/accounts?status[$ne]=active", "status[$ne]"),
        ("/conversations?status=done", "status"),
        ("/conversations?status=", "status"),
        ("/conversations/x?includeMessages=maybe", "includeMessages"),
        ("/conversations/x/messages?order=sideways", "order"),
    ],
)
async def test_a_query_parameter_that_is_unknown_or_malformed_is_refused_by_name(
    api: Api, path: str, field: str
) -> None:
    status, answer = await api.get(path)
    assert (status, answer["code"], answer["details"]["field"]) == (400, "VALIDATION_ERROR", field)


@pytest.mark.parametrize("value", ['{"$ne":null}', "$where", "';sleep(9)//", "%00", "%F0%9F%94%A5", "a" * 80])
async def test_values_are_only_ever_values(api: Api, value: str) -> None:
    account_id = await api.account()
    await api.contact(account_id)
    await api.conversation(account_id, new_id())
    for path in ("/contacts?accountId=", "/contacts?tags=", "/conversations?accountId=", "/conversations?assignedTo="):
        status, answer = await api.get(path + value)
        assert (status, answer["data"]) == (200, [])
    status, answer = await api.get(f"/contacts/{value}")
    assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")


# --- paths and methods


@pytest.mark.parametrize(
    "path", ["/api/v1/mkt-x/unknown", "/api/v1/mkt-x/accounts/", "/api/v1", "/", "/api/v2/accounts"]
)
async def test_an_unknown_path_is_not_there(api: Api, path: str) -> None:
    response = await api.http.get(path)
    answer = await response.json()
    assert (response.status, answer["code"], answer["success"]) == (404, "RESOURCE_NOT_FOUND", False)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/accounts/one", "DELETE, GET, HEAD, PUT"),
        # A path of its own is no contact with the id `import`.
        ("PUT", "/contacts/import", "POST"),
        ("GET", "/contacts/import", "POST"),
        ("DELETE", "/contacts/import", "POST"),
        # What has no end has no head alone.
        ("HEAD", "/events", "GET"),
    ],
)
async def test_another_method_is_answered_with_those_that_there_are(
    api: Api, method: str, path: str, allowed: str
) -> None:
    for response in (await api.answer(method, path), await api.http.request(method, f"/api/v1/mkt-x{path}")):
        assert (response.status, response.headers["Allow"]) == (405, allowed)
        if method != "HEAD":
            assert (await response.json())["code"] == "METHOD_NOT_ALLOWED"


async def test_a_head_is_that_of_a_get(api: Api) -> None:
    await api.contact(await api.account())
    get, head = await api.answer("GET", "/contacts"), await api.answer("HEAD", "/contacts")
    assert (head.status, await head.read()) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert (await api.http.head("/api/v1/mkt-x/contacts")).status == 401


# --- answers


async def test_a_request_id_is_echoed_or_made(api: Api) -> None:
    given = await api.answer("GET", "/accounts/unknown", headers={"X-Request-Id": "my-id.1_2"})
    assert given.headers["X-Request-Id"] == (await given.json())["requestId"] == "my-id.1_2"
    for bad in ("two words", "x" * 129, "a,b"):
        made = await api.answer("GET", "/accounts", headers={"X-Request-Id": bad})
        assert made.headers["X-Request-Id"] not in {bad, ""}
    for path in ("/health/live", "/metrics", "/unknown"):
        assert (await api.http.get(path)).headers["X-Request-Id"]


async def test_every_problem_of_a_body_is_listed(api: Api) -> None:
    status, answer = await api.post("/accounts", {"oauthToken": "", "unknown": 1})
    assert status == 422
    assert {each["field"] for each in answer["details"]["errors"]} == {"oauthToken", "oauthTokenSecret", "unknown"}
    assert answer["details"]["field"] == answer["details"]["errors"][0]["field"]
    assert answer["details"]["reason"] == answer["details"]["errors"][0]["reason"]


async def test_what_nobody_expected_is_answered_without_a_word_of_it(deps: Dependencies, api: Api) -> None:
    async def broken() -> Mapping[str, PartHealth]:
        raise RuntimeError("secret detail")

    async with serve(replace(deps, parts=broken)) as http:
        # Health answers for itself; the API answers for the rest.
        assert (await http.get("/health/live")).status == 200
    await api.database["contacts"].insert_one({"_id": new_id(), "merchantId": api.merchant_id, "lastInteractionAt": 0})
    response = await api.answer("GET", "/contacts")
    text = await response.text()
    assert response.status == 500
    assert (await response.json())["code"] == "INTERNAL_ERROR"
    assert "Traceback" not in text
    assert "alidation" not in text


async def test_a_database_out_of_reach_is_answered_503(api: Api) -> None:
    fail_point = {"configureFailPoint": "failCommand"}
    fail = {"failCommands": ["find", "aggregate"], "closeConnection": True, "appName": "mktx"}
    admin = api.database.client.admin
    await admin.command(fail_point | {"mode": "alwaysOn", "data": fail})
    try:
        response = await api.answer("GET", "/accounts")
    finally:
        await admin.command(fail_point | {"mode": "off"})
    answer = await response.json()
    assert (response.status, answer["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(response.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in str(answer)
    assert (await api.get("/accounts"))[0] == 200


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2026, 1, 18, 10, tzinfo=UTC), "2026-01-18T10:00:00Z"),
        (datetime(2026, 1, 18, 10, 0, 0, 5000, tzinfo=UTC), "2026-01-18T10:00:00.005Z"),
        (datetime(2026, 1, 18, 10, 0, 0, 999, tzinfo=UTC), "2026-01-18T10:00:00Z"),
        (datetime(2026, 1, 18, 17, tzinfo=timezone(timedelta(hours=7))), "2026-01-18T10:00:00Z"),
    ],
)
def test_times_are_shown_in_utc_with_milliseconds_only_where_there_are_any(moment: datetime, shown: str) -> None:
    assert rfc3339(moment) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, None), (0, "0s"), (45, "45s"), (59.6, "1m 0s"), (330, "5m 30s"), (7500, "2h 5m"), (90000, "25h 0m")],
)
def test_durations_are_shown_in_their_two_largest_units(seconds: float | None, shown: str | None) -> None:
    assert duration_text(seconds) == shown


# --- health and metrics


async def test_health_names_each_part(api: Api) -> None:
    for path in ("/health/live", "/health/ready"):
        response = await api.http.get(path)
        assert response.status == 200
        assert set((await response.json())["parts"]) == {"database", "actors"}


async def test_ready_is_503_while_a_part_does_not_serve(deps: Dependencies) -> None:
    async def parts() -> Mapping[str, PartHealth]:
        return {"database": PartHealth(ready=True), "actors": PartHealth(ready=False, detail="starting")}

    async with serve(replace(deps, parts=parts)) as http:
        ready = await http.get("/health/ready")
        assert ready.status == 503
        assert (await ready.json())["parts"]["actors"] == {"ready": False, "detail": "starting"}
        assert (await http.get("/health/live")).status == 200


async def test_a_part_that_does_not_answer_is_not_ready(deps: Dependencies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.health._PATIENCE_S", 0.01)

    async def parts() -> Mapping[str, PartHealth]:
        await asyncio.Event().wait()
        return {}

    async with serve(replace(deps, parts=parts)) as http:
        assert (await http.get("/health/live")).status == 200
        assert (await http.get("/health/ready")).status == 503


async def test_requests_are_counted_by_the_pattern_of_their_route(api: Api) -> None:
    unique = new_id()
    await api.get(f"/accounts/{unique}")
    await api.http.get(f"/{unique}")
    await api.http.request("BREW", "/health/live")
    response = await api.http.get("/metrics")
    text = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain")
    samples = {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "mktx_http_requests_total"
    }
    assert ("/api/v1/mkt-x/accounts/{accountId}", "GET", "404") in samples
    assert ("unknown", "GET", "404") in samples
    assert "mktx_http_request_seconds_bucket" in text
    assert unique not in text
    assert "BREW" not in text


async def test_with_several_processes_one_scrape_shows_them_all(tmp_path: Path) -> None:
    count = "from gateway.metrics import REQUESTS; REQUESTS.labels('/one', 'GET', '200').inc()"
    show = "from prometheus_client import generate_latest; from gateway.metrics import registry; "
    show += "print(generate_latest(registry()).decode())"
    shown = ""
    for program in (count, count, show):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": "."},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        shown = output.decode()
    assert 'mktx_http_requests_total{method="GET",route="/one",status="200"} 2.0' in shown


# --- the table of routes


def test_every_post_that_creates_or_sends_takes_an_idempotency_key() -> None:
    without = {
        route.path for route in API_ROUTES if route.method == "POST" and not route.public and not route.idempotent
    }
    assert HEADER == "Idempotency-Key"
    neither = (
        "/accounts/{accountId}/reactivate",
        "/conversations/{conversationId}/assign",
        "/automation/flows/{flowId}/simulate",
        "/ai/conversations/{conversationId}/escalate",
        "/ai/conversations/{conversationId}/hand-back",
        "/templates/{templateId}/preview",
        "/segments/{segmentId}/preview",
    )
    assert without == {f"/api/v1/mkt-x{path}" for path in neither}


def test_a_route_that_reads_takes_no_body() -> None:
    assert all(route.body is NoBody for route in API_ROUTES if route.method in {"GET", "DELETE"})


def test_no_two_routes_are_the_same() -> None:
    table = [(route.method, route.path) for route in API_ROUTES]
    assert len(table) == len(set(table))


def test_the_application_serves_exactly_the_routes_of_the_table(deps: Dependencies) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in create_app(deps).router.routes()
        if isinstance(route, web.ResourceRoute) and route.resource is not None
    }
    assert {(route.method, route.path) for route in API_ROUTES} <= served
