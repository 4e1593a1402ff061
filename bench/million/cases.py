"""What is asked of a million contacts: lists with each filter, pages deep inside, searches, segments."""

from __future__ import annotations

from bench.million.population import ACCOUNTS

_LARGE, _SMALL = ACCOUNTS[0], ACCOUNTS[-1]

#: Query strings of `GET /contacts`, by name.
LISTS: dict[str, str] = {
    "all": "",
    "all, page at 500,000": "skip=500000",
    "all, last page": "skip=999980",
    "account of 60 %": f"accountId={_LARGE}",
    "account of 60 %, page at 300,000": f"accountId={_LARGE}&skip=300000",
    "account of 1 %": f"accountId={_SMALL}",
    "tag that 20 % have": "tags=vip",
    "tag that 20 % have, page at 100,000": "tags=vip&skip=100000",
    "tag that 0.1 % have": "tags=tag-290",
    "two tags": "tags=vip,customer",
    "two tags, one rare": "tags=vip,tag-290",
    "tag of an account": f"tags=vip&accountId={_SMALL}",
    "search, a handful": "search=abcde",
    "search, a fifth of all": "search=vi_",
    "search, common name": "search=nguyen",
    "search, common name, page at 20,000": "search=nguyen&skip=20000",
    "search, two letters": "search=jo",
    "search, two names": "search=john%20smi",
    "search, two common names": "search=nguyen%20van",
    "search, no spaces between words": "search=%E5%A4%AA%E9%83%8E",
    "search, nobody": "search=zzzzzz",
    "search in a tag": "search=nguyen&tags=vip",
    "search in an account": f"search=nguyen&accountId={_SMALL}",
}

_VIP = {"field": "tags", "operator": "contains", "value": "vip"}
_CITY = {"field": "attributes.city", "operator": "equals", "value": "City 300"}
_WEEK = {"field": "lastInteractionAt", "operator": "withinLast", "value": "P7D"}

#: Conditions of segments, by name.
SEGMENTS: dict[str, list[object]] = {
    "everybody": [],
    "tag": [_VIP],
    "rare tag": [{"field": "tags", "operator": "contains", "value": "tag-290"}],
    "no such tag": [{"field": "tags", "operator": "notContains", "value": "vip"}],
    "has tags": [{"field": "tags", "operator": "exists"}],
    "the API document's": [
        _VIP,
        {"field": "attributes.purchaseCount", "operator": "greaterThan", "value": 5},
        {"field": "lastInteractionAt", "operator": "after", "value": "2026-01-01T00:00:00Z"},
    ],
    "attribute that 3 % have": [{"field": "attributes.plan", "operator": "equals", "value": "pro"}],
    "attribute that 0.03 % have": [_CITY],
    "attribute above": [{"field": "attributes.totalSpent", "operator": "greaterThan", "value": 10_000}],
    "attribute begins": [{"field": "attributes.city", "operator": "startsWith", "value": "City 30"}],
    "attribute, a date": [{"field": "attributes.lastPurchaseDate", "operator": "withinLast", "value": "P30D"}],
    "attribute in a list": [{"field": "attributes.interests", "operator": "contains", "value": "garden"}],
    "attribute missing": [{"field": "attributes.plan", "operator": "notExists"}],
    "wrote last week": [_WEEK],
    "silent for 300 days": [{"field": "lastInteractionAt", "operator": "notWithinLast", "value": "P300D"}],
    "consent that 3 % have": [{"field": "consent", "operator": "equals", "value": "opted_out"}],
    "name contains": [{"field": "displayName", "operator": "contains", "value": "uyễn"}],
    "name begins": [{"field": "displayName", "operator": "startsWith", "value": "olivia"}],
    "many messages": [{"field": "messagesReceived", "operator": "greaterThan", "value": 300}],
    "account": [{"field": "accountId", "operator": "equals", "value": _SMALL}],
    "nested": [{"any": [_CITY, {"all": [_WEEK, {"not": _VIP}]}]}],
}
