from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidContent
from domain.flow_graph import MOST_CONNECTIONS, read_flow
from domain.flow_node_config import MOST_NODES
from domain.flow_triggers import OnNewFollower
from tests.domain.flow_bodies import MANUAL, SEED, link, node, sound_flows


def problems_of(nodes: Any, connections: Any, trigger: Any = MANUAL) -> list[str]:
    with pytest.raises(InvalidContent) as refused:
        read_flow(trigger, nodes, connections)
    return [problem.field for problem in refused.value.problems]


def test_the_example_of_the_seed_is_a_flow() -> None:
    flow = read_flow(**SEED)
    assert flow.trigger == OnNewFollower()
    assert flow.graph.start == "node-1"
    assert flow.graph.after("node-1", "next") == "node-2"
    assert flow.graph.after("node-2", "next") == "node-3"
    assert flow.graph.after("node-3", "next") is None


def test_one_node_is_a_flow() -> None:
    assert read_flow(MANUAL, [node("a", "end")], None).graph.start == "a"
    assert read_flow(MANUAL, [node("a", "end")], []).graph.start == "a"


@given(body=sound_flows())
def test_sound_flows_are_taken(body: dict[str, Any]) -> None:
    graph = read_flow(**body).graph
    assert graph.start == "n0"
    assert set(graph.nodes) == {each["id"] for each in body["nodes"]}
    assert len(graph.targets) == len(body["connections"])


def test_the_order_of_the_list_does_not_make_the_start() -> None:
    assert read_flow(MANUAL, [node("b", "end"), node("a", "wait")], [link("a", "b")]).graph.start == "a"


def test_where_everything_is_led_to_the_first_is_the_start() -> None:
    nodes = [node("a", "send_message"), node("b", "wait")]
    assert read_flow(MANUAL, nodes, [link("a", "b"), link("b", "a")]).graph.start == "a"


def test_a_branch_that_is_meant_need_not_be_named() -> None:
    nodes = [node("a", "wait_for_reply"), node("b", "end"), node("c", "end")]
    graph = read_flow(MANUAL, nodes, [link("a", "b"), link("a", "c", "timeout")]).graph
    assert (graph.after("a", "reply"), graph.after("a", "timeout")) == ("b", "c")


def test_the_branches_of_a_condition_may_be_booleans() -> None:
    nodes = [node("a", "condition"), node("b", "end"), node("c", "end")]
    links = [link("a", "b") | {"branch": True}, link("a", "c") | {"branch": False}]
    graph = read_flow(MANUAL, nodes, links).graph
    assert (graph.after("a", "true"), graph.after("a", "false")) == ("b", "c")


@pytest.mark.parametrize(
    ("source", "connection", "path"),
    [
        ("send_message", link("a", "gone"), "connections.1.toNodeId"),
        ("send_message", link("gone", "b"), "connections.1.fromNodeId"),
        ("send_message", {"toNodeId": "b"}, "connections.1.fromNodeId"),
        ("send_message", {"fromNodeId": "a", "branch": "error"}, "connections.1.toNodeId"),
        ("send_message", link("a", "b"), "connections.1.fromNodeId"),
        ("send_message", link("a", "b", "timeout"), "connections.1.branch"),
        ("send_message", link("a", "b", "error") | {"label": "x"}, "connections.1.label"),
        ("send_message", link("a", "b") | {"branch": 5}, "connections.1.branch"),
        ("send_message", link("b", "a"), "connections.1.fromNodeId"),
        ("send_message", "a", "connections.1"),
    ],
)
def test_a_wrong_connection_is_named_by_its_path(source: str, connection: Any, path: str) -> None:
    found = problems_of([node("a", source), node("b", "end")], [link("a", "b"), connection])
    assert path in found
    assert all(each.startswith("connections.1") for each in found)


@pytest.mark.parametrize("kind", ["condition", "split"])
def test_where_there_is_a_choice_the_branch_must_be_named(kind: str) -> None:
    nodes = [node("a", kind), node("b", "end")]
    assert problems_of(nodes, [link("a", "b")]) == ["connections.0.branch"]
    assert problems_of(nodes, [link("a", "b", "maybe")]) == ["connections.0.branch"]


@pytest.mark.parametrize("given", [{}, "x", [link("a", "b")] * (MOST_CONNECTIONS + 1)])
def test_connections_are_a_list_of_bounded_length(given: Any) -> None:
    assert "connections" in problems_of([node("a", "end")], given)


def test_a_flow_has_one_start() -> None:
    nodes = [node("a", "wait"), node("b", "end"), node("c", "end"), node("d", "add_tag"), node("e", "end")]
    assert problems_of(nodes, [link("a", "b"), link("d", "e")]) == ["nodes.2", "nodes.3"]


def test_a_cycle_that_nothing_leads_to_is_not_reached() -> None:
    nodes = [node("a", "end"), node("b", "wait"), node("c", "wait")]
    assert problems_of(nodes, [link("b", "c"), link("c", "b")]) == ["nodes.1", "nodes.2"]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("add_tag", {}),
        ("send_message", {}),
        ("wait", {"duration": 0}),
        ("wait", {"duration": None, "until": "2026-01-18T00:00:00Z"}),
    ],
)
def test_a_cycle_without_a_wait_is_refused(kind: str, config: dict[str, Any]) -> None:
    nodes = [node("a", "wait"), node("b", kind, **config), node("c", "condition")]
    assert problems_of(nodes, [link("a", "b"), link("b", "c"), link("c", "b", "true")]) == ["nodes.1"]


def test_a_node_that_leads_to_itself_is_a_cycle() -> None:
    assert problems_of([node("a", "add_tag")], [link("a", "a", "error")]) == ["nodes.0"]
    assert read_flow(MANUAL, [node("a", "wait")], [link("a", "a")]).graph.after("a", "next") == "a"


def test_each_cycle_is_named_once() -> None:
    nodes = [node(name, "ai_reply") for name in "abcd"]
    links = [link("a", "b"), link("b", "a", "error"), link("b", "c"), link("c", "d"), link("d", "c")]
    assert problems_of(nodes, links) == ["nodes.0", "nodes.2"]


@pytest.mark.parametrize(("kind", "config"), [("wait", {}), ("wait_for_reply", {}), ("send_message", {"delay": 5})])
def test_a_cycle_with_a_wait_is_taken(kind: str, config: dict[str, Any]) -> None:
    nodes = [node("a", "add_tag"), node("b", "ai_reply"), node("c", kind, **config)]
    assert read_flow(MANUAL, nodes, [link("a", "b"), link("b", "c"), link("c", "b")]).graph.start == "a"


def test_the_largest_flow_is_checked() -> None:
    nodes = [node(f"n{number}", "add_tag") for number in range(MOST_NODES)]
    links = [link(f"n{number}", f"n{number + 1}") for number in range(MOST_NODES - 1)]
    assert len(read_flow(MANUAL, nodes, links).graph.nodes) == MOST_NODES
    assert problems_of(nodes, [*links, link(f"n{MOST_NODES - 1}", "n0")]) == ["nodes.0"]


def test_a_node_that_is_wrong_makes_no_further_problems() -> None:
    nodes = [node("a", "add_tag"), {"id": "b", "type": "wait", "config": {}}, {"id": "c", "type": "sleep"}]
    links = [link("a", "b"), link("b", "c"), link("c", "a", "whatever")]
    assert problems_of(nodes, links) == ["nodes.1.config.duration", "nodes.2.type"]


PLANTS: dict[str, tuple[Any, set[str]]] = {
    "duration": (lambda body: body["nodes"][1]["config"].update(duration="1 day"), {"nodes.1.config.duration"}),
    "type": (lambda body: body["nodes"][2].update(type="shout"), {"nodes.2.type"}),
    "trigger": (lambda body: body["trigger"].update(type="full_moon"), {"trigger.type"}),
    "target": (lambda body: body["connections"].append(link("node-1", "gone", "error")), {"connections.*.toNodeId"}),
    "branch": (lambda body: body["connections"].append(link("node-1", "node-2", "maybe")), {"connections.*.branch"}),
    "second start": (lambda body: body["nodes"].append(node("lost", "end")), {"nodes.lost"}),
    "same id": (lambda body: body["nodes"].append(node("node-1", "end")), {"nodes.node-1.id"}),
    "hot cycle": (
        lambda body: (
            body["nodes"].append(node("hot", "ai_reply")),
            body["connections"].extend((link("node-1", "hot", "error"), link("hot", "hot"))),
        ),
        {"nodes.hot"},
    ),
}


@given(plants=st.sets(st.sampled_from(sorted(PLANTS)), min_size=1), order=st.randoms(use_true_random=False))
def test_every_planted_problem_is_listed_and_nothing_else(plants: set[str], order: Any) -> None:
    if {"target", "hot cycle"} <= plants:
        plants.remove("target")  # both are the branch for errors of one node
    body, expected = deepcopy(SEED), set()
    for name in order.sample(sorted(plants), len(plants)):
        plant, paths = PLANTS[name]
        plant(body)
        at = {
            "connections.*": f"connections.{len(body['connections']) - 1}",
            "nodes.lost": f"nodes.{len(body['nodes']) - 1}",
            "nodes.hot": f"nodes.{len(body['nodes']) - 1}",
            "nodes.node-1": f"nodes.{len(body['nodes']) - 1}",
        }
        for path in paths:
            known = next((sign for sign in at if path.startswith(sign)), None)
            expected.add(path if known is None else path.replace(known, at[known]))
    assert set(problems_of(body["nodes"], body["connections"], body["trigger"])) == expected
