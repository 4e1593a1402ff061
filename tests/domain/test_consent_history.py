"""What a contact agreed to before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.account_key import AccountKey
from domain.consent_history import MOST_FORMER, consent_fields, joined
from domain.contact_merge import merged_fields
from domain.events import EventKind, XEvent
from domain.ingestion import Ingestion
from tests.domain.test_contact_merge import contact as merging

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
NOTHING = {"state": "none", "at": None, "source": None}


def agreed(state: str, minutes: int, source: str = "form") -> dict[str, Any]:
    return {"state": state, "at": START + timedelta(minutes=minutes), "source": source}


@given(st.lists(st.sampled_from(["inbound", "opted_in", "opted_out", "none"]), max_size=30))
def test_history_and_consent_together_are_all_that_was_agreed_to(states: list[str]) -> None:
    contact: dict[str, Any] = {"consent": NOTHING}
    said = [agreed(state, minutes) if state != "none" else NOTHING for minutes, state in enumerate(states)]
    for consent in said:
        contact |= consent_fields(contact, consent)
    assert contact["consent"] == (said[-1] if said else NOTHING)
    former = [each for each in said[:-1] if each != NOTHING]
    assert contact.get("consentHistory", []) == former[-MOST_FORMER:]


def test_the_same_again_is_no_change() -> None:
    contact = {"consent": agreed("opted_in", 1)}
    assert consent_fields(contact, agreed("opted_in", 1)) == {"consent": agreed("opted_in", 1)}


def test_what_contacts_agree_to_by_writing_is_in_it() -> None:
    ingestion = Ingestion(START, iter(map(str, range(100))).__next__)
    for minutes, text in enumerate(["Hello", "stop", "start", "Thanks"]):
        data: dict[str, object] = {"twitterMessageId": text, "direction": "inbound", "text": text}
        at = START + timedelta(minutes=minutes)
        ingestion.take(AccountKey("a1", "m1", "100"), XEvent(text, EventKind.MESSAGE, "100", "200", at, data))
    (draft,) = ingestion.contacts.values()
    assert draft.document["consent"] == agreed("opted_in", 2, "start_word")
    assert draft.document["consentHistory"] == [agreed("inbound", 0, "message"), agreed("opted_out", 1, "stop_word")]


def test_a_merge_keeps_what_both_have_agreed_to_in_the_order_of_time() -> None:
    kept = merging("kept") | {"consent": agreed("opted_in", 5), "consentHistory": [agreed("inbound", 1)]}
    other = merging("other") | {"consent": agreed("opted_out", 4), "consentHistory": [agreed("inbound", 2)]}
    for fields in (merged_fields(kept, other), merged_fields(other, kept)):
        assert fields["consent"] == agreed("opted_out", 4)
        assert fields["consentHistory"] == [agreed("inbound", 1), agreed("inbound", 2), agreed("opted_in", 5)]


def test_a_merge_of_contacts_who_have_agreed_to_nothing_has_no_history() -> None:
    kept, other = merging("kept") | {"consent": NOTHING}, merging("other") | {"consent": NOTHING}
    assert "consentHistory" not in merged_fields(kept, other)


def test_the_latest_of_two_long_histories_are_kept() -> None:
    first, second = ([agreed("opted_in", minutes) for minutes in range(start, 40, 2)] for start in (0, 1))
    undated = {"state": "opted_in", "at": None, "source": "import"}
    assert joined((first, second), undated) == [agreed("opted_in", minutes) for minutes in range(20, 40)]
