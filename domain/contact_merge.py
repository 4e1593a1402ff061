"""What becomes of two contacts that are one person: the same under two X ids, or as two accounts know them.

The contact that is kept stands; the other one adds to it. What a person agreed to holds for what it was said to, so of
two consents the more restrictive one is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.campaign_outcomes import LAST, MOST_REMEMBERED
from domain.consent_history import joined
from domain.contact_fields import MOST_ATTRIBUTES, MOST_TAGS
from domain.contact_names import search_terms
from domain.errors import InvalidContent, Problem

Document = dict[str, Any]

#: How many others one contact may take up, those that these had taken up included.
MOST_MERGED = 50

_COUNTERS = ("conversationCount", "messagesSent", "messagesReceived", "responseSeconds", "responseCount")
#: From the most restrictive one on.
_CONSENTS = ("opted_out", "none", "inbound", "opted_in")


def merged_fields(kept: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    """Return the fields of the contact that is kept as they are once it has taken up the other one.

    Raises:
        InvalidContent: when it would have too many tags, attributes or other contacts in it.
    """
    tags = list(dict.fromkeys([*kept["tags"], *other["tags"]]))
    attributes = {**other["attributes"], **kept["attributes"]}
    taken_up = [*kept.get("merged", []), *other.get("merged", []), _identity(other)]
    _check("tags", len(tags), MOST_TAGS)
    _check("attributes", len(attributes), MOST_ATTRIBUTES)
    _check("contactId", len(taken_up), MOST_MERGED)
    return {
        "tags": tags,
        "attributes": attributes,
        "merged": taken_up,
        **_consent(kept, other),
        "profileImageUrl": kept["profileImageUrl"] or other["profileImageUrl"],
        **{name: kept[name] + other[name] for name in _COUNTERS},
        **_moments(kept, other),
        **_name(kept, other),
        **_campaigns(kept, other),
    }


def wait_passed_on(staying: Mapping[str, Any], closing: Mapping[str, Any]) -> Document:
    """Return the fields of an open conversation that takes over from another one of the same person, which closes.

    Who waits there waits here from then on, since the same moment; and an answer goes to the X user that wrote last.
    """
    since = [each["waitingSince"] for each in (staying, closing) if each["waitingSince"] is not None]
    fields: Document = {
        "unreadCount": staying["unreadCount"] + closing["unreadCount"],
        "waitingSince": min(since, default=None),
        "lastMessageAt": max(staying["lastMessageAt"], closing["lastMessageAt"]),
    }
    theirs = closing["lastInboundAt"]
    if theirs is not None and (staying["lastInboundAt"] is None or staying["lastInboundAt"] < theirs):
        fields |= {"lastInboundAt": theirs, "twitterUserId": closing["twitterUserId"]}
    return fields


def _identity(contact: Mapping[str, Any]) -> Document:
    return {
        "contactId": contact["_id"],
        "accountId": contact["accountId"],
        "twitterUserId": contact["twitterUserId"],
    }


def _check(field: str, number: int, most: int) -> None:
    if number > most:
        reason = f"the contact would have {number} together with the other's, at most {most} are possible"
        raise InvalidContent("The contacts hold too much to be one", problems=(Problem(field, reason),))


def _consent(kept: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    consent, replaced = sorted((kept["consent"], other["consent"]), key=lambda each: _CONSENTS.index(each["state"]))
    former = joined((kept.get("consentHistory", ()), other.get("consentHistory", ())), replaced)
    fields: Document = {"consent": dict(consent)}
    if former:
        fields["consentHistory"] = former
    return fields


def _moments(kept: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    fields: Document = {
        "firstInteractionAt": min(_known(kept, other, "firstInteractionAt"), default=None),
        "lastInteractionAt": max(_known(kept, other, "lastInteractionAt"), default=None),
    }
    for name in LAST.values():
        moments = _known(kept, other, name)
        if moments:
            fields[name] = max(moments)
    return fields


def _known(kept: Mapping[str, Any], other: Mapping[str, Any], name: str) -> list[datetime]:
    return [each[name] for each in (kept, other) if each.get(name) is not None]


def _name(kept: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    """Return the other's name where the one that is kept has none but its X user id."""
    if kept["displayName"] != kept["twitterUserId"] or not other["displayName"]:
        return {}
    fields: Document = {"displayName": other["displayName"]}
    fields["searchTerms"] = search_terms(kept["username"], other["displayName"])
    if other.get("displayNameEdited"):
        fields["displayNameEdited"] = True
    return fields


def _campaigns(kept: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    recent = [*kept.get("recentCampaigns", []), *other.get("recentCampaigns", [])]
    recent.sort(key=lambda remembered: remembered["at"])
    return {"recentCampaigns": recent[-MOST_REMEMBERED:]} if recent else {}
