from __future__ import annotations

import itertools

import pytest

from domain.errors import Conflict
from domain.message_state import PENDING, TRANSITIONS, Failure, MessageStatus, check_transition
from domain.x_errors import FailureKind, XFailure

ALLOWED = {
    ("queued", "sending"),
    ("queued", "failed"),
    ("sending", "sent"),
    ("sending", "failed"),
    ("sending", "unknown"),
    ("sending", "queued"),
    ("unknown", "sent"),
    ("unknown", "failed"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(MessageStatus, MessageStatus)))
def test_a_message_moves_only_along_the_table(before, after):
    if (before, after) in ALLOWED:
        check_transition(before, after)
    else:
        with pytest.raises(Conflict):
            check_transition(before, after)


def test_a_message_whose_outcome_is_unknown_is_never_sent_again():
    reachable, found = {MessageStatus.UNKNOWN}, set()
    while reachable != found:
        found = set(reachable)
        reachable |= {after for status in found for after in TRANSITIONS[status]}

    assert MessageStatus.SENDING not in reachable
    assert MessageStatus.QUEUED not in reachable


def test_pending_is_what_still_moves():
    assert {"queued", "sending", "unknown"} == PENDING


def test_a_failure_keeps_what_x_said():
    failure = Failure.of(XFailure(FailureKind.RECIPIENT, "recipient_refuses_messages", 349, "You cannot"))

    assert failure.to_document() == {"reason": "recipient_refuses_messages", "code": 349, "text": "You cannot"}
