from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidContent
from domain.flow_http import FilledRequest, filled_request, is_worth_another_try, result_of, retry_after
from domain.flow_nodes import HttpRequest
from domain.flow_state import EffectKey
from domain.templates import Fillings, MissingVariable

KEY = EffectKey("e1", "n1", 2)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def request(given: dict[str, str], **fields: object) -> FilledRequest:
    return filled_request(
        HttpRequest(**{"url": "https://example.com/", **fields}),  # type: ignore[arg-type]
        Fillings(contact={}, given=given),
        KEY,
    )


@given(text=TEXTS)
def test_what_fills_an_address_stays_a_part_of_it(text: str) -> None:
    made = request({"x": text}, url="https://shop.example.com/a/{{ x }}/b?q={{ x }}&r=1")
    parts = urlsplit(made.url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "shop.example.com", "")
    assert [unquote(each) for each in parts.path.split("/")] == ["", "a", text, "b"]
    assert parse_qs(parts.query, keep_blank_values=True) == {"q": [text], "r": ["1"]}


@given(text=TEXTS)
def test_what_fills_json_stays_a_text_in_it(text: str) -> None:
    made = request({"x": text}, method="POST", body='{"a": "{{ x }}", "b": 1}')
    assert orjson.loads(made.body or b"") == {"a": text, "b": 1}
    assert made.headers["content-type"] == "application/json"


@given(text=TEXTS)
def test_what_fills_a_form_stays_a_field_of_it(text: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    made = request({"x": text}, method="POST", headers=form, body="a={{ x }}&b=1")
    assert parse_qs((made.body or b"").decode(), keep_blank_values=True) == {"a": [text], "b": ["1"]}


def test_other_text_is_as_it_is_and_a_filter_sees_the_value_itself() -> None:
    made = request({"x": 'a "b"'}, method="POST", body="Say {{ x | upcase }}")
    assert (made.body, made.headers["content-type"]) == (b'Say A "B"', "text/plain")
    assert request({"x": "a b"}, url="https://example.com/{{ x | upcase }}").url == "https://example.com/A%20B"


def test_the_effect_is_named_unless_the_flow_names_something_else() -> None:
    assert request({}).headers == {"idempotency-key": "e1:n1:2"}
    assert request({}, headers={"Idempotency-Key": "mine"}).headers == {"idempotency-key": "mine"}


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\x00", "é"])
def test_a_header_holds_no_more_than_a_header_may(value: str) -> None:
    with pytest.raises(InvalidContent):
        request({"x": value}, headers={"X-A": "{{ x }}"})


def test_what_nothing_fills_is_missing() -> None:
    with pytest.raises(MissingVariable):
        request({}, url="https://example.com/{{ x }}")


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b'"A-17"', "application/json", "A-17"),
        (b" 17 ", "application/json; charset=utf-8", 17),
        (b"true", "application/problem+json", True),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"null", "application/json", "null"),
        (b"{", "application/json", "{"),
        (b"99999999999999999999", "application/json", "99999999999999999999"),
        (b"17", "text/plain", "17"),
        (b"\xff", "text/plain", "\ufffd"),
        (b"x" * 5_000, "text/plain", "x" * 2_000),
    ],
)
def test_an_answer_is_kept_as_what_it_is(body: bytes, kind: str, expected: object) -> None:
    found = result_of(body, kind)
    assert (found, type(found)) == (expected, type(expected))


def test_a_server_that_is_busy_or_broken_is_asked_again() -> None:
    assert [status for status in range(200, 600) if is_worth_another_try(status)] == [408, 425, 429, *range(500, 600)]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "30"}, 30.0), ({"retry-after": "x"}, 0.0), ({}, 0.0), ({"Retry-After": "9" * 30}, 0.0)],
)
def test_a_server_may_say_when_to_come_back(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds
