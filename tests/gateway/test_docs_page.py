from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from gateway.app import API_ROUTES
from gateway.docs_page import CONTENT_SECURITY_POLICY, render
from gateway.openapi import build
from gateway.openapi_by_hand import DOCS_PATHS
from tests.gateway.conftest import Api

DOCUMENT = build(API_ROUTES, ["http://127.0.0.1:5000"])
VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Reads a page: what is in it, what it leads to, and whether each element ends where it should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.inline: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.extend(value for name, value in attrs if name == "id" and value)
        self.links.extend(value for name, value in attrs if name == "href" and value)
        self.sources.extend(value for name, value in attrs if name in {"src", "srcset", "action"} and value)
        assert not [name for name in given if name.startswith("on") or name == "style"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"style", "script"}:
            self.inline[self.open[-1]] = self.inline.get(self.open[-1], "") + data
        else:
            self.text.append(data)


def test_every_operation_and_schema_is_on_the_page() -> None:
    page = Page(render(DOCUMENT))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    text = "".join(page.text)
    for path, operations in DOCUMENT["paths"].items():
        assert path in text
        for operation in operations.values():
            assert operation["operationId"] in page.ids
            assert operation["summary"] in text
    assert {f"schema-{name}" for name in DOCUMENT["components"]["schemas"]} <= set(page.ids)
    assert text.count("curl ") >= len(API_ROUTES)


def test_links_lead_somewhere_on_the_page_and_nothing_is_loaded_from_elsewhere() -> None:
    page = Page(render(DOCUMENT))
    assert {link for link in page.links if link.removeprefix("#") not in page.ids} == set()
    assert page.sources == []
    assert "url(" not in page.inline["style"]
    assert "@import" not in page.inline["style"]


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    page = Page(render(DOCUMENT))
    for tag, text in page.inline.items():
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none';")
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_text_of_the_description_is_never_taken_for_markup() -> None:
    document = build(API_ROUTES[:1], ["http://127.0.0.1:5000"])
    operation = next(iter(document["paths"].values()))["post"]
    operation["summary"] = operation["description"] = "<script>alert(1)</script>"
    document["info"]["title"] = "</title><b>"
    text = render(document)
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert len(re.findall("<script", text)) == 1


def test_what_a_schema_allows_is_said_in_a_line() -> None:
    document = build(API_ROUTES, ["http://127.0.0.1:5000"])
    document["components"]["schemas"] = {
        "Thing": {
            "properties": {
                "names": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
                "size": {"type": "integer", "minimum": 0, "default": 3},
                "kind": {"anyOf": [{"enum": ["<a>"]}, {"type": "null"}]},
                "on": {"type": "boolean", "default": False},
                "tags": {"type": "string", "default": []},
            }
        }
    }
    text = render(document)
    for said in ("list of string", "integer (from 0, default 3)", "<code>&lt;a&gt;</code> or null"):
        assert f"<td>{said}</td>" in text
    assert "boolean (default false)" in text


@pytest.mark.parametrize("path", DOCS_PATHS)
async def test_the_page_is_served_without_a_token(api: Api, path: str) -> None:
    answer = await api.http.get(path)
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "X-RateLimit-Limit" not in answer.headers
    assert "List contacts" in await answer.text()
    again = await api.http.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304
