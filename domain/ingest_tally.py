"""What a batch of events counts for in the rollups (docs/analytics.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from domain.active_days import add_days, day_of
from domain.draft import Draft
from domain.ingestion import Ingestion
from domain.rollup import Tally


def tally_of(ingestion: Ingestion, settled: Iterable[Mapping[str, Any]]) -> Tally:
    """Return what a batch counts for; `settled` are the messages of ours that its echoes have shown to be sent."""
    tally = Tally()
    contacts = {draft.document["_id"]: draft for draft in ingestion.contacts.values()}
    for contact in contacts.values():
        if contact.is_new:
            tally.contact(contact.document)
    for conversation in ingestion.conversations.values():
        if conversation.is_new:
            tally.conversation(conversation.document)
    for message in ingestion.messages:
        tally.message(message)
    for each in settled:
        tally.message({**each, "status": "sent"})
    _count_active(tally, ingestion, contacts)
    return tally


def _count_active(tally: Tally, ingestion: Ingestion, contacts: Mapping[str, Draft]) -> None:
    """Count who was active, and let the contacts remember it: they have to be written after this."""
    days: dict[str, set[str]] = {}
    for message in ingestion.messages:
        if message["direction"] == "inbound":
            days.setdefault(message["contactId"], set()).add(day_of(message["at"]))
    for activity in ingestion.activities:
        if activity["contactId"] is not None and activity["data"].get("direction") != "outbound":
            days.setdefault(activity["contactId"], set()).add(day_of(activity["at"]))
    for contact_id, news in days.items():
        contact = contacts[contact_id]
        known = contact.document.get("activeDays", [])
        if news.issubset(known):
            continue
        remembered, pairs = add_days(known, news)
        if pairs:
            contact.put("activeDays", remembered)
            tally.active(contact.document, pairs)
