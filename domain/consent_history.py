"""What a contact agreed to before: with the consent itself it answers when and why something changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]

#: Former consents that a contact keeps, the latest.
MOST_FORMER = 20
_UNKNOWN = datetime.min.replace(tzinfo=UTC)


def consent_fields(contact: Mapping[str, Any], consent: Mapping[str, Any]) -> Document:
    """Return the fields of a contact that agrees to something else from now on: `consent` and `consentHistory`.

    The history holds what was before, in the order in which it was replaced; that nothing was known is not kept.
    """
    known = contact["consent"]
    fields: Document = {"consent": dict(consent)}
    if known["state"] != "none" and known != consent:
        fields["consentHistory"] = [*contact.get("consentHistory", ()), known][-MOST_FORMER:]
    return fields


def joined(histories: Iterable[Sequence[Mapping[str, Any]]], replaced: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the history of a contact that takes up another one, whose consents were one of each; by their moments."""
    former = [each for history in histories for each in history]
    if replaced["state"] != "none":
        former.append(replaced)
    return sorted(former, key=lambda each: each["at"] or _UNKNOWN)[-MOST_FORMER:]
