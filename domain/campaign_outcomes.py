"""What became of a campaign's message: read, answered, opted out, blocked (contract, part 5, "Campaigns").

A contact remembers the last messages of campaigns that it was sent, each with what has been noted of it, so that
each outcome is noted once per recipient. Moments decide, not the order in which events arrive: a message that turns
out to have been sent before something that is known already is given that outcome at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypeAlias, TypedDict, cast

from domain.variants import CONTROL

Outcome: TypeAlias = Literal["opened", "replied", "optedOut", "blocked"]

#: The field of a recipient that says when.
MOMENTS: Mapping[Outcome, str] = {
    "opened": "openedAt",
    "replied": "repliedAt",
    "optedOut": "optedOutAt",
    "blocked": "blockedAt",
}
#: The field of a contact that says when it last did this.
LAST: Mapping[Outcome, str] = {
    "opened": "lastReadAt",
    "replied": "lastInboundAt",
    "optedOut": "lastOptOutAt",
    "blocked": "lastBlockAt",
}
#: Messages of campaigns that a contact remembers.
MOST_REMEMBERED = 20


class Remembered(TypedDict):
    """A message of a campaign as its contact remembers it.

    It was sent at `at`; what the contact does belongs to it until `until`; `noted` is what came of it so far.
    """

    recipientId: str
    merchantId: str
    accountId: str
    campaignId: str
    runId: str
    variant: str
    at: datetime
    until: datetime
    noted: NotRequired[list[Outcome]]


@dataclass(frozen=True, slots=True)
class Note:
    """An outcome to be written to a recipient and counted."""

    recipient: Remembered
    outcome: Outcome
    at: datetime


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """An answer to a campaign that was there before it was known that X had the campaign's message."""

    contact: Mapping[str, object]
    note: Note


class CampaignMark(TypedDict):
    """`campaign` of a message: whose it is, and for how many seconds after it what the contact does belongs to it."""

    campaignId: str
    runId: str
    recipientId: str
    variant: str
    replyWindowS: float


def remembered(message: Mapping[str, object]) -> Remembered:
    """Return what a contact remembers of a campaign's message that is being sent."""
    campaign = cast("CampaignMark", message["campaign"])
    claim = cast("Mapping[str, datetime] | None", message.get("claim"))
    at = claim["at"] if claim else cast("datetime", message["createdAt"])
    return Remembered(
        recipientId=campaign["recipientId"],
        merchantId=str(message["merchantId"]),
        accountId=str(message["accountId"]),
        campaignId=campaign["campaignId"],
        runId=campaign["runId"],
        variant=campaign["variant"],
        at=at,
        until=at + timedelta(seconds=campaign["replyWindowS"]),
    )


def noted(recent: Sequence[Remembered], outcome: Outcome, at: datetime) -> tuple[list[Remembered], list[Note]]:
    """Return what a contact remembers after it did something, and what is news in that.

    Everything but a read belongs to a message only for a while after it was sent.
    """
    after: list[Remembered] = []
    notes: list[Note] = []
    for each in recent:
        known = each.get("noted", [])
        if outcome not in known and _belongs(each, outcome, at):
            notes.append(Note(each, outcome, at))
            after.append(cast("Remembered", {**each, "noted": [*known, outcome]}))
        else:
            after.append(each)
    return after, notes


def remember(recent: Sequence[Remembered], sent: Remembered) -> list[Remembered]:
    """Return what a contact remembers after one more message."""
    return [*recent, sent][-MOST_REMEMBERED:]


def known_already(contact: Mapping[str, object], sent: Remembered) -> Iterator[tuple[Outcome, datetime]]:
    """Yield what the contact is known to have done after a message that was confirmed later than that."""
    for outcome, name in LAST.items():
        at = contact.get(name)
        if isinstance(at, datetime) and _belongs(sent, outcome, at):
            yield outcome, at


def answers(notes: Iterable[Note]) -> list[Note]:
    """Return the notes by which campaigns were answered: who is held back has got nothing to answer."""
    return [note for note in notes if note.outcome == "replied" and note.recipient["variant"] != CONTROL]


def late_answers(contact: Mapping[str, object], notes: Iterable[Note]) -> list[LateAnswer]:
    """Return the answers among what turns out to be known already of a contact; a stop word is none."""
    return [LateAnswer(contact, note) for note in answers(notes) if note.at != contact.get(LAST["optedOut"])]


def _belongs(sent: Remembered, outcome: Outcome, at: datetime) -> bool:
    return sent["at"] <= at and (outcome == "opened" or at <= sent["until"])
