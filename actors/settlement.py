"""Finding out what became of a send whose answer was lost.

X knows no idempotency key, so a message is never sent again on suspicion: its own list of the conversation, and the
echo on the webhook, are the only evidence (x-api, 3.1). What they don't show in time ends failed, reason `ambiguous`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actors.clients.x_models import XMessage
from domain.message_matching import same_text

#: When X is asked, as parts of the time that settling may take.
_SCHEDULE = (0.002, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
#: X's clock and ours may differ by this much.
_CLOCK_SLACK = timedelta(seconds=60)


@dataclass(slots=True)
class Unsettled:
    """A message whose send may or may not have reached X.

    It was claimed at `sent_after`, and X's list shows it from then on; looks are counted from `doubted_at`, so that a
    long standstill does not use up the time in which X can be asked.
    """

    message_id: str
    conversation_id: str
    participant_id: str
    content: str
    sent_after: datetime
    doubted_at: datetime
    looks: int = 0

    def next_look(self, timeout_s: float) -> datetime | None:
        """Return when X is to be asked next; None when all looks were in vain."""
        if self.looks >= len(_SCHEDULE):
            return None
        return self.doubted_at + timedelta(seconds=_SCHEDULE[self.looks] * timeout_s)


def covers(shown: Sequence[XMessage], most: int, wanted: Unsettled) -> bool:
    """Return whether a list of all conversations goes back to where a message may be found, or is all there is."""
    if len(shown) < most:
        return True
    oldest = shown[-1].created_at
    return oldest is not None and oldest < wanted.sent_after - _CLOCK_SLACK


def of_conversation(shown: Iterable[XMessage], own_id: str, participant_id: str) -> list[XMessage]:
    """Return those messages of all conversations that are of one: X names it by the ids of its two people."""
    both = {own_id, participant_id}
    return [message for message in shown if set(message.conversation_id.split("-")) == both]


def find_sent(wanted: Unsettled, shown: Iterable[XMessage], own_id: str, taken: set[str]) -> XMessage | None:
    """Return the message of X's list that is the one wanted: ours, late enough, same text, unclaimed; the oldest."""
    earliest = wanted.sent_after - _CLOCK_SLACK
    candidates = [
        message
        for message in shown
        if message.sender_id == own_id
        and message.id not in taken
        and (message.created_at is None or message.created_at >= earliest)
        and same_text(wanted.content, message.text)
    ]
    return min(candidates, key=lambda message: int(message.id), default=None)
