from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from config.settings import Settings
from gateway.app import API_ROUTES
from gateway.models.base import NoBody
from gateway.models.paging import Paging
from gateway.openapi import build, public_path, short_path
from gateway.openapi_by_hand import DOCUMENT_PATHS
from gateway.openapi_examples import FIELDS, REQUESTS
from gateway.openapi_schemas import references
from gateway.paths import API
from gateway.published import addresses
from gateway.routing import AnyRoute
from tests.gateway.conftest import Api
from tests.gateway.seed_paths import SEED_PATHS

DOCUMENT = build(API_ROUTES, ["http://127.0.0.1:5000"])


def name(route: AnyRoute) -> str:
    return f"{route.method} {short_path(route.path)}"


def operation_of(route: AnyRoute) -> dict[str, Any]:
    operation: dict[str, Any] = DOCUMENT["paths"][public_path(route.path)][route.method.lower()]
    return operation


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def fits(schema: dict[str, Any], value: object) -> None:
    whole = {"allOf": [schema], "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(value)


def test_the_description_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_operations_have_names_of_their_own_and_a_section_that_is_listed() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    listed = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == listed
    assert all(operation["summary"] for _, _, operation in operations())


def test_every_schema_is_referred_to_and_every_reference_leads_somewhere() -> None:
    assert set(references(DOCUMENT)) == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("route", [route for route in API_ROUTES if route.body is not NoBody], ids=name)
def test_the_example_of_a_body_is_what_its_route_takes(route: AnyRoute) -> None:
    body = operation_of(route)["requestBody"]
    content = body["content"]["application/json"]
    fits(content["schema"], content["example"])
    route.body.model_validate(content["example"])
    assert body["required"] is not route.body_optional


@pytest.mark.parametrize("route", API_ROUTES, ids=name)
def test_the_examples_of_answers_fit_their_schemas(route: AnyRoute) -> None:
    for answer in operation_of(route)["responses"].values():
        for content in resolved(answer)["content"].values():
            fits(content["schema"], content["example"])


@pytest.mark.parametrize("route", API_ROUTES, ids=name)
def test_an_operation_says_what_its_route_needs_and_answers(route: AnyRoute) -> None:
    operation = operation_of(route)
    answers = operation["responses"]
    parameters = {(each["in"], each["name"]): each for each in map(resolved, operation["parameters"])}
    assert {"200", "400", "401", "503"} <= set(answers)
    assert {str(error.status) for error in route.errors} <= set(answers)
    assert (operation.get("security") == []) is route.public
    assert (("header", "Idempotency-Key") in parameters) is route.idempotent
    assert ("header", "X-Request-Id") in parameters
    assert {"403", "429"} <= set(answers) or route.public
    assert route.public or set(operation["x-roles"]) == {role.value for role in route.roles}
    for field, information in route.query.model_fields.items():
        shown = parameters["query", information.alias or field]
        assert shown["required"] is information.is_required()
    content, *other = answers["200"]["content"].values()
    assert bool(other) is route.csv
    schema = content["schema"]
    assert ("pagination" in schema["properties"]) is issubclass(route.query, Paging)


def test_what_is_told_of_fields_is_told_of_fields_that_there_are() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert not [
        (model, field) for model, told in FIELDS.items() for field in told if field not in schemas[model]["properties"]
    ]


def test_examples_of_requests_are_of_operations_of_the_api_document_or_of_routes() -> None:
    known = {(method, path) for _, method, path in SEED_PATHS}
    routes = {(route.method, short_path(public_path(route.path))) for route in API_ROUTES}
    assert set(REQUESTS) <= known | routes


def test_a_change_has_no_defaults_for_what_it_leaves_alone() -> None:
    body = DOCUMENT["paths"][f"{API}/accounts/{{accountId}}"]["put"]["requestBody"]
    schema = resolved(body["content"]["application/json"]["schema"])
    assert set(schema["properties"]) >= {"autoReplyEnabled", "businessHours", "requireConsent", "quietHours"}
    assert not any("default" in each for each in schema["properties"].values())


@pytest.mark.parametrize("path", DOCUMENT_PATHS)
async def test_the_description_is_served_without_a_token_and_not_sent_twice(api: Api, path: str) -> None:
    answer = await api.http.get(path)
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert "X-RateLimit-Limit" not in answer.headers
    assert (await answer.json())["paths"].keys() == DOCUMENT["paths"].keys()
    etag = answer.headers["ETag"]
    again = await api.http.get(path, headers={"If-None-Match": etag})
    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    other = await api.http.get(path, headers={"If-None-Match": '"another"'})
    assert other.status == 200


def test_the_public_address_comes_before_the_machines_own() -> None:
    public = Settings(public_url="https://api.example.com", host="0.0.0.0", port=5001)
    assert addresses(public) == ["https://api.example.com", "http://127.0.0.1:5001"]
    assert addresses(Settings(host="::1", port=5002)) == ["http://[::1]:5002"]
