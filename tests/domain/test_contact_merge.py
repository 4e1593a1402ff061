from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact_merge import MOST_MERGED, merged_fields, wait_passed_on
from domain.errors import InvalidContent

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
MOMENTS = st.integers(0, 1000).map(lambda minutes: START + timedelta(minutes=minutes))
STATES = ("opted_out", "none", "inbound", "opted_in")


def contact(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "_id": name,
        "accountId": "a1",
        "twitterUserId": name,
        "username": f"user_{name}",
        "displayName": f"User {name}",
        "profileImageUrl": None,
        "tags": [],
        "attributes": {},
        "consent": {"state": "none", "at": None, "source": None},
        "conversationCount": 0,
        "messagesSent": 0,
        "messagesReceived": 0,
        "responseSeconds": 0,
        "responseCount": 0,
        "firstInteractionAt": START,
        "lastInteractionAt": START,
    } | fields


def contacts(name: str) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["a", "b", "c", "d"])
    return st.fixed_dictionaries(
        {
            "tags": st.lists(names, unique=True),
            "attributes": st.dictionaries(names, st.integers()),
            "consent": st.sampled_from(STATES).map(lambda state: {"state": state, "at": START, "source": name}),
            "messagesReceived": st.integers(0, 9),
            "firstInteractionAt": st.none() | MOMENTS,
            "lastInteractionAt": st.none() | MOMENTS,
        },
        optional={"lastInboundAt": MOMENTS},
    ).map(lambda fields: contact(name, **fields))


@given(contacts("1"), contacts("2"))
def test_nothing_is_lost_and_the_kept_one_stands(kept: dict[str, Any], other: dict[str, Any]) -> None:
    fields = merged_fields(kept, other)
    assert set(fields["tags"]) == {*kept["tags"], *other["tags"]}
    assert fields["tags"][: len(kept["tags"])] == kept["tags"]
    assert fields["attributes"] == other["attributes"] | kept["attributes"]
    assert fields["messagesReceived"] == kept["messagesReceived"] + other["messagesReceived"]
    for name, pick in (("firstInteractionAt", min), ("lastInteractionAt", max), ("lastInboundAt", max)):
        known = [each[name] for each in (kept, other) if each.get(name)]
        assert fields.get(name) == (pick(known) if known else None)
    assert "displayName" not in fields


@given(contacts("1"), contacts("2"))
def test_of_two_consents_the_more_restrictive_one_is_kept_whichever_contact_is(
    kept: dict[str, Any], other: dict[str, Any]
) -> None:
    consent = merged_fields(kept, other)["consent"]
    assert consent in (kept["consent"], other["consent"])
    assert consent["state"] == merged_fields(other, kept)["consent"]["state"]
    states = {kept["consent"]["state"], other["consent"]["state"]}
    assert consent["state"] == next(state for state in STATES if state in states)


def test_a_name_fills_in_for_an_x_user_id() -> None:
    kept = contact("1", displayName="1", username="1")
    fields = merged_fields(kept, contact("2", displayName="Jo Doe", displayNameEdited=True))
    assert (fields["displayName"], fields["displayNameEdited"]) == ("Jo Doe", True)
    assert {"jo", "doe"} <= set(fields["searchTerms"])


def test_the_latest_messages_of_campaigns_are_remembered() -> None:
    def recent(first: int) -> list[dict[str, Any]]:
        return [{"recipientId": str(first + number), "at": START + timedelta(days=number)} for number in range(15)]

    fields = merged_fields(contact("1", recentCampaigns=recent(0)), contact("2", recentCampaigns=recent(100)))
    assert len(fields["recentCampaigns"]) == 20
    assert {each["recipientId"] for each in fields["recentCampaigns"][-2:]} == {"14", "114"}


@pytest.mark.parametrize(
    ("field", "kept", "other"),
    [
        ("tags", {"tags": [f"a{n}" for n in range(60)]}, {"tags": [f"b{n}" for n in range(41)]}),
        (
            "attributes",
            {"attributes": {f"a{n}": 1 for n in range(150)}},
            {"attributes": {f"b{n}": 1 for n in range(51)}},
        ),
        ("contactId", {"merged": [{}] * MOST_MERGED}, {}),
    ],
)
def test_too_much_is_refused(field: str, kept: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(InvalidContent) as caught:
        merged_fields(contact("1", **kept), contact("2", **other))
    assert caught.value.problems[0].field == field


def dialogue(user: str, **fields: Any) -> dict[str, Any]:
    empty = {"unreadCount": 0, "waitingSince": None, "lastInboundAt": None, "lastMessageAt": START}
    return {"twitterUserId": user} | empty | fields


def test_a_wait_is_passed_on_and_the_answer_goes_to_who_wrote_last() -> None:
    later = START + timedelta(hours=1)
    staying = dialogue("1", unreadCount=1, waitingSince=later, lastInboundAt=START)
    closing = dialogue("2", unreadCount=2, waitingSince=START, lastInboundAt=later, lastMessageAt=later)
    assert wait_passed_on(staying, closing) == {
        "unreadCount": 3,
        "waitingSince": START,
        "lastMessageAt": later,
        "lastInboundAt": later,
        "twitterUserId": "2",
    }
    kept = wait_passed_on(closing, staying)
    assert (kept.get("twitterUserId"), kept["waitingSince"]) == (None, START)
    assert wait_passed_on(dialogue("1"), dialogue("2"))["waitingSince"] is None
