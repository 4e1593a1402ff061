from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.flow_node_config import GREATEST_WEIGHT, LONGEST_WAIT_S, MOST_NODES, MOST_WEIGHTS, read_nodes
from domain.flow_nodes import (
    AddTag,
    Assign,
    HttpRequest,
    SendMessage,
    UpdateAttributes,
    Wait,
    WaitForReply,
    always_pauses,
    branches_of,
)
from tests.domain.flow_bodies import BRANCHES, CONFIGS, SEED, node


def read(*nodes: object, private_allowed: bool = False) -> tuple[list[Any], list[str]]:
    problems: list[Any] = []
    found = read_nodes(list(nodes), problems, private_allowed=private_allowed)
    return [each.config for each in found], [problem.field for problem in problems]


def config_of(kind: str, **config: Any) -> Any:
    [found], problems = read({"id": "n", "type": kind, "config": config})
    assert problems == []
    return found


def test_the_nodes_of_the_seed_are_read() -> None:
    assert read(*SEED["nodes"]) == ([SendMessage("template-uuid"), Wait(86400), SendMessage("template-uuid-2")], [])


def test_every_type_of_the_contract_is_read_and_has_its_branches() -> None:
    for kind, config in CONFIGS.items():
        [found], problems = read(node("n", kind))
        assert problems == [], kind
        assert found.kind == kind
        assert branches_of(found) == BRANCHES[kind], config


def test_fields_are_read_with_their_defaults() -> None:
    assert config_of("wait", until="2026-02-01T09:00:00+07:00") == Wait(until=datetime(2026, 2, 1, 2, tzinfo=UTC))
    assert config_of("wait_for_reply") == WaitForReply(86_400)
    assert config_of("add_tag", tag=" VIP ") == AddTag("vip")
    assert config_of("assign", userId=None) == Assign(None)
    assert config_of("update_attributes", attributes={"a": None, "b": ["x"]}) == UpdateAttributes(
        {"a": None, "b": ["x"]}
    )
    assert config_of("http_request", url="https://example.com", method="POST", headers={"X-Key": "1"}, body="{}") == (
        HttpRequest("https://example.com", "POST", {"X-Key": "1"}, "{}")
    )
    secret = config_of(
        "http_request", url="https://example.com/{{ a }}", secretHeaders={"X-A": {"sealed": "v1"}, "X-B": "b"}
    )
    assert secret == HttpRequest("https://example.com/{{ a }}", secret_headers={"X-A": "v1", "X-B": "b"})
    assert "v1" not in repr(secret)
    assert config_of("send_message", templateId="t", delay=5, variables={"code": "A1", "n": 2, "gone": None}) == (
        SendMessage("t", 5, {"code": "A1", "n": 2, "gone": None})
    )
    assert read({"id": "n", "type": "end"}) == ([config_of("end")], [])


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [
        ("send_message", {}, "templateId"),
        ("send_message", {"templateId": "  "}, "templateId"),
        ("send_message", {"templateId": "x" * 65}, "templateId"),
        ("send_message", {"templateId": "t", "delay": -1}, "delay"),
        ("send_message", {"templateId": "t", "delay": LONGEST_WAIT_S + 1}, "delay"),
        ("send_message", {"templateId": "t", "variables": []}, "variables"),
        ("send_message", {"templateId": "t", "variables": {"$x": "1"}}, "variables.$x"),
        ("send_message", {"templateId": "t", "variables": {"x": ["1"]}}, "variables.x"),
        ("send_message", {"templateId": "t", "variables": {"x": {}}}, "variables.x"),
        ("wait", {}, "duration"),
        ("wait", {"duration": 1, "until": "2026-02-01"}, "duration"),
        ("wait", {"duration": "60"}, "duration"),
        ("wait", {"duration": True}, "duration"),
        ("wait", {"duration": 1.5}, "duration"),
        ("wait", {"duration": -1}, "duration"),
        ("wait", {"duration": LONGEST_WAIT_S + 1}, "duration"),
        ("wait", {"until": "tomorrow"}, "until"),
        ("wait", {"until": 5}, "until"),
        ("wait_for_reply", {"timeout": 0}, "timeout"),
        ("wait_for_reply", {"saveAs": "a.b"}, "saveAs"),
        ("condition", {}, "conditions"),
        ("condition", {"conditions": []}, "conditions"),
        ("condition", {"conditions": [{"field": "x", "operator": "equals", "value": 1}]}, "conditions.0.field"),
        ("split", {}, "weights"),
        ("split", {"weights": [50, 50]}, "weights"),
        ("split", {"weights": {"a": 0}}, "weights"),
        ("split", {"weights": {"a": 1, "b": -1}}, "weights.b"),
        ("split", {"weights": {"a": 1, "b": True}}, "weights.b"),
        ("split", {"weights": {"a": 1, "b": GREATEST_WEIGHT + 1}}, "weights.b"),
        ("split", {"weights": {"a": 1, "b.c": 1}}, "weights.b.c"),
        ("split", {"weights": {f"w{n}": 1 for n in range(MOST_WEIGHTS + 1)}}, "weights"),
        ("add_tag", {}, "tag"),
        ("add_tag", {"tag": "a,b"}, "tag"),
        ("remove_tag", {"tag": ""}, "tag"),
        ("update_attributes", {}, "attributes"),
        ("update_attributes", {"attributes": {"ok": 1, "$set": 1}}, "attributes.$set"),
        ("update_attributes", {"attributes": {"a": {"b": 1}, "ok": 1}}, "attributes.a"),
        ("assign", {}, "userId"),
        ("assign", {"userId": 5}, "userId"),
        ("close_conversation", {"reason": "x" * 501}, "reason"),
        ("ai_reply", {"instructions": "x" * 2_001}, "instructions"),
        ("http_request", {}, "url"),
        ("http_request", {"url": "http://169.254.169.254/latest"}, "url"),
        ("http_request", {"url": "http://localhost/"}, "url"),
        ("http_request", {"url": "file:///etc/passwd"}, "url"),
        ("http_request", {"url": "https://example.com", "method": "CONNECT"}, "method"),
        ("http_request", {"url": "https://example.com", "body": "x"}, "body"),
        ("http_request", {"url": "https://example.com", "method": "POST", "body": "x" * 20_001}, "body"),
        ("http_request", {"url": "https://example.com", "headers": {"Host": "x"}}, "headers.Host"),
        ("http_request", {"url": "https://example.com", "headers": {"X": "a\r\nY: b"}}, "headers.X"),
        ("http_request", {"url": "https://example.com", "headers": {"a b": "c"}}, "headers.a b"),
        ("http_request", {"url": "https://example.com", "secretHeaders": {"a b": "c"}}, "secretHeaders.a b"),
        ("http_request", {"url": "https://example.com", "secretHeaders": {"A": "c", "a": "d"}}, "secretHeaders.a"),
        ("http_request", {"url": "https://{{ a / b }}.com", "secretHeaders": {"A": "c"}}, "url"),
        ("http_request", {"url": "https://example.com", "headers": {f"x{n}": "1" for n in range(11)}}, "headers"),
        ("start_flow", {}, "flowId"),
        ("end", {"reason": "x"}, "reason"),
        ("wait", {"duration": 1, "$where": "1"}, "$where"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_named_by_its_path(kind: str, config: Any, field: str) -> None:
    [ok, found], problems = read(node("ok", "end"), {"id": "n", "type": kind, "config": config})
    assert found is None
    assert ok is not None
    assert set(problems) == {f"nodes.1.config.{field}"}


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("x", {"nodes.0", "nodes.0.id", "nodes.0.type"}),
        ({"id": "a.b", "type": "end"}, {"nodes.0.id"}),
        ({"id": 1, "type": "end"}, {"nodes.0.id"}),
        ({"id": "", "type": "end"}, {"nodes.0.id"}),
        ({"id": "x" * 65, "type": "end"}, {"nodes.0.id"}),
        ({"id": "a", "type": "explode"}, {"nodes.0.type"}),
        ({"id": "a", "type": ["end"]}, {"nodes.0.type"}),
        ({"id": "a", "type": "end", "config": []}, {"nodes.0.config"}),
        ({"id": "a", "type": "end", "merchantId": "x"}, {"nodes.0.merchantId"}),
    ],
)
def test_what_is_wrong_with_a_node_is_named_by_its_path(given: object, paths: set[str]) -> None:
    assert set(read(given)[1]) == paths


def test_an_id_is_there_once() -> None:
    assert read(node("a", "end"), node("a", "end"))[1] == ["nodes.1.id"]


@pytest.mark.parametrize("given", [None, {}, [], [node("a", "end")] * (MOST_NODES + 1)])
def test_nodes_are_a_list_of_bounded_length(given: object) -> None:
    problems: list[Any] = []
    assert read_nodes(given, problems) == []
    assert [problem.field for problem in problems] == ["nodes"]


def test_private_addresses_are_taken_where_that_is_allowed() -> None:
    local = node("a", "http_request", url="http://127.0.0.1:8080/x")
    assert read(local)[1] == ["nodes.0.config.url"]
    assert read(local, private_allowed=True)[1] == []


def test_where_a_flow_stands_still_each_time() -> None:
    assert always_pauses(Wait(1))
    assert always_pauses(WaitForReply())
    assert always_pauses(SendMessage("t", 1))
    assert not always_pauses(Wait(0))
    assert not always_pauses(Wait(until=datetime(2026, 1, 1, tzinfo=UTC)))
    assert not always_pauses(SendMessage("t"))
    assert not always_pauses(AddTag("x"))
