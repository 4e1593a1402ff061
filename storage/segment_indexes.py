"""Which index the contacts of a segment are read from (docs/decisions/0007-indexes-of-contacts.md has the figures).

A condition that every contact of the segment must meet may lead to few contacts: one on tags or accounts by an index of
the merchant's own contacts, one on an attribute by the index of all attributes of all merchants, where that has few
entries for it. Everything else is told by reading the merchant's contacts one after the other, two seconds a million.
"""

from __future__ import annotations

from datetime import datetime

from domain.segment_conditions import All, Condition, required_conditions
from domain.segment_fields import Kind, Operator
from domain.segment_query import comparison_query
from storage.client import Collection, Document
from storage.indexes import CONTACTS_BY_ACCOUNT, CONTACTS_BY_ATTRIBUTE, CONTACTS_BY_ID, CONTACTS_BY_TAG

#: Contacts found here and there take over ten times as long to read as the same number one after the other.
_FEW = 20_000
_MOST_TIME_MS = 1_000
_RANGES = frozenset(
    {
        Operator.IN,
        Operator.STARTS_WITH,
        Operator.GREATER_THAN,
        Operator.GREATER_THAN_OR_EQUAL,
        Operator.LESS_THAN,
        Operator.LESS_THAN_OR_EQUAL,
    }
)


async def index_of(contacts: Collection, merchant_id: str, conditions: All, now: datetime) -> str:
    """Return the name of the index that finds the contacts of a merchant that meet conditions."""
    required = [*required_conditions(conditions)]
    if any(each.field.kind is Kind.CAMPAIGN for each in required):
        return CONTACTS_BY_ID  # their ids are known
    members = {each.field.path for each in required if each.operator is Operator.IN}
    if "tags" in members:
        return CONTACTS_BY_TAG
    if "accountId" in members:
        return CONTACTS_BY_ACCOUNT
    attributes = [each for each in required if _is_range(each)]
    if not attributes or await _are_few(contacts, {"merchantId": merchant_id}, CONTACTS_BY_ID):
        return CONTACTS_BY_ID
    for each in attributes:
        if await _are_few(contacts, comparison_query(each, now), CONTACTS_BY_ATTRIBUTE):
            return CONTACTS_BY_ATTRIBUTE
    return CONTACTS_BY_ID


def _is_range(condition: Condition) -> bool:
    """Whether an attribute's entries in an index tell who meets a condition; its dates are text, and are read first."""
    is_attribute = condition.field.kind is Kind.ATTRIBUTE and not isinstance(condition.value, datetime)
    return is_attribute and condition.operator in _RANGES


async def _are_few(contacts: Collection, query: Document, index: str) -> bool:
    return await contacts.count_documents(query, hint=index, limit=_FEW + 1, maxTimeMS=_MOST_TIME_MS) <= _FEW
