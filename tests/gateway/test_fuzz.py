"""Requests made from the API description, right and wrong ones, against a real server: nothing breaks, and nothing is
answered that the description doesn't know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import APIOperation

from gateway.app import API_ROUTES
from gateway.openapi import build
from tests.gateway.conftest import Api
from tests.gateway.test_isolation import NAME, PLAIN, made
from tests.gateway.whole_app import serve_whole

EXAMPLES = 15
#: The server itself, before anything of ours, refuses a longer request line.
LONGEST_LINE = 8_000
RIGHT = GenerationMode.POSITIVE
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
]


def described() -> dict[str, Any]:
    """Return the description without its security: requests without a token are the matter of other tests."""
    document = build(API_ROUTES, ["http://127.0.0.1:5000"])
    del document["security"]
    return document


SCHEMA = schemathesis.openapi.from_dict(described())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


@pytest.fixture
async def address(api: Api) -> AsyncIterator[str]:
    # Failed logins count for the one address that all tests come from.
    await api.database["loginAttempts"].delete_many({})
    async with serve_whole(api.deps) as http:
        yield str(http.make_url("")).rstrip("/")
    await api.database["loginAttempts"].delete_many({})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method.upper()} {each.path}")
async def test_an_operation_answers_as_described_whatever_it_is_sent(
    api: Api, address: str, operation: APIOperation
) -> None:
    names = [name for name in NAME.findall(operation.path) if name not in PLAIN]
    known: dict[str, str] = {}
    for name in names:
        known[name] = await made(api, name, operation.path, known)
    await asyncio.to_thread(send_all_kinds, operation, address, api.token, known)


def send_all_kinds(operation: APIOperation, address: str, token: str, known: Mapping[str, str]) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(data=st.data())
        def send(mode: GenerationMode, data: Any) -> None:
            case = data.draw(operation.as_strategy(generation_mode=mode))
            # What is wrong may be the id: a wrong request keeps its own.
            if known and mode == RIGHT and data.draw(st.booleans(), label="an id that exists"):
                case.path_parameters = {**case.path_parameters, **known}
            assume(len(case.as_transport_kwargs(base_url=address)["url"]) + len(urlencode(case.query)) < LONGEST_LINE)
            if mode == RIGHT:
                # The maker of requests judges one anew whose id was exchanged, and may find the rest of it wrong.
                assume(case.meta is None or not case.meta.generation.mode.is_negative)
            # Where a link leads is no part of the description.
            response = case.call(base_url=address, session=session, allow_redirects=False)
            # Too large a body is refused before anybody looks at what is wrong with it.
            too_large = response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            checks = [each for each in CHECKS if not (too_large and each is negative_data_rejection)]
            case.validate_response(response, checks=checks)

        send(mode=RIGHT)
        raw = operation.definition.raw
        # The headers that many operations share, which it refers to, take any text.
        own = [parameter for parameter in raw.get("parameters", []) if "$ref" not in parameter]
        if own or "requestBody" in raw:
            send(mode=GenerationMode.NEGATIVE)
