from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign_outcomes import (
    LAST,
    MOMENTS,
    MOST_REMEMBERED,
    Outcome,
    known_already,
    noted,
    remember,
    remembered,
)

START = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)
WINDOW_S = 72 * 3600.0
OUTCOMES = get_args(Outcome)


def at(minutes):
    return START + timedelta(minutes=minutes)


def message(number=1, minutes=0, window_s=WINDOW_S, **fields):
    return {
        "merchantId": "m1",
        "accountId": "a1",
        "createdAt": at(minutes - 5),
        "claim": {"at": at(minutes), "priority": 3},
        "campaign": {
            "campaignId": f"c{number}",
            "runId": f"r{number}",
            "recipientId": f"r{number}|john",
            "variant": "all",
            "replyWindowS": window_s,
        },
    } | fields


def sent(number=1, minutes=0, window_s=WINDOW_S):
    return remembered(message(number, minutes, window_s))


class Contact:
    """A contact as it is kept: what it remembers, and when it last did what."""

    def __init__(self):
        self.fields = {}
        self.recent = []
        self.found = []

    def confirmed(self, message):
        """X has the message: what the contact is known to have done after it is noted at once."""
        recent = [message]
        for outcome, moment in known_already(self.fields, message):
            recent, notes = noted(recent, outcome, moment)
            self.found += notes
        self.recent = remember(self.recent, recent[0])

    def did(self, outcome, moment):
        self.recent, notes = noted(self.recent, outcome, moment)
        self.found += notes
        last = self.fields.get(LAST[outcome], moment)
        self.fields[LAST[outcome]] = max(last, moment)

    @property
    def outcomes(self):
        return sorted((note.recipient["recipientId"], note.outcome) for note in self.found)


def test_a_message_is_remembered_as_of_its_claim():
    assert sent(2, 7) == {
        "recipientId": "r2|john",
        "merchantId": "m1",
        "accountId": "a1",
        "campaignId": "c2",
        "runId": "r2",
        "variant": "all",
        "at": at(7),
        "until": at(7) + timedelta(hours=72),
    }


def test_what_was_never_claimed_is_remembered_as_of_when_it_was_made():
    assert remembered(message(claim=None))["at"] == at(-5)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_is_noted_once(outcome):
    recent, [note] = noted([sent()], outcome, at(10))
    assert (note.recipient["recipientId"], note.outcome, note.at) == ("r1|john", outcome, at(10))
    assert recent[0]["noted"] == [outcome]
    assert noted(recent, outcome, at(20)) == (recent, [])
    for other in OUTCOMES:
        assert len(noted(recent, other, at(20))[1]) == (other != outcome)


def test_what_is_noted_leaves_what_was_given_alone():
    before = sent()
    noted([before], "replied", at(10))
    assert before == sent()


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_belongs_to_a_message_that_came_after_it(outcome):
    assert noted([sent(1, 10)], outcome, at(9)) == ([sent(1, 10)], [])
    assert len(noted([sent(1, 10)], outcome, at(10))[1]) == 1


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_everything_but_a_read_belongs_to_a_message_for_a_while(outcome):
    end = START + timedelta(seconds=WINDOW_S)
    assert len(noted([sent()], outcome, end)[1]) == 1
    assert len(noted([sent()], outcome, end + timedelta(microseconds=1))[1]) == (outcome == "opened")


def test_an_answer_belongs_to_every_message_that_waits_for_one():
    recent, notes = noted([sent(1, 0), sent(2, 5), sent(3, 20)], "replied", at(10))
    assert [note.recipient["campaignId"] for note in notes] == ["c1", "c2"]
    assert ["noted" in each for each in recent] == [True, True, False]


def test_the_last_twenty_are_remembered():
    recent = []
    for number in range(30):
        recent = remember(recent, sent(number, number))
    assert [each["campaignId"] for each in recent] == [f"c{number}" for number in range(10, 30)]
    assert len(recent) == MOST_REMEMBERED == 20


def test_nothing_is_known_of_a_contact_that_has_done_nothing():
    assert list(known_already({}, sent())) == []
    assert list(known_already(dict.fromkeys(LAST.values()), sent())) == []


def test_every_outcome_has_a_moment_of_the_recipient_and_one_of_the_contact():
    assert set(MOMENTS) == set(LAST) == set(OUTCOMES)
    assert len(set(MOMENTS.values())) == len(set(LAST.values())) == len(OUTCOMES)


messages = st.lists(st.integers(0, 200), max_size=MOST_REMEMBERED).map(
    lambda minutes: [sent(number, each) for number, each in enumerate(minutes)]
)
deeds = st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 300).map(at)), max_size=15)


@given(messages, deeds, st.data())
def test_any_order_of_events_gives_the_same_outcomes_each_once(messages, deeds, data):
    """As long as all is known before the while is over in which something belongs to a message."""
    steps = [("sent", each) for each in messages] + [("did", each) for each in deeds]
    contact = Contact()
    for kind, what in data.draw(st.permutations(steps)):
        if kind == "sent":
            contact.confirmed(what)
        else:
            contact.did(*what)
    expected = {
        (each["recipientId"], outcome) for each in messages for outcome, moment in deeds if moment >= each["at"]
    }
    assert contact.outcomes == sorted(expected)


@given(messages, deeds, st.integers(0, 120))
def test_in_their_own_order_a_short_while_holds_as_well(messages, deeds, minutes):
    window_s = minutes * 60.0
    sends = [{**each, "until": each["at"] + timedelta(seconds=window_s)} for each in messages]
    # What comes at the moment of a send belongs to it.
    steps = sorted(
        [(each["at"], 0, each) for each in sends] + [(deed[1], 1, deed) for deed in deeds], key=lambda s: s[:2]
    )
    contact = Contact()
    for _, kind, what in steps:
        if kind:
            contact.did(*what)
        else:
            contact.confirmed(what)
    expected = {
        (each["recipientId"], outcome)
        for each in sends
        for outcome, moment in deeds
        if each["at"] <= moment and (outcome == "opened" or moment <= each["until"])
    }
    assert contact.outcomes == sorted(expected)
