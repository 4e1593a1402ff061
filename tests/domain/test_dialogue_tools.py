"""Look-ups: what a merchant may define, and what a model's wish comes to."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.dialogue_exchange import Asker
from domain.dialogue_pattern import fits, pattern_problem
from domain.dialogue_tool_calls import RefusedCall, ToolCall, checked_call, schema_of
from domain.dialogue_tools import MOST_HEADERS, Parameter, Tool, tool_problems
from sandbox.model import strict_schema

ASKER = Asker("account-1", "conversation-1", "contact-1", "200", "ann_x")
ORDER = Parameter("orderId", description="The order's number", pattern=r"[0-9]{3,12}")
LOOK_UP = Tool(
    "t1", "look_up_order", "The state of an order", "https://api.shop.test/orders/{{orderId}}", "GET", (ORDER,)
)
SEARCH = replace(
    LOOK_UP,
    name="search",
    url="https://api.shop.test/find?q={{text}}&by={{contact.id}}",
    parameters=(Parameter("text"),),
)
RETURN = Tool(
    "t2",
    "start_return",
    "Begins a return",
    "https://api.shop.test/returns",
    "POST",
    (ORDER, Parameter("count", "integer"), Parameter("weight", "number", required=False), Parameter("gift", "boolean")),
)
TOOLS = [LOOK_UP, SEARCH, RETURN]


def wish(name: str, **arguments: object) -> ToolCall | RefusedCall:
    return checked_call(TOOLS, name, orjson.dumps(arguments).decode(), ASKER)


def refusal(name: str, arguments: str) -> str:
    refused = checked_call(TOOLS, name, arguments, ASKER)
    assert isinstance(refused, RefusedCall)
    return refused.reason


# --- what may be defined


def test_sound_tools_have_no_problems() -> None:
    for tool in TOOLS:
        assert tool_problems(tool, {"Authorization": "Bearer abc", "X-Api-Key": "k"}) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://{{orderId}}.shop.test/x", "host"),
        ("https://{{orderId}}/x", "host"),
        ("https://api.shop.test:{{orderId}}/x", "host"),
        ("https://api.shop.test{{orderId}}/x", "host"),
        ("{{orderId}}", "host"),
        ("{{orderId}}://api.shop.test/x", "host"),
        ("https://api.shop.test@{{orderId}}/", "host"),
        ("https://me:pw@api.shop.test/{{orderId}}", "user name"),
        ("https://api.shop.test/{{orderId}}#x", "fragment"),
        ("https://api.shop.test/?{{orderId}}=1", "values of the query"),
        ("https://api.shop.test/?a=1&b{{orderId}}", "values of the query"),
        ("https://api.shop.test/{{unknown}}/{{orderId}}", "names unknown"),
        ("https://api.shop.test/{{contact.attributes.secret}}/{{orderId}}", "names contact.attributes.secret"),
        ("https://api.shop.test/{% include 'x' %}{{orderId}}", "no other braces"),
        ("https://api.shop.test/{{orderId | upcase}}", "no other braces"),
        ("https://api.shop.test/{{orderId}}}", "no other braces"),
        ("http://api.shop.test/{{orderId}}", "https"),
        ("https://127.0.0.1/{{orderId}}", "public"),
        ("https://localhost/{{orderId}}", "public"),
        ("https://169.254.169.254/{{orderId}}", "public"),
        ("https://api.shop.test:8443/{{orderId}}", "port"),
        ("ftp://api.shop.test/{{orderId}}", "http"),
        ("https://[::1/{{orderId}}", "http"),
        ("https://api.shop.test/" + "x" * 2_048 + "{{orderId}}", "characters"),
    ],
)
def test_an_address_that_leads_anywhere_else_is_refused(url: str, reason: str) -> None:
    [problem] = [each for each in tool_problems(replace(LOOK_UP, url=url), {}) if each.field == "url"]
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Key": "a\r\nHost: evil"}, "printable"),
        ({"X-Key": "schlüssel"}, "printable"),
        ({"X-Key": ""}, "printable"),
        ({"X-Key": " a"}, "printable"),
        ({"X-Key": "x" * 2_001}, "printable"),
        ({"X Key": "a"}, "proper name"),
        ({"X-Key:": "a"}, "proper name"),
        ({"Host": "evil.test"}, "sets itself"),
        ({"content-length": "0"}, "sets itself"),
        ({"Transfer-Encoding": "chunked"}, "sets itself"),
        ({"X-Key": "a", "x-key": "b"}, "twice"),
        ({f"X-{number}": "a" for number in range(MOST_HEADERS + 1)}, "at most"),
    ],
)
def test_a_header_that_could_change_the_request_is_refused(headers: dict[str, str], reason: str) -> None:
    problems = tool_problems(LOOK_UP, headers)
    assert any(reason in problem.reason for problem in problems)
    assert not any(value in problem.reason for problem in problems for value in headers.values() if len(value) > 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "look up"}, "name"),
        ({"name": "1st"}, "name"),
        ({"description": " "}, "description"),
        ({"description": "x" * 501}, "description"),
        ({"parameters": (ORDER, ORDER)}, "parameters.1.name"),
        ({"parameters": (replace(ORDER, name="order-id"),)}, "parameters.0.name"),
        ({"parameters": (ORDER, Parameter("more"))}, "parameters.1.name"),
        ({"parameters": (replace(ORDER, required=False),)}, "parameters.0.required"),
        ({"parameters": (replace(ORDER, description="x" * 501),)}, "parameters.0.description"),
        ({"parameters": (replace(ORDER, pattern="(a+)+"),)}, "parameters.0.pattern"),
        ({"parameters": (replace(ORDER, type="integer"),)}, "parameters.0.pattern"),
        ({"method": "POST", "parameters": tuple(Parameter(f"p{number}") for number in range(11))}, "parameters"),
    ],
)
def test_a_tool_that_can_t_work_is_told_where(changes: dict[str, object], field: str) -> None:
    changed = replace(LOOK_UP, **changes)  # type: ignore[arg-type]  # by name
    assert field in [problem.field for problem in tool_problems(changed, {})]


# --- patterns


@pytest.mark.parametrize(
    "pattern", [r"[0-9]{3,12}", r"[A-Z]{2}\d{6}", r"#?\d+", r"[\w.+-]+@[\w-]+", r"x{3}y{3}z{3}w{4}", "ü+"]
)
def test_patterns_of_characters_and_classes_are_taken(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "(a)",
        "a|b",
        "(a+)+$",
        r"(?:a)",
        r"\1",
        r"a+b+c+d+",
        "[a",
        "a{2",
        "^a",
        "a$",
        "[z-a]",
        "a" * 201,
        "a**",
        r"\Z",
        "[[a]",
    ],
)
def test_other_patterns_are_refused(pattern: str) -> None:
    assert pattern_problem(pattern)


@given(st.text(alphabet="ab[]^-\\dw.{1,3}+*?()|$", max_size=20))
def test_every_pattern_that_is_taken_is_a_regular_expression(pattern: str) -> None:
    if pattern_problem(pattern) is None:
        re.compile(pattern)
        fits(pattern, "a" * 200 + "!")


# --- wishes


def test_a_wish_becomes_a_call() -> None:
    call = wish("look_up_order", orderId="12345")
    assert call == ToolCall(LOOK_UP, "https://api.shop.test/orders/12345")
    assert wish("look_up_order", orderId=12345) == call


def test_values_of_a_query_are_encoded_and_the_contact_is_ours() -> None:
    call = wish("search", text="a&by=contact-2#/../ü {{contact.id}}")
    assert isinstance(call, ToolCall)
    assert parse_qsl(urlsplit(call.url).query) == [("q", "a&by=contact-2#/../ü {{contact.id}}"), ("by", "contact-1")]
    assert (urlsplit(call.url).path, urlsplit(call.url).fragment) == ("/find", "")


def test_a_post_has_what_the_address_does_not_name() -> None:
    call = wish("start_return", orderId="777", count="2", gift=True, weight=None)
    assert isinstance(call, ToolCall)
    assert orjson.loads(call.body or b"") == {"orderId": "777", "count": 2, "gift": True}
    assert call.url == RETURN.url


@pytest.mark.parametrize("arguments", ["", "nonsense", "[]", "null", '{"orderId": ', '"x"', "{" * 5_000, "\ud800"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    assert refusal("look_up_order", arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("issue_refund", {}),
        ("", {}),
        ("look_up_order ", {"orderId": "12345"}),
        ("LOOK_UP_ORDER", {"orderId": "12345"}),
        ("look_up_order", {}),
        ("look_up_order", {"orderId": "12345", "url": "https://evil.test"}),
        ("look_up_order", {"orderId": "12345", "contact.id": "contact-2"}),
        ("look_up_order", {"orderId": ""}),
        ("look_up_order", {"orderId": "12"}),
        ("look_up_order", {"orderId": "12345\n"[:-1] + "x"}),
        ("look_up_order", {"orderId": "١٢٣٤٥"}),
        ("look_up_order", {"orderId": ["12345"]}),
        ("look_up_order", {"orderId": {"$gt": ""}}),
        ("look_up_order", {"orderId": True}),
        ("search", {"text": "a\r\nX-Admin: 1"}),
        ("search", {"text": "a\u0000"}),
        ("search", {"text": "x" * 201}),
        ("start_return", {"orderId": "777", "count": 1.5, "gift": True}),
        ("start_return", {"orderId": "777", "count": 2**60, "gift": True}),
        ("start_return", {"orderId": "777", "count": 1, "gift": "yes"}),
        ("start_return", {"orderId": "777", "count": 1, "gift": True, "weight": "heavy"}),
    ],
)
def test_what_a_tool_does_not_take_is_refused(name: str, arguments: dict[str, object]) -> None:
    assert isinstance(wish(name, **arguments), RefusedCall)


@pytest.mark.parametrize(
    "value", ["..", ".", "a/b", "../admin", "..%2fadmin", "%2e%2e", "a\\b", "a?x=1", "a#b", "a;b", "a b/.."]
)
def test_a_part_of_a_path_stays_one_part(value: str) -> None:
    free = replace(LOOK_UP, parameters=(Parameter("orderId"),))
    arguments = orjson.dumps({"orderId": value}).decode()
    assert isinstance(checked_call([free], "look_up_order", arguments, ASKER), RefusedCall)


def test_a_dot_beside_a_dot_is_no_way_up() -> None:
    dotted = replace(LOOK_UP, url="https://api.shop.test/orders/.{{orderId}}/x", parameters=(Parameter("orderId"),))
    assert tool_problems(dotted, {}) == []
    assert isinstance(checked_call([dotted], "look_up_order", '{"orderId": "."}', ASKER), RefusedCall)


def test_a_contact_without_a_name_is_not_asked_for_by_it() -> None:
    by_name = replace(LOOK_UP, url="https://api.shop.test/people/{{contact.username}}", parameters=())
    nameless = replace(ASKER, username="")
    assert isinstance(checked_call([by_name], "look_up_order", "{}", ASKER), ToolCall)
    assert isinstance(checked_call([by_name], "look_up_order", "{}", nameless), RefusedCall)


@given(st.text(max_size=60), st.text(max_size=40))
def test_whatever_is_filled_in_the_call_goes_where_the_merchant_said(value: str, name: str) -> None:
    free = replace(
        LOOK_UP, url="https://api.shop.test/orders/{{orderId}}/state?v={{orderId}}", parameters=(Parameter("orderId"),)
    )
    call = checked_call([free], "look_up_order", orjson.dumps({"orderId": value}).decode(), ASKER)
    assert isinstance(checked_call([free], name, "{}", ASKER), RefusedCall)
    if isinstance(call, ToolCall):
        parts = urlsplit(call.url)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.shop.test", "")
        assert [unquote(part) for part in parts.path.split("/")] == ["", "orders", value.strip(), "state"]
        assert parse_qsl(parts.query) == [("v", value.strip())]
        assert call.url.isascii()


@given(st.sampled_from([tool.name for tool in TOOLS]), st.text())
def test_a_wish_never_raises(name: str, arguments: str) -> None:
    assert isinstance(checked_call(TOOLS, name, arguments, ASKER), RefusedCall | ToolCall)


def test_schemas_are_strict_as_openai_wants_them() -> None:
    for tool in TOOLS:
        strict_schema.check(schema_of(tool))
    properties = schema_of(RETURN)["properties"]
    assert isinstance(properties, dict)
    assert properties["weight"] == {"type": ["number", "null"]}
    assert properties["orderId"]["description"] == "The order's number Pattern: [0-9]{3,12}"
