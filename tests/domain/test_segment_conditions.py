from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import InvalidContent
from domain.segment_conditions import read_conditions
from domain.segment_matching import matches
from domain.segment_moments import last_moment, read_length, read_moment

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
CAMPAIGN = "0198f0a2-7c3e-7b1a-9d55-1f0c6a3b2e11"
JOHN: dict[str, Any] = {
    "_id": "john",
    "username": "customer_john",
    "displayName": "John Doe",
    "tags": ["vip", "customer"],
    "attributes": {"purchaseCount": 8, "city": "Huế", "likes": ["shoes"], "since": "2026-03-15", "member": True},
    "consent": {"state": "inbound"},
    "conversationCount": 3,
    "lastInteractionAt": NOW - timedelta(days=2),
}


def one(field: str, operator: str, *value: object) -> dict[str, object]:
    return {"field": field, "operator": operator} | ({"value": value[0]} if value else {})


def is_john(*conditions: object) -> bool:
    return matches(read_conditions(list(conditions)), JOHN, NOW, {(CAMPAIGN, "opened"): ["john"]})


def nested(depth: int) -> object:
    condition: object = one("tags", "contains", "vip")
    for _ in range(depth):
        condition = {"not": condition}
    return condition


def test_the_example_of_the_api_document_is_read() -> None:
    assert is_john(
        one("tags", "contains", "vip"),
        one("attributes.purchaseCount", "greaterThan", 5),
        one("lastInteractionAt", "after", "2026-01-01T00:00:00Z"),
    )


@pytest.mark.parametrize(
    "condition",
    [
        one("username", "equals", "Customer_JOHN"),
        one("displayName", "contains", "OHN D"),
        one("displayName", "startsWith", "john"),
        one("displayName", "endsWith", "DOE"),
        one("displayName", "notContains", "."),
        one("displayName", "in", ["ann", "john doe"]),
        one("tags", "contains", "VIP"),
        one("tags", "in", ["gold", "vip"]),
        one("tags", "notIn", ["gold"]),
        one("tags", "exists"),
        one("attributes.city", "equals", "Huế"),
        one("attributes.city", "notEquals", "huế"),
        one("attributes.likes", "contains", "shoes"),
        one("attributes.likes", "equals", "shoes"),
        one("attributes.member", "equals", True),
        one("attributes.member", "notEquals", 1),
        one("attributes.since", "between", ["2026-03-01", "2026-03-15"]),
        one("attributes.since", "withinLast", "P1M"),
        one("attributes.since", "before", "2026-03-15T07:00:01+07:00"),
        one("attributes.nothing", "notExists"),
        one("attributes.nothing", "notEquals", "x"),
        one("attributes.nothing", "notIn", ["x", 1]),
        one("attributes.nothing", "notContains", "x"),
        one("attributes.nothing", "notWithinLast", "P1D"),
        one("attributes.purchaseCount", "between", [8, 9.5]),
        one("consent", "in", ["inbound", "opted_in"]),
        one("consent", "notEquals", "opted_out"),
        one("conversationCount", "lessThanOrEqual", 3),
        one("lastInteractionAt", "withinLast", "P2D"),
        one("lastInteractionAt", "notWithinLast", "P1DT23H"),
        one("firstInteractionAt", "notExists"),
        one(f"campaign:{CAMPAIGN}", "equals", "opened"),
        one(f"campaign:{CAMPAIGN}", "notIn", ["clicked", "replied"]),
        {"any": [one("tags", "contains", "gold"), {"not": one("tags", "contains", "gold")}]},
        {"all": [one("tags", "contains", "vip"), one("tags", "contains", "customer")]},
        nested(4),
    ],
)
def test_a_condition_holds_and_its_opposite_does_not(condition: dict[str, object]) -> None:
    assert is_john(condition)
    assert not is_john({"not": condition})


def test_no_conditions_hold_for_everybody() -> None:
    assert is_john()


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ("x", "conditions.0"),
        (None, "conditions.0"),
        ({}, "conditions.0.field"),
        (one("password", "equals", "x"), "conditions.0.field"),
        (one("merchantId", "equals", "x"), "conditions.0.field"),
        (one("$where", "equals", "x"), "conditions.0.field"),
        (one("attributes.$gt", "equals", "x"), "conditions.0.field"),
        (one("attributes.a.b", "equals", "x"), "conditions.0.field"),
        (one("attributes.", "equals", "x"), "conditions.0.field"),
        (one("campaign:1", "equals", "opened"), "conditions.0.field"),
        (one("tags", "$in", ["vip"]), "conditions.0.operator"),
        (one("tags", "regex", "vip"), "conditions.0.operator"),
        ({"field": "tags", "operator": ["contains"], "value": "vip"}, "conditions.0.operator"),
        (one("tags", "greaterThan", 5), "conditions.0.operator"),
        (one("messagesSent", "contains", "5"), "conditions.0.operator"),
        (one("displayName", "greaterThan", 5), "conditions.0.operator"),
        (one("displayName", "before", "2026-01-01"), "conditions.0.operator"),
        (one("lastInteractionAt", "contains", "2026"), "conditions.0.operator"),
        (one("consent", "exists"), "conditions.0.operator"),
        (one("tags", "contains"), "conditions.0.value"),
        (one("tags", "contains", 5), "conditions.0.value"),
        (one("tags", "in", "vip"), "conditions.0.value"),
        (one("tags", "in", []), "conditions.0.value"),
        (one("tags", "in", ["vip"] * 101), "conditions.0.value"),
        (one("tags", "exists", "vip"), "conditions.0.value"),
        (one("username", "equals", {"$ne": None}), "conditions.0.value"),
        (one("username", "equals", ""), "conditions.0.value"),
        (one("username", "contains", "a\x00b"), "conditions.0.value"),
        (one("username", "contains", "a" * 101), "conditions.0.value"),
        (one("source", "contains", "a" * 2_001), "conditions.0.value"),
        (one("attributes.a", "equals", {"$gt": ""}), "conditions.0.value"),
        (one("attributes.a", "equals", ["x"]), "conditions.0.value"),
        (one("attributes.a", "equals", None), "conditions.0.value"),
        (one("attributes.a", "greaterThan", "five"), "conditions.0.value"),
        (one("attributes.a", "before", 5), "conditions.0.value"),
        (one("attributes.a", "between", [1]), "conditions.0.value"),
        (one("attributes.a", "between", [1, "2026-01-01"]), "conditions.0.value"),
        (one("messagesSent", "greaterThan", True), "conditions.0.value"),
        (one("messagesSent", "greaterThan", float("nan")), "conditions.0.value"),
        (one("messagesSent", "equals", 2**64), "conditions.0.value"),
        (one("createdAt", "after", "yesterday"), "conditions.0.value"),
        (one("createdAt", "after", "2026-02-31"), "conditions.0.value"),
        (one("createdAt", "after", "2026-01-01T00:00:00"), "conditions.0.value"),
        (one("createdAt", "withinLast", "7 days"), "conditions.0.value"),
        (one("createdAt", "withinLast", "P0D"), "conditions.0.value"),
        (one("createdAt", "withinLast", "P101Y"), "conditions.0.value"),
        (one("consent", "equals", "maybe"), "conditions.0.value"),
        (one(f"campaign:{CAMPAIGN}", "equals", "sold"), "conditions.0.value"),
        (one("tags", "contains", "vip") | {"$where": "1"}, "conditions.0.$where"),
        ({"$or": []}, "conditions.0.$or"),
        ({"any": []}, "conditions.0.any"),
        ({"any": {}}, "conditions.0.any"),
        ({"any": [one("tags", "exists")], "all": []}, "conditions.0"),
        ({"not": []}, "conditions.0.not"),
        ({"any": [one("tags", "exists"), {"not": one("tags", "contains", 5)}]}, "conditions.0.any.1.not.value"),
        (nested(6), "conditions.0.not.not.not.not.not"),
        ({"any": [one("tags", "exists")] * 101}, "conditions.0.any"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(condition: object, path: str) -> None:
    with pytest.raises(InvalidContent) as caught:
        read_conditions([condition])
    assert [problem.field for problem in caught.value.problems] == [path]


def test_every_problem_is_listed() -> None:
    with pytest.raises(InvalidContent) as caught:
        read_conditions([one("nothing", "equals", 1), one("tags", "exists"), one("tags", "contains", 1)])
    assert [problem.field for problem in caught.value.problems] == ["conditions.0.field", "conditions.2.value"]


@pytest.mark.parametrize("given", [None, {}, "x", [one("tags", "exists")] * 101])
def test_conditions_are_a_list_of_a_hundred_at_most(given: object) -> None:
    with pytest.raises(InvalidContent) as caught:
        read_conditions(given)
    assert caught.value.problems[0].field == "conditions"


def test_nesting_goes_to_a_depth_of_five() -> None:
    assert not is_john(nested(5))


def test_lengths_of_time_follow_the_calendar() -> None:
    for text, before in (
        ("P1M", datetime(2026, 2, 28, 12, 0, tzinfo=UTC)),
        ("P1Y", datetime(2025, 3, 31, 12, 0, tzinfo=UTC)),
        ("P2W", datetime(2026, 3, 17, 12, 0, tzinfo=UTC)),
        ("P1DT2H3M4S", datetime(2026, 3, 30, 9, 56, 56, tzinfo=UTC)),
        ("P3M", datetime(2025, 12, 31, 12, 0, tzinfo=UTC)),
    ):
        length = read_length(text)
        assert length is not None
        assert length.before(NOW) == before
    assert [read_length(text) for text in ("P", "PT", "7D", "P7", "P-7D", "P1.5D", "", "P1D2H")] == [None] * 8


def test_a_plain_date_is_its_midnight_or_the_end_of_its_day() -> None:
    assert read_moment("2026-01-18") == datetime(2026, 1, 18, tzinfo=UTC)
    assert last_moment("2026-01-18") == datetime(2026, 1, 18, 23, 59, 59, 999_000, tzinfo=UTC)
    assert read_moment("2026-01-18T10:00:00+07:00") == last_moment("2026-01-18T03:00:00Z")
