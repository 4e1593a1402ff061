"""Whether one contact meets conditions: what `segment_query` asks the database, said of a contact at hand."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from domain.segment_conditions import All, Condition, Either, Node, Not
from domain.segment_fields import Kind, Operator
from domain.segment_moments import Length, read_moment
from domain.segment_names import fold_case
from domain.segment_query import CampaignContacts

_ORDERS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.GREATER_THAN: operator.gt,
    Operator.GREATER_THAN_OR_EQUAL: operator.ge,
    Operator.LESS_THAN: operator.lt,
    Operator.LESS_THAN_OR_EQUAL: operator.le,
}
_PARTS: Mapping[Operator, Callable[[str, str], bool]] = {
    Operator.CONTAINS: operator.contains,
    Operator.STARTS_WITH: str.startswith,
    Operator.ENDS_WITH: str.endswith,
}


def matches(node: Node, contact: Mapping[str, Any], now: datetime, campaigns: CampaignContacts) -> bool:
    """Return whether a contact's document meets conditions as of a moment."""
    match node:
        case All(parts):
            return all(matches(part, contact, now, campaigns) for part in parts)
        case Either(parts):
            return any(matches(part, contact, now, campaigns) for part in parts)
        case Not(part):
            return not matches(part, contact, now, campaigns)
        case Condition():
            return _holds(node, contact, now, campaigns)


def _holds(condition: Condition, contact: Mapping[str, Any], now: datetime, campaigns: CampaignContacts) -> bool:
    kind, wanted = condition.field.kind, condition.value
    if kind is Kind.CAMPAIGN and isinstance(wanted, tuple):
        return any(contact["_id"] in campaigns.get((condition.field.path, str(event)), ()) for event in wanted)
    found = _value(contact, condition.field.path)
    if condition.operator is Operator.EXISTS:
        return bool(found) if kind is Kind.TAGS else found is not None
    if isinstance(wanted, tuple | str):
        # What is a list holds where one of its entries does.
        entries = found if isinstance(found, list) else [found]
        return any(_meets(condition, entry, wanted) for entry in entries)
    if isinstance(wanted, Length | datetime):
        return _is_at(condition, found, wanted, now)
    return _is_number(found) and _ORDERS[condition.operator](found, wanted)


def _meets(condition: Condition, found: object, wanted: tuple[object, ...] | str) -> bool:
    if isinstance(wanted, str):
        return _has_part(condition, found, wanted)
    return any(_is_same(condition.field.kind, found, each) for each in wanted)


def _is_at(condition: Condition, found: object, wanted: Length | datetime, now: datetime) -> bool:
    at = _moment(condition.field.kind, found)
    if at is None:
        return False
    if isinstance(wanted, Length):
        return wanted.before(now) <= at <= now
    return _ORDERS[condition.operator](at, wanted)


def _value(contact: Mapping[str, Any], path: str) -> Any:
    value: Any = contact
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_same(kind: Kind, found: object, wanted: object) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return fold_case(found) == fold_case(wanted) if kind is Kind.NAME else found == wanted
    # True is no 1.
    return isinstance(found, bool) is isinstance(wanted, bool) and found == wanted


def _has_part(condition: Condition, found: object, wanted: str) -> bool:
    if not isinstance(found, str):
        return False
    has = _PARTS[condition.operator]
    if condition.field.kind is Kind.NAME:
        return has(fold_case(found), fold_case(wanted))
    return has(found, wanted)


def _moment(kind: Kind, found: object) -> datetime | None:
    if kind is Kind.ATTRIBUTE:
        return read_moment(found) if isinstance(found, str) else None
    return found if isinstance(found, datetime) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
