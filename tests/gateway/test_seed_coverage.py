"""The API description against the API document, and against what is really registered."""

from __future__ import annotations

import pytest
from aiohttp import web

from gateway.app import API_ROUTES
from gateway.dependencies import Dependencies
from gateway.openapi import build, public_path, section_of
from gateway.paths import API
from tests.gateway.seed_paths import SEED_PATHS
from tests.gateway.whole_app import whole_app

DOCUMENT = build(API_ROUTES, ["http://127.0.0.1:5000"])

#: Sections of the API document that are not there yet; an operation that is there must leave this list.
NOT_YET_SECTIONS: frozenset[str] = frozenset()
NOT_YET = frozenset((method, path) for section, method, path in SEED_PATHS if section in NOT_YET_SECTIONS)


def whole(path: str) -> str:
    return path if path.startswith("/api/") else API + path


def documented() -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}


@pytest.mark.parametrize(("section", "method", "path"), SEED_PATHS, ids=lambda value: value.replace(" ", "-"))
def test_an_operation_of_the_api_document_is_there_or_known_to_be_missing(section: str, method: str, path: str) -> None:
    is_there = (method, whole(path)) in documented()
    assert is_there is ((method, path) not in NOT_YET)
    if is_there and section != "Postman Collection":
        assert DOCUMENT["paths"][whole(path)][method.lower()]["tags"] == [section]


def test_a_section_is_found_by_the_first_part_of_its_paths() -> None:
    assert {section_of(whole(path)) for section, _, path in SEED_PATHS if section != "Postman Collection"} == {
        section for section, _, _ in SEED_PATHS if section != "Postman Collection"
    }


async def test_what_is_registered_is_described_and_the_other_way_round(deps: Dependencies) -> None:
    assert registered(whole_app(deps)) == documented()


def registered(app: web.Application) -> set[tuple[str, str]]:
    # A server answers HEAD wherever it answers GET, and refuses all the rest.
    return {
        (route.method, public_path(route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None and route.method not in {"HEAD", "*"}
    }
