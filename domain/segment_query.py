"""Conditions as one query of the database; `segment_matching` says the same of one contact."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from domain.segment_conditions import All, Condition, Either, Node, Not
from domain.segment_fields import Kind, Operator
from domain.segment_moments import MOMENT_PATTERN, Length
from domain.segment_names import caseless_pattern

Query: TypeAlias = dict[str, object]
#: Ids of the contacts to which something happened in a campaign, by its id and what it was.
CampaignContacts: TypeAlias = Mapping[tuple[str, str], Sequence[str]]

_ORDERS: Mapping[Operator, str] = {
    Operator.GREATER_THAN: "$gt",
    Operator.GREATER_THAN_OR_EQUAL: "$gte",
    Operator.LESS_THAN: "$lt",
    Operator.LESS_THAN_OR_EQUAL: "$lte",
}
# The end of a text in the syntax of the database and in Python's; `$` would take a line break before it.
_END = r"(?![\s\S])"


def query_of(merchant_id: str, node: All, now: datetime, campaigns: CampaignContacts) -> Query:
    """Return the query for a merchant's contacts that meet some conditions as of a moment."""
    parts = [_query(part, now, campaigns) for part in node.parts]
    return {"merchantId": merchant_id, "$and": parts} if parts else {"merchantId": merchant_id}


def comparison_query(condition: Condition, now: datetime) -> Query:
    """Return the query for the contacts, of whichever merchant, that meet one condition about no campaign."""
    return _comparison(condition, now, {})


def _query(node: Node, now: datetime, campaigns: CampaignContacts) -> Query:
    match node:
        case All(parts):
            return {"$and": [_query(part, now, campaigns) for part in parts]}
        case Either(parts):
            return {"$or": [_query(part, now, campaigns) for part in parts]}
        case Not(part):
            return {"$nor": [_query(part, now, campaigns)]}
        case Condition():
            return _comparison(node, now, campaigns)


def _comparison(condition: Condition, now: datetime, campaigns: CampaignContacts) -> Query:
    path, kind, value = condition.field.path, condition.field.kind, condition.value
    match condition.operator, value:
        case Operator.EXISTS, _:
            # No tag is empty; the index of tags holds just the contacts that have some.
            return {path: {"$gt": ""} if kind is Kind.TAGS else {"$ne": None}}
        case Operator.IN, tuple():
            return _membership(condition, value, campaigns)
        case Operator.WITHIN_LAST, Length():
            since = _order(condition, Operator.GREATER_THAN_OR_EQUAL, value.before(now))
            return {"$and": [since, _order(condition, Operator.LESS_THAN_OR_EQUAL, now)]}
        case Operator.CONTAINS | Operator.STARTS_WITH | Operator.ENDS_WITH, str():
            literal = caseless_pattern(value) if kind is Kind.NAME else re.escape(value)
            start = "^" if condition.operator is Operator.STARTS_WITH else ""
            end = _END if condition.operator is Operator.ENDS_WITH else ""
            return {path: {"$regex": start + literal + end}}
        case _, int() | float() | datetime():
            return _order(condition, condition.operator, value)
        case _:
            raise TypeError(f"no condition was read as {condition.operator} of {type(value).__name__}")


def _membership(condition: Condition, values: tuple[object, ...], campaigns: CampaignContacts) -> Query:
    path = condition.field.path
    match condition.field.kind:
        case Kind.CAMPAIGN:
            ids = {each for event in values for each in campaigns.get((path, str(event)), ())}
            return {"_id": {"$in": sorted(ids)}}
        case Kind.NAME:
            return {"$or": [{path: {"$regex": f"^{caseless_pattern(str(each))}{_END}"}} for each in values]}
        case _:
            return {path: values[0]} if len(values) == 1 else {path: {"$in": list(values)}}


def _order(condition: Condition, operator: Operator, value: float | datetime) -> Query:
    path, order = condition.field.path, _ORDERS[operator]
    if condition.field.kind is not Kind.ATTRIBUTE or not isinstance(value, datetime):
        return {path: {order: value}}
    # An attribute has its date as text: only what has the form of one is read, and what is no day is none.
    found = f"${path}"
    read = {"$dateFromString": {"dateString": found, "onError": None, "onNull": None}}
    is_date = {"$regexMatch": {"input": found, "regex": MOMENT_PATTERN}}
    is_text = {"$eq": [{"$type": found}, "string"]}
    at = {"$cond": [is_text, {"$cond": [is_date, read, None]}, None]}
    compared = {"$and": [{"$ne": ["$$at", None]}, {order: ["$$at", value]}]}
    return {"$expr": {"$let": {"vars": {"at": at}, "in": compared}}}
