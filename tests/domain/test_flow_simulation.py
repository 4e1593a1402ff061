from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.flow_execution import MOST_ATTEMPTS, advance
from domain.flow_graph import FlowGraph, read_flow
from domain.flow_nodes import AddTag, RemoveTag
from domain.flow_simulation import (
    LONGEST,
    MOST_EVENTS,
    Script,
    ScriptedFailure,
    ScriptedReply,
    SimulatedEffect,
    simulate,
)
from domain.flow_state import (
    Effect,
    EffectFailed,
    EffectSucceeded,
    Event,
    Execution,
    HistoryEntry,
    Replied,
    Reply,
    Started,
    Surroundings,
    TimeReached,
)
from tests.domain.flow_bodies import CONDITIONS, MANUAL, SEED, chain, link, node, sound_flows

START = datetime(2026, 1, 18, 9, 0, tzinfo=UTC)
NEW = Execution("simulated", "f1", "c1")
CONTACT: dict[str, Any] = {"_id": "c1", "tags": [], "attributes": {}}


def path_of(path: tuple[HistoryEntry, ...]) -> list[tuple[Any, ...]]:
    return [(each.node_id, (each.at - START).total_seconds(), each.branch) for each in path if each.branch]


def test_the_example_of_the_seed_takes_a_day() -> None:
    found = simulate(read_flow(**SEED).graph, NEW, START, Script(CONTACT))
    assert found.execution.status == "completed"
    assert path_of(found.path) == [("node-1", 0, "next"), ("node-2", 86_400, "next"), ("node-3", 86_400, "next")]
    assert [(each.effect.key.node_id, each.at) for each in found.effects] == [
        ("node-1", START),
        ("node-3", START + timedelta(days=1)),
    ]


def test_what_is_refused_fails_at_once_as_the_contact_is_by_then() -> None:
    graph = chain(node("first", "add_tag"), node("tag", "add_tag", tag="gold"), node("second", "remove_tag")).graph

    def refuses(effect: Effect, contact: Mapping[str, Any], at: datetime) -> str | None:
        assert at == START
        return "is_gold" if "gold" in contact["tags"] and effect.key.node_id == "second" else None

    found = simulate(graph, NEW, START, Script(CONTACT, refuses=refuses))
    assert (found.execution.status, found.execution.failure) == ("failed", "is_gold")
    assert [(each.node_id, each.outcome, each.error) for each in found.path] == [
        ("first", "done", None),
        ("tag", "done", None),
        ("second", "failed", "is_gold"),
    ]


def test_the_contact_of_the_script_is_changed_for_what_follows_and_not_beyond() -> None:
    rich = [{"field": "attributes.tier", "operator": "equals", "value": "gold"}]
    old = [{"field": "attributes.old", "operator": "exists"}]
    nodes = [
        node("is_vip", "condition", conditions=CONDITIONS),
        node("tag", "add_tag"),
        node("is_now", "condition", conditions=CONDITIONS),
        node("change", "update_attributes"),
        node("is_gold", "condition", conditions=rich),
        node("is_old", "condition", conditions=old),
        node("untag", "remove_tag"),
        node("is_still", "condition", conditions=CONDITIONS),
        node("end", "end"),
    ]
    links = [
        link("is_vip", "tag", "false"),
        link("tag", "is_now"),
        link("is_now", "change", "true"),
        link("change", "is_gold"),
        link("is_gold", "is_old", "true"),
        link("is_old", "untag", "false"),
        link("untag", "is_still"),
        link("is_still", "end", "false"),
    ]
    contact = {"_id": "c1", "tags": ["new"], "attributes": {"old": 1, "other": 2}}
    found = simulate(read_flow(MANUAL, nodes, links).graph, NEW, START, Script(contact))
    assert found.path[-1].node_id == "end"
    assert contact == {"_id": "c1", "tags": ["new"], "attributes": {"old": 1, "other": 2}}


def test_a_campaign_can_be_asked_about() -> None:
    campaign = "0198f0a2-7c3e-7b1a-9d55-1f0c6a3b2e11"
    opened = [{"field": f"campaign:{campaign}", "operator": "equals", "value": "opened"}]
    graph = chain(node("a", "condition", conditions=opened)).graph
    assert simulate(graph, NEW, START, Script(CONTACT)).path[0].branch == "false"
    script = Script(CONTACT, campaigns={(campaign, "opened"): ["c1"]})
    assert simulate(graph, NEW, START, script).path[0].branch == "true"


def test_replies_come_when_they_are_scripted() -> None:
    nodes = [node(name, "wait_for_reply") for name in "abcd"]
    links = [link(a, b, branch) for a, b in ("ab", "bc", "cd") for branch in ("reply", "timeout")]
    graph = read_flow(MANUAL, nodes, links).graph
    script = Script(CONTACT, replies=[ScriptedReply("yes", 5), None, ScriptedReply("late", 3_600)])
    found = simulate(graph, NEW, START, script)
    assert path_of(found.path) == [
        ("a", 5, "reply"),
        ("b", 3_605, "timeout"),
        ("c", 7_205, "timeout"),
        ("d", 10_805, "timeout"),
    ]
    assert found.execution.variables == {"answer": "yes"}


def test_failures_are_tried_again_on_the_virtual_clock() -> None:
    graph = chain(node("a", "send_message"), node("b", "http_request")).graph
    script = Script(CONTACT, failures={"a": ScriptedFailure("busy", attempts=2)}, results={"b": 17})
    found = simulate(graph, NEW, START, script, random=lambda: 1.0)
    assert [(each.effect.attempt, (each.at - START).total_seconds()) for each in found.effects] == [
        (1, 0),
        (2, 5),
        (3, 15),
        (1, 15),
    ]
    assert found.execution.status == "completed"
    assert found.execution.variables == {"order": 17}
    final = Script(CONTACT, failures={"a": ScriptedFailure("blocked", final=True)})
    assert simulate(graph, NEW, START, final).execution.failure == "blocked"
    assert len(simulate(graph, NEW, START, final).effects) == 1


def test_a_flow_that_goes_round_for_ever_is_cut() -> None:
    for seconds in (1, 86_400 * 30):
        graph = read_flow(MANUAL, [node("a", "wait", duration=seconds)], [link("a", "a")]).graph
        found = simulate(graph, NEW, START, Script(CONTACT))
        assert found.execution.status == "running"
        assert len(found.path) <= 2 * MOST_EVENTS
        assert found.path[-1].at - START <= LONGEST


def by_hand(
    graph: FlowGraph, script: Script
) -> tuple[Execution, tuple[HistoryEntry, ...], tuple[SimulatedEffect, ...]]:
    """Drive the interpreter as an executor would: tell it what happens, do what it wants done."""
    tags: set[str] = set()
    answers = iter([*script.replies, *[None] * MOST_EVENTS])
    surroundings = Surroundings(lambda *_: "vip" in tags, lambda: 0.25)
    execution, history, effects = NEW, [], []
    event: Event = Started(START)
    for number in range(MOST_EVENTS):
        if event.at - START > LONGEST:
            break
        step = advance(graph, execution, event, surroundings)
        execution, now = step.execution, event.at
        history += step.history
        if step.effect is not None:
            effects.append(SimulatedEffect(now, step.effect))
            key, failure = step.effect.key, script.failures.get(step.effect.key.node_id)
            if failure is not None and step.effect.attempt <= failure.attempts:
                event = EffectFailed(now, key, step.effect.attempt, failure.reason, failure.final)
                continue
            match step.effect.action:
                case AddTag(tag):
                    tags.add(tag)
                case RemoveTag(tag):
                    tags.discard(tag)
            event = EffectSucceeded(now, key, script.results.get(key.node_id))
        elif execution.waiting is None or execution.waiting.until is None:
            break
        else:
            until = execution.waiting.until
            answer = next(answers) if execution.waiting.reason == "reply" else None
            replied = START if answer is None else now + timedelta(seconds=answer.after_s)
            is_in_time = answer is not None and replied < until
            event = Replied(replied, Reply(f"h{number}", answer.text)) if answer and is_in_time else TimeReached(until)
    return execution, tuple(history), tuple(effects)


REPLIES = st.lists(st.none() | st.builds(ScriptedReply, st.text(max_size=5), st.integers(0, 5_000)), max_size=5)
FAILURES = st.dictionaries(
    st.sampled_from([f"n{number}" for number in range(14)]),
    st.builds(ScriptedFailure, st.just("broken"), st.integers(1, MOST_ATTEMPTS + 1), st.booleans()),
    max_size=4,
)
RESULTS = st.dictionaries(st.sampled_from([f"n{number}" for number in range(14)]), st.integers(), max_size=4)


@settings(max_examples=150)
@given(body=sound_flows(), replies=REPLIES, failures=FAILURES, results=RESULTS)
def test_a_simulation_takes_the_path_of_a_real_run(body: Any, replies: Any, failures: Any, results: Any) -> None:
    graph = read_flow(**body).graph
    script = Script(CONTACT, replies=replies, failures=failures, results=results)
    found = simulate(graph, NEW, START, script, random=lambda: 0.25)
    execution, history, effects = by_hand(graph, script)
    assert (found.path, found.effects) == (history, effects)
    assert (found.execution.status, found.execution.node_id, found.execution.variables) == (
        (execution.status, execution.node_id, execution.variables)
    )
