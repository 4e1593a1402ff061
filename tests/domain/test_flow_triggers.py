from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Problem
from domain.flow_triggers import (
    Happening,
    OnManual,
    OnMessage,
    OnNewFollower,
    OnSchedule,
    OnTagAdded,
    ReEntry,
    keyword_words,
    may_enter,
    read_trigger,
    starts,
)

SCHEDULE = {
    "segmentId": "s",
    "startAt": "2026-01-18T10:00:00Z",
    "recurrence": "FREQ=DAILY",
    "timezone": "Europe/Berlin",
}


def trigger_of(kind: str, **config: Any) -> Any:
    problems: list[Problem] = []
    trigger = read_trigger({"type": kind, "config": config}, problems)
    assert problems == []
    return trigger


def is_started_by(text: str, *keywords: str, match: str = "any") -> bool:
    trigger = trigger_of("message_received", keywords=list(keywords), match=match)
    return starts(trigger, Happening("message_received", text))


def test_the_trigger_of_the_seed_is_read() -> None:
    assert trigger_of("new_follower") == OnNewFollower()
    assert read_trigger({"type": "manual"}, []) == OnManual()


@pytest.mark.parametrize(
    "kind",
    [
        "new_follower",
        "message_received",
        "new_contact",
        "mention",
        "tag_added",
        "campaign_replied",
        "manual",
    ],
)
def test_a_trigger_without_configuration_takes_all_of_its_kind_and_nothing_else(kind: str) -> None:
    trigger = trigger_of(kind)
    assert trigger.kind == kind
    assert starts(trigger, Happening(kind, "anything"))
    assert not starts(trigger, Happening("segment_entered", "anything"))


@pytest.mark.parametrize(
    ("kind", "config", "about", "other"),
    [
        ("tag_added", {"tag": "VIP"}, "vip", "gold"),
        ("campaign_replied", {"campaignId": "c1"}, "c1", "c2"),
        ("segment_entered", {"segmentId": "s1"}, "s1", "s2"),
        ("schedule", SCHEDULE, "s", "t"),
        ("mention", {"keywords": ["price"]}, "What's the price?", "hello"),
    ],
)
def test_a_trigger_takes_what_it_names(kind: str, config: dict[str, Any], about: str, other: str) -> None:
    trigger = trigger_of(kind, **config)
    assert starts(trigger, Happening(kind, about))
    assert not starts(trigger, Happening(kind, other))


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("Where is my ORDER?", "order"),
        ("order", "Order"),
        ("¿Tienen un MENÚ?", "menu"),
        ("Toi muon gap NGUYEN", "Nguyễn"),
        ("order   status, please", "order status"),
        ("order-status", "Order Status"),
        ("#promo now", "promo"),
        ("promo", "#promo"),
        ("你好吗", "你好"),
        ("我想退货", "货"),
        ("thanks👍", "👍"),
        ("ok 👍🏽 bye", "👍"),
        ("don't", "DON'T"),
    ],
)
def test_a_keyword_in_a_message_is_found(text: str, keyword: str) -> None:
    assert is_started_by(text, keyword)
    assert is_started_by(text, "zzz", keyword)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("reorder", "order"),
        ("orders", "order"),
        ("status order", "order status"),
        ("order my status", "order status"),
        ("好你", "你好"),
        ("", "order"),
        ("👎", "👍"),
    ],
)
def test_what_is_only_like_a_keyword_is_not(text: str, keyword: str) -> None:
    assert not is_started_by(text, keyword)


def test_an_exact_keyword_is_the_whole_message() -> None:
    assert is_started_by("  Start! ", "help", "start", match="exact")
    assert not is_started_by("start now", "start", match="exact")
    assert not is_started_by("", "start", match="exact")


@given(before=st.text(max_size=20), keyword=st.text(min_size=1, max_size=10), after=st.text(max_size=20))
def test_a_keyword_that_stands_by_itself_is_found_whatever_is_around_it(before: str, keyword: str, after: str) -> None:
    if keyword_words(keyword):
        assert starts(OnMessage((keyword,)), Happening("message_received", f"{before} {keyword} {after}"))


@given(text=st.text("abcXYZéÉđĐñÑ19 ,!你👍", max_size=40))
def test_case_and_accents_make_no_difference(text: str) -> None:
    plain = text.swapcase().translate(str.maketrans("éÉđĐñÑ", "eEdDnN"))
    assert keyword_words(text) == keyword_words(plain)


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        (None, {"trigger", "trigger.type"}),
        ({}, {"trigger.type"}),
        ({"type": "full_moon"}, {"trigger.type"}),
        ({"type": ["manual"]}, {"trigger.type"}),
        ({"type": "manual", "config": []}, {"trigger.config"}),
        ({"type": "manual", "when": 1}, {"trigger.when"}),
        ({"type": "manual", "config": {"tag": "x"}}, {"trigger.config.tag"}),
        ({"type": "message_received", "config": {"keywords": "hi"}}, {"trigger.config.keywords"}),
        ({"type": "message_received", "config": {"keywords": ["hi"] * 101}}, {"trigger.config.keywords"}),
        ({"type": "message_received", "config": {"match": "exact"}}, {"trigger.config.keywords"}),
        ({"type": "message_received", "config": {"match": "regex"}}, {"trigger.config.match"}),
        (
            {"type": "message_received", "config": {"keywords": ["hi", "?!", 5, "", "x" * 101]}},
            {f"trigger.config.keywords.{number}" for number in (1, 2, 3, 4)},
        ),
        ({"type": "tag_added", "config": {"tag": "a,b"}}, {"trigger.config.tag"}),
        ({"type": "tag_added", "config": {"tag": 5}}, {"trigger.config.tag"}),
        ({"type": "campaign_replied", "config": {"campaignId": 5}}, {"trigger.config.campaignId"}),
        ({"type": "segment_entered", "config": {}}, {"trigger.config.segmentId"}),
        ({"type": "schedule", "config": {}}, {"trigger.config.segmentId", "trigger.config.startAt"}),
        ({"type": "schedule", "config": SCHEDULE | {"startAt": "soon"}}, {"trigger.config.startAt"}),
        ({"type": "schedule", "config": SCHEDULE | {"recurrence": "FREQ=SECONDLY"}}, {"trigger.config.recurrence"}),
        ({"type": "schedule", "config": SCHEDULE | {"timezone": "Mars"}}, {"trigger.config.timezone"}),
        (
            {"type": "schedule", "config": SCHEDULE | {"timezone": "Mars", "recurrence": None}},
            {"trigger.config.timezone"},
        ),
    ],
)
def test_what_is_wrong_with_a_trigger_is_named_by_its_path(given: object, paths: set[str]) -> None:
    problems: list[Problem] = []
    read_trigger(given, problems)
    assert {problem.field for problem in problems} == paths


def test_fields_that_are_null_are_as_if_they_were_not_there() -> None:
    assert trigger_of("tag_added", tag=None) == OnTagAdded()
    assert trigger_of("message_received", keywords=None, match=None) == OnMessage()
    assert trigger_of("schedule", **SCHEDULE | {"recurrence": None, "timezone": None}) == (
        OnSchedule("s", datetime(2026, 1, 18, 10, tzinfo=UTC))
    )


@pytest.mark.parametrize(
    ("rule", "earlier", "expected"),
    [
        (ReEntry.ALWAYS, [], True),
        (ReEntry.ALWAYS, ["running", "completed"], True),
        (ReEntry.ONCE, [], True),
        (ReEntry.ONCE, ["running"], False),
        (ReEntry.ONCE, ["completed"], False),
        (ReEntry.ONCE, ["failed"], False),
        (ReEntry.AFTER_COMPLETED, [], True),
        (ReEntry.AFTER_COMPLETED, ["completed", "failed"], True),
        (ReEntry.AFTER_COMPLETED, ["completed", "running"], False),
    ],
)
def test_re_entry(rule: ReEntry, earlier: list[Any], expected: bool) -> None:
    assert may_enter(rule, earlier) is expected
    assert may_enter(rule, iter(earlier)) is expected
