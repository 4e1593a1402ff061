"""What segment conditions can ask about, and which operators fit (contract, part 5, "Segments")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from domain.contact_fields import attribute_name


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    #: Compared without case.
    NAME = "name"
    NUMBER = "number"
    TIME = "time"
    TAGS = "tags"
    CONSENT = "consent"
    #: Text, a number, a boolean or a list of text, whatever the contact has; dates are text.
    ATTRIBUTE = "attribute"
    #: What became of a campaign's message to the contact.
    CAMPAIGN = "campaign"


class Operator(StrEnum):
    """How a field is compared."""

    EQUALS = "equals"
    NOT_EQUALS = "notEquals"
    IN = "in"
    NOT_IN = "notIn"
    CONTAINS = "contains"
    NOT_CONTAINS = "notContains"
    STARTS_WITH = "startsWith"
    ENDS_WITH = "endsWith"
    EXISTS = "exists"
    NOT_EXISTS = "notExists"
    GREATER_THAN = "greaterThan"
    GREATER_THAN_OR_EQUAL = "greaterThanOrEqual"
    LESS_THAN = "lessThan"
    LESS_THAN_OR_EQUAL = "lessThanOrEqual"
    BETWEEN = "between"
    BEFORE = "before"
    AFTER = "after"
    WITHIN_LAST = "withinLast"
    NOT_WITHIN_LAST = "notWithinLast"


#: Operators that hold exactly where another one does not, also for contacts that lack the field.
NEGATIONS: Mapping[Operator, Operator] = {
    Operator.NOT_EQUALS: Operator.EQUALS,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_EXISTS: Operator.EXISTS,
    Operator.NOT_WITHIN_LAST: Operator.WITHIN_LAST,
}
PRESENCE = frozenset({Operator.EXISTS, Operator.NOT_EXISTS})
MEMBERSHIP = frozenset({Operator.EQUALS, Operator.NOT_EQUALS, Operator.IN, Operator.NOT_IN})
PARTS = frozenset({Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH})
ORDER = frozenset(
    {Operator.GREATER_THAN, Operator.GREATER_THAN_OR_EQUAL, Operator.LESS_THAN, Operator.LESS_THAN_OR_EQUAL}
)
TIMES = frozenset({Operator.BEFORE, Operator.AFTER, Operator.WITHIN_LAST, Operator.NOT_WITHIN_LAST})

FITTING: Mapping[Kind, frozenset[Operator]] = {
    Kind.TEXT: MEMBERSHIP | PARTS | PRESENCE,
    Kind.NAME: MEMBERSHIP | PARTS | PRESENCE,
    Kind.NUMBER: MEMBERSHIP | ORDER | PRESENCE | {Operator.BETWEEN},
    Kind.TIME: ORDER | TIMES | PRESENCE | {Operator.BETWEEN},
    Kind.TAGS: PRESENCE | {Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.IN, Operator.NOT_IN},
    Kind.CONSENT: MEMBERSHIP,
    Kind.ATTRIBUTE: frozenset(Operator),
    Kind.CAMPAIGN: MEMBERSHIP,
}

CONSENT_STATES = ("none", "inbound", "opted_in", "opted_out")
CAMPAIGN_EVENTS = ("received", "opened", "clicked", "replied")

_KINDS: Mapping[str, Kind] = {
    "username": Kind.NAME,
    "displayName": Kind.NAME,
    "source": Kind.TEXT,
    "accountId": Kind.TEXT,
    "twitterUserId": Kind.TEXT,
    "firstInteractionAt": Kind.TIME,
    "lastInteractionAt": Kind.TIME,
    "createdAt": Kind.TIME,
    "messagesSent": Kind.NUMBER,
    "messagesReceived": Kind.NUMBER,
    "conversationCount": Kind.NUMBER,
    "tags": Kind.TAGS,
    "consent": Kind.CONSENT,
}
FIELDS = tuple(_KINDS)
_ATTRIBUTE_PREFIX = "attributes."
_CAMPAIGN_PREFIX = "campaign:"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a condition asks about, and where a contact's document has it; a campaign is known by its id."""

    kind: Kind
    path: str


def field_named(name: str) -> Field | None:
    """Return the field of a name; nothing where there is none."""
    if name in _KINDS:
        return Field(_KINDS[name], "consent.state" if name == "consent" else name)
    if name.startswith(_CAMPAIGN_PREFIX):
        campaign_id = name.removeprefix(_CAMPAIGN_PREFIX)
        return Field(Kind.CAMPAIGN, campaign_id) if _ID.fullmatch(campaign_id) else None
    if name.startswith(_ATTRIBUTE_PREFIX):
        try:
            return Field(Kind.ATTRIBUTE, _ATTRIBUTE_PREFIX + attribute_name(name.removeprefix(_ATTRIBUTE_PREFIX)))
        except ValueError:
            return None
    return None
