"""The database finds what the rules say: random conditions over random contacts, asked of both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import InvalidContent
from domain.segment_conditions import All, read_conditions
from domain.segment_fields import FIELDS, FITTING, ORDER, PARTS, Kind, Operator, field_named
from domain.segment_matching import matches
from domain.segment_query import query_of
from storage.client import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MERCHANT = "merchant"
CAMPAIGN = "0198f0a2-7c3e-7b1a-9d55-1f0c6a3b2e11"
CAMPAIGNS = {(CAMPAIGN, "opened"): ["0", "2", "5"], (CAMPAIGN, "clicked"): ["2"]}

# Few and telling values, so that conditions hit; the long s, the sharp s and the Kelvin sign are what folding is
# hardest for, the rest is what patterns are made of.
TELLING = [
    *(
        "vip",
        "VIP",
        "vi",
        "a.c",
        "abc",
        ".*",
        "^",
        "$",
        "x\n",
        "x",
        "\\",
        "[a]",
        "straße",
        "STRASSE",
        "\u017f",
        "S",
    ),
    *("\u212a", "K", "k", "İ", "i", "\u0131", "Đào", "đÀO", "日本", "a b", "1", "5", "true", "s"),
]
TEXTS = st.sampled_from(TELLING) | st.text(alphabet="aAbB.*sSß\u017f ", min_size=1, max_size=4)
DATES = st.sampled_from(
    [
        *("2026-02-28", "2026-02-31", "2026-03-01", "2025-12-31", "2026-02-28T23:59:59Z", "2026-03-01\n", "2026-13-01"),
        *("2026-02-22T00:00:00.123456Z", "2026-02-28T24:00:00Z", "2026-02-28 10:00", "2026-2-8", "2023-02-29"),
        *("2026-02-28T12:00:00", "2024-02-29", "2026-02-28T10:00:00.123999999Z", "2026-03-01T06:59:59.999+07:00"),
    ]
)
NUMBERS = st.sampled_from([0, 1, 5, -1, 5.0, 0.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, 1e300])
MOMENTS = st.sampled_from([NOW, NOW - timedelta(days=1), NOW - timedelta(days=7), NOW + timedelta(seconds=1)])
DURATIONS = st.sampled_from(["P1D", "P7D", "P1M", "PT1S", "P1Y"])
ATTRIBUTES = TEXTS | DATES | NUMBERS | st.booleans() | st.lists(TEXTS | DATES, max_size=3)


@st.composite
def contacts(draw: st.DrawFn, number: int) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "tags": draw(st.lists(st.sampled_from(["vip", "gold", "a.c"]), unique=True)),
        "attributes": draw(st.dictionaries(st.sampled_from(["a", "b"]), ATTRIBUTES)),
        "consent": {"state": draw(st.sampled_from(["none", "inbound", "opted_in", "opted_out"]))},
    }
    for name in ("username", "displayName", "source"):
        whole[name] = draw(st.none() | TEXTS)
    for name in ("firstInteractionAt", "lastInteractionAt", "createdAt"):
        whole[name] = draw(st.none() | MOMENTS)
    for name in ("messagesSent", "messagesReceived", "conversationCount"):
        whole[name] = draw(NUMBERS)
    for name in draw(st.sets(st.sampled_from(sorted(whole)), max_size=3)):
        del whole[name]
    return {"_id": str(number), "merchantId": MERCHANT, **whole}


VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: TEXTS,
    Kind.NAME: TEXTS,
    Kind.NUMBER: NUMBERS,
    Kind.TIME: DATES,
    Kind.TAGS: st.sampled_from(["vip", "gold", "VIP", "none"]),
    Kind.CONSENT: st.sampled_from(["none", "inbound", "opted_in", "opted_out"]),
    Kind.CAMPAIGN: st.sampled_from(["received", "opened", "clicked", "replied"]),
    Kind.ATTRIBUTE: TEXTS | DATES | NUMBERS | st.booleans(),
}


def value_of(kind: Kind, operator: Operator) -> st.SearchStrategy[Any]:
    values = VALUES[kind]
    if kind is Kind.ATTRIBUTE and operator in {*ORDER, Operator.BETWEEN}:
        values = NUMBERS | DATES
    if operator in {Operator.IN, Operator.NOT_IN}:
        return st.lists(values, min_size=1, max_size=3)
    if operator is Operator.BETWEEN:
        return st.lists(NUMBERS, min_size=2, max_size=2) | st.lists(values, min_size=2, max_size=2)
    if operator in PARTS and kind is not Kind.TAGS:
        return TEXTS
    special: dict[Operator, st.SearchStrategy[Any]] = {
        Operator.WITHIN_LAST: DURATIONS,
        Operator.NOT_WITHIN_LAST: DURATIONS,
        Operator.BEFORE: DATES,
        Operator.AFTER: DATES,
        Operator.EXISTS: st.none(),
        Operator.NOT_EXISTS: st.none(),
    }
    return special.get(operator, values)


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    names = [*FIELDS, "attributes.a", "attributes.b", "attributes.c", f"campaign:{CAMPAIGN}"]
    name = draw(st.sampled_from(names) | st.sampled_from(["attributes.a", "displayName"]))
    field = field_named(name)
    assert field is not None
    operator = draw(st.sampled_from(sorted(FITTING[field.kind])))
    return {"field": name, "operator": str(operator), "value": draw(value_of(field.kind, operator))}


def is_right(condition: dict[str, Any]) -> bool:
    try:
        read_conditions([condition])
    except InvalidContent:
        return False
    return True


CONDITIONS = st.recursive(
    comparisons().filter(is_right),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda each: {"any": each})
        | st.lists(inner, min_size=1, max_size=3).map(lambda each: {"all": each})
        | inner.map(lambda each: {"not": each})
    ),
    max_leaves=4,
).filter(is_right)
PEOPLE = st.tuples(*(contacts(number) for number in range(6)))
MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@MANY
@given(people=PEOPLE, trees=st.lists(st.lists(CONDITIONS, max_size=2), min_size=8, max_size=8))
async def test_the_database_finds_the_contacts_that_meet_the_conditions(
    database: Database, people: tuple[dict[str, Any], ...], trees: list[list[dict[str, Any]]]
) -> None:
    # Not the contacts: of those no two may be one person, which these are.
    collection = database["people"]
    await collection.delete_many({})
    foreign = [contact | {"_id": f"foreign{contact['_id']}", "merchantId": "another"} for contact in people]
    await collection.insert_many([*people, *foreign])

    async def found(read: All) -> list[str]:
        cursor = collection.find(query_of(MERCHANT, read, NOW, CAMPAIGNS), {"_id": 1})
        return sorted([contact["_id"] async for contact in cursor])

    reads = [read_conditions(tree) for tree in trees]
    for tree, read, ids in zip(trees, reads, await asyncio.gather(*map(found, reads)), strict=True):
        expected = [contact["_id"] for contact in people if matches(read, contact, NOW, CAMPAIGNS)]
        assert ids == expected, tree


def test_the_merchant_comes_first_in_every_query() -> None:
    for conditions in ([], [{"field": "tags", "operator": "contains", "value": "vip"}]):
        query = query_of(MERCHANT, read_conditions(conditions), NOW, {})
        assert next(iter(query.items())) == ("merchantId", MERCHANT)


@pytest.mark.parametrize("operator", ["equals", "contains", "startsWith", "endsWith"])
@pytest.mark.parametrize("field", ["displayName", "source"])
async def test_texts_are_compared_alike_whatever_they_are_made_of(
    database: Database, field: str, operator: str
) -> None:
    people = [
        {"_id": str(n), "merchantId": MERCHANT, "twitterUserId": str(n), field: text} for n, text in enumerate(TELLING)
    ]
    await database["contacts"].insert_many(people)
    for text in TELLING:
        read = read_conditions([{"field": field, "operator": operator, "value": text}])
        found = database["contacts"].find(query_of(MERCHANT, read, NOW, {}), {"_id": 1})
        expected = {each["_id"] for each in people if matches(read, each, NOW, {})}
        assert {each["_id"] async for each in found} == expected, text
        assert expected
