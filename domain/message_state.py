"""The states of a message and the ways between them (contract, part 5, Conversations)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from domain.errors import Conflict
from domain.x_errors import XFailure


class MessageStatus(StrEnum):
    """Where a message is on its way; `received` is an inbound one, which never moves."""

    RECEIVED = "received"
    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    FAILED = "failed"


#: `sending → queued` only where X has definitely not done it; `unknown` never leads back to a send.
TRANSITIONS: Mapping[MessageStatus, frozenset[MessageStatus]] = {
    MessageStatus.RECEIVED: frozenset(),
    MessageStatus.QUEUED: frozenset({MessageStatus.SENDING, MessageStatus.FAILED}),
    MessageStatus.SENDING: frozenset(
        {MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.UNKNOWN, MessageStatus.QUEUED}
    ),
    MessageStatus.UNKNOWN: frozenset({MessageStatus.SENT, MessageStatus.FAILED}),
    MessageStatus.SENT: frozenset(),
    MessageStatus.FAILED: frozenset(),
}

#: States in which a message still has somewhere to go; `pending` of its document.
PENDING = frozenset(status for status, following in TRANSITIONS.items() if following)

#: The reason of a failure whose outcome could not be learnt in time.
AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message failed: a stable reason, and X's own code and text where X refused it."""

    reason: str
    code: int | None = None
    text: str = ""

    @classmethod
    def of(cls, failure: XFailure) -> Self:
        """Return what is kept of a failure that X answered."""
        return cls(failure.reason, failure.x_code, failure.x_text)

    def to_document(self) -> dict[str, object]:
        """Return the `failure` of a message's document."""
        return {"reason": self.reason, "code": self.code, "text": self.text}


def check_transition(before: MessageStatus, after: MessageStatus) -> None:
    """Check that a message may go from one state to another.

    Raises:
        Conflict: when it may not.
    """
    if after not in TRANSITIONS[before]:
        raise Conflict(f"A message can't go from {before} to {after}")
