from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.flow_execution import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    MOST_ATTEMPTS,
    MOST_DEPTH,
    MOST_HEARD,
    MOST_VISITS,
    advance,
    listens,
    outstanding,
    retry_delay,
)
from domain.flow_graph import Flow, read_flow
from domain.flow_nodes import HttpRequest, SendMessage, StartFlow
from domain.flow_state import (
    Cancelled,
    Effect,
    EffectFailed,
    EffectKey,
    EffectSucceeded,
    Event,
    Execution,
    HistoryEntry,
    Replied,
    Reply,
    Retried,
    Started,
    Step,
    Surroundings,
    TimeReached,
    Waiting,
)
from tests.domain.flow_bodies import MANUAL, SEED, chain, link, node, sound_flows

START = datetime(2026, 1, 18, 9, 0, tzinfo=UTC)
NEW = Execution("e1", "f1", "c1")
LEAST_CHANCE = Surroundings(lambda *_: True, lambda: 0.0)


class Run:
    """An execution under way, with all that came of it."""

    def __init__(self, flow: Flow, execution: Execution = NEW, surroundings: Surroundings = LEAST_CHANCE) -> None:
        self.graph, self.now, self.surroundings = flow.graph, START, surroundings
        self.execution = execution
        self.effects: list[Effect] = []
        self.history: list[HistoryEntry] = []
        self.take(Started(START))

    def take(self, event: Event) -> Step:
        self.now = max(self.now, event.at)
        step = advance(self.graph, self.execution, event, self.surroundings)
        self.execution = step.execution
        self.effects += [] if step.effect is None else [step.effect]
        self.history += step.history
        return step

    def succeed(self, result: Any = None) -> Step:
        return self.take(EffectSucceeded(self.now, self.effects[-1].key, result))

    def fail(self, reason: str = "broken", **more: Any) -> Step:
        effect = self.effects[-1]
        return self.take(EffectFailed(self.now, effect.key, effect.attempt, reason, **more))

    def wake(self) -> Step:
        assert self.execution.waiting is not None
        assert self.execution.waiting.until is not None
        return self.take(TimeReached(self.execution.waiting.until))

    def say(self, message_id: str, text: str = "hello") -> Step:
        return self.take(Replied(self.now, Reply(message_id, text)))

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return [(entry.node_id, entry.outcome, entry.branch) for entry in self.history]


def test_the_example_of_the_seed_runs_to_its_end() -> None:
    run = Run(read_flow(**SEED))
    assert run.effects == [Effect(EffectKey("e1", "node-1", 1), 1, SendMessage("template-uuid"), {}, 0)]
    assert str(run.effects[0].key) == "e1:node-1:1"
    run.succeed()
    assert run.execution.waiting == Waiting("time", START + timedelta(days=1))
    run.wake()
    run.succeed()
    assert (run.execution.status, run.execution.node_id, run.execution.waiting) == ("completed", None, None)
    assert run.told == [
        ("node-1", "done", "next"),
        ("node-2", "waiting", None),
        ("node-2", "done", "next"),
        ("node-3", "done", "next"),
    ]
    assert [entry.at for entry in run.history] == [START, START, START + timedelta(days=1), START + timedelta(days=1)]


def test_an_end_ends_at_once() -> None:
    run = Run(chain(node("a", "end")))
    assert (run.execution.status, run.told, run.effects) == ("completed", [("a", "done", None)], [])


def test_a_delay_is_waited_for_before_the_message() -> None:
    run = Run(chain(node("a", "send_message", delay=30)))
    assert run.effects == []
    assert run.execution.waiting == Waiting("time", START + timedelta(seconds=30))
    run.wake()
    assert [each.key.node_id for each in run.effects] == ["a"]


def test_a_moment_that_is_over_is_not_waited_for() -> None:
    until = {"duration": None, "until": "2026-01-18T09:00:00Z"}
    assert Run(chain(node("a", "wait", **until), node("b", "end"))).execution.status == "completed"
    until["until"] = "2026-01-18T09:00:01Z"
    run = Run(chain(node("a", "wait", **until), node("b", "end")))
    assert run.execution.waiting == Waiting("time", START + timedelta(seconds=1))


def test_it_wakes_no_earlier_than_it_should() -> None:
    run = Run(chain(node("a", "wait"), node("b", "end")))
    before = run.execution
    assert run.take(TimeReached(START + timedelta(seconds=59))) == Step(before)
    assert run.take(TimeReached(START + timedelta(seconds=61))).execution.status == "completed"


@pytest.mark.parametrize(("holds", "expected"), [(True, "yes"), (False, "no")])
def test_a_condition_is_asked_when_it_is_come_to(holds: bool, expected: str) -> None:
    nodes = [node("a", "wait"), node("b", "condition"), node("yes", "add_tag"), node("no", "add_tag")]
    links = [link("a", "b"), link("b", "yes", "true"), link("b", "no", "false")]
    asked: list[datetime] = []
    surroundings = Surroundings(lambda _, at: not asked.append(at) and holds, lambda: 0.0)
    run = Run(read_flow(MANUAL, nodes, links), surroundings=surroundings)
    assert asked == []
    run.wake()
    assert asked == [START + timedelta(seconds=60)]
    assert run.execution.node_id == expected


def test_a_split_follows_its_weights_and_a_contact_goes_the_same_way_again() -> None:
    nodes = [node("a", "split", weights={"x": 3, "y": 1, "z": 0}), *(node(name, "ai_reply") for name in "xyz")]
    flow = read_flow(MANUAL, nodes, [link("a", name, name) for name in "xyz"])
    went = [Run(flow, Execution(f"e{number}", "f1", f"c{number}")).execution.node_id for number in range(2_000)]
    again = [Run(flow, Execution(f"other{number}", "f1", f"c{number}")).execution.node_id for number in range(2_000)]
    assert went == again
    assert 0.7 < went.count("x") / len(went) < 0.8
    assert "z" not in went


def conversation() -> Flow:
    nodes = [node("ask", "send_message"), node("wait", "wait_for_reply"), node("yes", "ai_reply"), node("no", "end")]
    return read_flow(MANUAL, nodes, [link("ask", "wait"), link("wait", "yes"), link("wait", "no", "timeout")])


def test_a_reply_is_taken_and_kept() -> None:
    run = Run(conversation())
    run.succeed()
    assert run.execution.waiting == Waiting("reply", START + timedelta(hours=1))
    run.say("m1", "blue")
    assert run.execution.node_id == "yes"
    assert run.effects[-1].variables == {"answer": "blue"}


def test_without_a_reply_it_goes_on_by_the_timeout() -> None:
    run = Run(conversation())
    run.succeed()
    run.wake()
    assert run.execution.status == "completed"
    assert run.told[-2:] == [("wait", "done", "timeout"), ("no", "done", None)]


def test_a_reply_that_comes_before_the_send_is_known_to_have_succeeded_counts() -> None:
    run = Run(conversation())
    assert run.say("m1", "blue").effect is None
    run.succeed()
    assert run.execution.node_id == "yes"
    assert run.told[-1] == ("wait", "done", "reply")


def test_what_was_written_before_the_message_is_no_answer_to_it() -> None:
    run = Run(chain(node("a", "wait"), node("b", "send_message"), node("c", "wait_for_reply")))
    run.say("m1")
    run.wake()
    run.succeed()
    assert run.execution.waiting is not None
    assert run.say("m1") == Step(run.execution)
    run.say("m2")
    assert run.execution.status == "completed"


def test_the_message_that_starts_a_flow_is_no_reply() -> None:
    graph = chain(node("a", "wait_for_reply")).graph
    execution = advance(graph, NEW, Started(START, "m1"), LEAST_CHANCE).execution
    assert advance(graph, execution, Replied(START, Reply("m1", "start")), LEAST_CHANCE) == Step(execution)


def test_one_reply_answers_one_question() -> None:
    run = Run(chain(node("a", "wait_for_reply"), node("b", "wait_for_reply")))
    run.say("m1")
    run.say("m1")
    assert run.execution.node_id == "b"
    run.say("m2")
    assert run.execution.status == "completed"


def test_messages_that_come_a_second_time_are_known() -> None:
    run = Run(chain(*(node(name, "wait_for_reply") for name in "abc")))
    for message_id in ("m1", "m2", "m1", "m2"):
        run.say(message_id)
    assert run.execution.node_id == "c"
    run = Run(chain(node("a", "wait")))
    for number in range(2 * MOST_HEARD):
        run.say(f"m{number}")
    assert run.execution.heard == tuple(f"m{number}" for number in range(MOST_HEARD, 2 * MOST_HEARD))


def test_a_result_is_kept_and_fills_what_comes_after_unless_the_node_says_otherwise() -> None:
    run = Run(chain(node("a", "http_request"), node("b", "send_message", variables={"x": 1})))
    assert isinstance(run.effects[0].action, HttpRequest)
    run.succeed("A-17")
    assert run.effects[1].variables == {"order": "A-17", "x": 1}
    run = Run(chain(node("a", "http_request"), node("b", "send_message", variables={"order": "mine"})))
    run.succeed("x" * 5_000)
    assert run.effects[1].variables == {"order": "mine"}
    assert len(str(run.execution.variables["order"])) == 2_000


def test_a_failure_is_tried_again_under_the_same_key_later_and_later() -> None:
    run = Run(chain(node("a", "send_message"), node("b", "end")))
    delays = []
    for _ in range(MOST_ATTEMPTS - 1):
        run.fail()
        assert run.execution.waiting is not None
        assert run.execution.waiting.reason == "retry"
        assert run.execution.waiting.until is not None
        delays.append((run.execution.waiting.until - run.now).total_seconds())
        run.wake()
    assert delays == [FIRST_DELAY_S / 2 * 2**number for number in range(MOST_ATTEMPTS - 1)]
    assert [each.attempt for each in run.effects] == list(range(1, MOST_ATTEMPTS + 1))
    assert len({each.key for each in run.effects}) == 1
    run.fail("still_broken")
    assert (run.execution.status, run.execution.node_id) == ("failed", "a")
    assert run.execution.failure == "still_broken"
    assert run.told == [("a", "retrying", None)] * (MOST_ATTEMPTS - 1) + [("a", "failed", None)]
    assert [entry.error for entry in run.history] == ["broken"] * (MOST_ATTEMPTS - 1) + ["still_broken"]


def test_a_failure_that_is_final_takes_the_branch_for_errors() -> None:
    flow = read_flow(MANUAL, [node("a", "send_message"), node("b", "add_tag")], [link("a", "b", "error")])
    run = Run(flow)
    run.fail("blocked", final=True)
    assert (run.execution.status, run.execution.node_id) == ("running", "b")
    assert run.history == [HistoryEntry("a", 1, "failed", START, "error", "blocked")]
    run.succeed()
    assert run.execution.status == "completed"


def test_what_a_failure_asks_for_is_waited_within_bounds() -> None:
    for asked, expected in (
        (60.0, 60.0),
        (0.0, FIRST_DELAY_S / 2),
        (-5.0, FIRST_DELAY_S / 2),
        (1e12, LONGEST_RETRY_AFTER_S),
    ):
        run = Run(chain(node("a", "send_message")))
        run.fail(retry_after_s=asked)
        assert run.execution.waiting == Waiting("retry", START + timedelta(seconds=expected))


def test_the_failure_of_an_earlier_attempt_is_known_already() -> None:
    run = Run(chain(node("a", "send_message"), node("b", "end")))
    failed = EffectFailed(START, run.effects[0].key, 1, "broken", final=True)
    run.fail()
    assert run.take(failed) == Step(run.execution)
    run.wake()
    assert run.take(failed) == Step(run.execution)


def test_an_effect_may_succeed_late() -> None:
    run = Run(chain(node("a", "send_message"), node("b", "end")))
    run.fail()
    run.succeed()
    assert run.execution.status == "completed"


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_delays_are_bounded_and_spread(attempt: int, chance: float) -> None:
    delay, shortest = retry_delay(attempt, lambda: chance), retry_delay(attempt, lambda: 0.0)
    assert FIRST_DELAY_S / 2 <= shortest.total_seconds() <= delay.total_seconds() <= LONGEST_DELAY_S
    assert retry_delay(attempt, lambda: 1.0) == 2 * shortest


def test_flows_start_one_another_to_a_depth() -> None:
    links = [link("a", "b", "error")]
    flow = read_flow(MANUAL, [node("a", "start_flow"), node("b", "add_tag")], links)
    run = Run(flow, replace(NEW, depth=MOST_DEPTH - 1))
    assert run.effects[0].action == StartFlow("other")
    assert run.effects[0].depth == MOST_DEPTH - 1
    run = Run(flow, replace(NEW, depth=MOST_DEPTH))
    assert [each.key.node_id for each in run.effects] == ["b"]
    assert run.history[0].error == "too_many_nested_flows"
    run = Run(chain(node("a", "start_flow"), node("b", "end")), replace(NEW, depth=MOST_DEPTH))
    assert (run.execution.status, run.execution.failure) == ("failed", "too_many_nested_flows")


def test_a_long_chain_of_failures_is_gone_through() -> None:
    nodes = [node(f"n{number}", "start_flow") for number in range(200)]
    links = [link(f"n{number}", f"n{number + 1}", "error") for number in range(199)]
    run = Run(read_flow(MANUAL, nodes, links), replace(NEW, depth=MOST_DEPTH))
    assert (run.execution.visit, run.execution.status) == (200, "failed")


def test_a_flow_that_goes_round_for_ever_ends() -> None:
    run = Run(read_flow(MANUAL, [node("a", "wait")], [link("a", "a")]))
    for _ in range(MOST_VISITS):
        run.wake()
    assert (run.execution.status, run.execution.failure) == ("failed", "too_many_visits")
    assert len(run.history) == 2 * MOST_VISITS


def test_what_is_over_stays_over() -> None:
    run = Run(chain(node("a", "end")))
    before = run.execution
    for event in (Started(START), TimeReached(START), Replied(START, Reply("m", "x"))):
        assert run.take(event) == Step(before)


ELSEWHERE = EffectKey("e1", "a", 9), EffectKey("e2", "a", 1), EffectKey("e1", "b", 1)


@pytest.mark.parametrize("key", ELSEWHERE)
def test_an_answer_to_something_else_changes_nothing(key: EffectKey) -> None:
    run = Run(chain(node("a", "send_message"), node("b", "end")))
    before = run.execution
    assert run.take(EffectSucceeded(START, key)) == Step(before)
    assert run.take(EffectFailed(START, key, 1, "x", final=True)) == Step(before)


def drawn_event(data: st.DataObject, run: Run, number: int) -> Event:
    """Return something that may happen now: mostly what is waited for, sometimes anything else."""
    waiting = run.execution.waiting
    assert waiting is not None
    stray = Replied(run.now, Reply(f"m{number}", "hm")), TimeReached(run.now)
    if data.draw(st.integers(0, 4)) == 0:
        return data.draw(st.sampled_from(stray))
    if waiting.reason == "effect":
        effect = outstanding(run.graph, run.execution)
        assert effect is not None
        failed = EffectFailed(run.now, effect.key, effect.attempt, "broken", final=data.draw(st.booleans()))
        return data.draw(st.sampled_from((EffectSucceeded(run.now, effect.key, "ok"), failed)))
    assert waiting.until is not None
    return TimeReached(waiting.until + timedelta(seconds=data.draw(st.integers(0, 200))))


@settings(max_examples=300)
@given(body=sound_flows(), data=st.data())
def test_any_sound_flow_ends_or_waits_and_a_repeated_step_is_the_same(body: dict[str, Any], data: Any) -> None:
    holds = data.draw(st.lists(st.booleans(), min_size=7, max_size=7))
    surroundings = Surroundings(lambda _, at: holds[int(at.timestamp()) % len(holds)], lambda: 0.0)
    run = Run(read_flow(**body), surroundings=surroundings)
    known: dict[EffectKey, Effect] = {}
    events: list[Event] = [Started(START)]
    for number in range(40):
        before = run.execution
        assert (before.status == "running") is (before.waiting is not None)
        if before.waiting is None:
            break
        chance = data.draw(st.floats(0, 1))
        run.surroundings = replace(surroundings, random=lambda chance=chance: chance)
        event = drawn_event(data, run, number)
        step = run.take(event)
        assert step.execution.visit - before.visit <= 2 * len(body["nodes"]) + 1
        # The process ended before the step was written: the same again.
        assert advance(run.graph, before, event, run.surroundings) == step
        # It ended after that, before the effect was done: the state asks for the very same effect.
        has_moved = (step.execution.visit, step.execution.attempt) != (before.visit, before.attempt)
        assert step.effect == (outstanding(run.graph, step.execution) if has_moved else None)
        # What has come comes again, in whatever order.
        events.append(event)
        for earlier in events[-MOST_HEARD:]:
            assert advance(run.graph, step.execution, earlier, run.surroundings) == Step(step.execution)
        if step.effect is not None:
            assert known.setdefault(step.effect.key, step.effect).action == step.effect.action
    tries = [(each.key, each.attempt) for each in run.effects]
    assert len(set(tries)) == len(tries)
    ends = [entry.visit for entry in run.history if entry.outcome in {"done", "failed"}]
    assert ends == list(range(1, run.execution.visit + (run.execution.status != "running")))


def test_an_answer_that_went_to_people_takes_their_branch_and_ends_without_one() -> None:
    flow = read_flow(MANUAL, [node("a", "ai_reply"), node("b", "add_tag")], [link("a", "b", "escalated")])
    run = Run(flow)
    run.take(EffectSucceeded(START, run.effects[0].key, branch="escalated"))
    assert (run.execution.node_id, run.told) == ("b", [("a", "done", "escalated")])
    run = Run(chain(node("a", "ai_reply"), node("b", "add_tag")))
    run.take(EffectSucceeded(START, run.effects[0].key, branch="escalated"))
    assert run.execution.status == "completed"


def test_a_cancelled_execution_stays_where_it_is_and_hears_nothing_more() -> None:
    run = Run(chain(node("a", "wait"), node("b", "end")))
    run.take(Cancelled(START))
    assert (run.execution.status, run.execution.node_id, run.execution.waiting) == ("cancelled", "a", None)
    assert run.told == [("a", "waiting", None), ("a", "cancelled", None)]
    before = run.execution
    for event in (Cancelled(START), Retried(START), TimeReached(START + timedelta(days=1))):
        assert run.take(event) == Step(before)


def test_a_failed_execution_comes_to_its_node_again_when_it_is_retried() -> None:
    run = Run(chain(node("a", "http_request"), node("b", "send_message", delay=30)))
    run.fail("broken", final=True)
    run.take(Retried(START))
    assert (run.execution.status, run.execution.failure, run.execution.visit) == ("running", None, 2)
    assert run.effects[-1].key == EffectKey("e1", "a", 2)
    # What is told of the visit that failed is too late.
    assert run.take(EffectSucceeded(START, EffectKey("e1", "a", 1))) == Step(run.execution)
    run.succeed()
    run.wake()
    run.fail("refused", final=True)
    run.take(Retried(START))
    # The message is not delayed a second time.
    assert run.effects[-1].key == EffectKey("e1", "b", 4)
    run.succeed()
    assert run.execution.status == "completed"
    for event in (Retried(START), Cancelled(START)):
        assert run.take(event) == Step(run.execution)


def test_an_execution_that_made_too_many_visits_makes_no_more_by_a_retry() -> None:
    for kind in ("send_message", "http_request"):
        failed = replace(NEW, status="failed", node_id="a", visit=MOST_VISITS, failure="x")
        step = advance(chain(node("a", kind)).graph, failed, Retried(START), LEAST_CHANCE)
        assert (step.execution.status, step.execution.failure) == ("failed", "too_many_visits")


def test_an_execution_listens_from_its_message_to_the_next() -> None:
    run = Run(
        chain(
            node("before", "http_request"),
            node("ask", "send_message", delay=5),
            node("pause", "wait"),
            node("wait", "wait_for_reply"),
            node("thank", "send_message"),
            node("done", "end"),
        )
    )
    heard = [listens(run.graph, run.execution)]
    run.succeed()
    heard.append(listens(run.graph, run.execution))  # the delay
    run.wake()
    heard.append(listens(run.graph, run.execution))  # on its way
    run.succeed()
    heard.append(listens(run.graph, run.execution))  # the pause
    run.wake()
    heard.append(listens(run.graph, run.execution))
    run.say("m1")
    heard.append(listens(run.graph, run.execution))
    assert heard == [False, False, True, True, True, False]


@settings(max_examples=200)
@given(body=sound_flows(), data=st.data())
def test_what_an_execution_does_not_listen_for_changes_nothing_of_its_way(body: dict[str, Any], data: Any) -> None:
    run, deaf = Run(read_flow(**body)), Run(read_flow(**body))
    for number in range(25):
        if run.execution.waiting is None:
            break
        if listens(run.graph, run.execution):
            reply = Replied(run.now, Reply(f"m{number}", "hm"))
            run.take(reply)
            deaf.take(reply)
        else:
            run.say(f"m{number}", "hm")
        assert run.execution.waiting == deaf.execution.waiting
        if run.execution.waiting is not None:
            event = drawn_event(data, run, -1) if data.draw(st.booleans()) else TimeReached(run.now)
            if not isinstance(event, Replied):
                run.take(event)
                deaf.take(event)
    assert run.told == deaf.told
