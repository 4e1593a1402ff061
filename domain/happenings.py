"""What of a batch of events concerns flows: what it starts, and which messages may be replies (docs/flows.md).

Only what comes from a person is taken note of: echoes of our own messages never start a flow (contract, part 4). A
message that is nothing but a stop word is no start and no reply: whoever opts out is not in a dialogue with a flow.
A merchant without flows costs one look-up per event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from domain.account_key import AccountKey
from domain.campaign_outcomes import Note, answers
from domain.draft import Document, Draft
from domain.events import EventKind, XEvent
from domain.flow_index import ActiveFlow, FlowIndex
from domain.flow_triggers import (
    Happening,
    OnCampaignReplied,
    OnMention,
    OnMessage,
    OnNewContact,
    OnNewFollower,
    ReEntry,
)

#: Answers with the flows of a merchant, None where nothing could concern any.
FlowsOf: TypeAlias = Callable[[str], FlowIndex | None]

#: What somebody does on X, beside writing messages: a reply and a quote mention the account as well.
_DEEDS: Mapping[EventKind, str] = {
    EventKind.FOLLOW: OnNewFollower.kind,
    EventKind.MENTION: OnMention.kind,
    EventKind.REPLY: OnMention.kind,
    EventKind.QUOTE: OnMention.kind,
}


@dataclass(frozen=True, slots=True)
class Occasion:
    """One event of a contact: `flows` are those that it starts, where their rules of re-entry let the contact in.

    `message_id` is our message that it is, if it is one; `may_answer` whether executions may wait for it.
    """

    account: AccountKey
    contact: Draft
    index: FlowIndex
    key: str
    at: datetime
    flows: tuple[ActiveFlow, ...]
    message_id: str | None = None
    may_answer: bool = False

    @property
    def contact_id(self) -> str:
        """The contact's id."""
        return str(self.contact.document["_id"])


@dataclass(frozen=True, slots=True)
class Standing:
    """What contacts are in: those with an execution that listens, and (contact, flow) that may not be entered now."""

    listening: Collection[str] = ()
    entered: Collection[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """An event that starts a flow."""

    occasion: Occasion
    flow: ActiveFlow


@dataclass(frozen=True, slots=True)
class Answered:
    """A message that an execution may wait for."""

    occasion: Occasion


class Happenings:
    """What concerns flows of one batch of events, in order."""

    def __init__(self, flows: FlowsOf) -> None:
        self._flows = flows
        self._first_of_a_contact = ""
        self.occasions: list[Occasion] = []

    def met(self, event: XEvent) -> None:
        """Take note that a contact was made of an event; one that we wrote to first starts nothing by that."""
        if event.data.get("direction") != "outbound":
            self._first_of_a_contact = event.key

    def wrote(
        self, account: AccountKey, contact: Draft, event: XEvent, message: Document, notes: Sequence[Note], known: int
    ) -> None:
        """Take note of a message; of `notes` those after the first `known` say which campaigns it answers."""
        index = self._flows(account.merchant_id)
        if index is None:
            return
        found = self._started_by_meeting(index, account, event)
        is_stop = account.words.asked_by(message["content"]) == "stop"
        if not is_stop:
            for campaign_id in sorted({note.recipient["campaignId"] for note in answers(notes[known:])}):
                found += index.started_by(account.id, Happening(OnCampaignReplied.kind, campaign_id))
            found += index.started_by(account.id, Happening(OnMessage.kind, message["content"]))
        may_answer = index.may_listen and not is_stop
        if found or may_answer:
            flows = tuple({flow.id: flow for flow in found}.values())
            self.occasions.append(
                Occasion(account, contact, index, event.key, event.at, flows, message["_id"], may_answer=may_answer)
            )

    def did(self, account: AccountKey, contact: Draft, event: XEvent) -> None:
        """Take note of something else that a contact did."""
        index = self._flows(account.merchant_id)
        if index is None:
            return
        found = self._started_by_meeting(index, account, event)
        kind = _DEEDS.get(event.kind)
        if kind is not None:
            found += index.started_by(account.id, Happening(kind, str(event.data.get("text", ""))))
        if found:
            self.occasions.append(Occasion(account, contact, index, event.key, event.at, tuple(found)))

    def _started_by_meeting(self, index: FlowIndex, account: AccountKey, event: XEvent) -> list[ActiveFlow]:
        if event.key != self._first_of_a_contact:
            return []
        return index.started_by(account.id, Happening(OnNewContact.kind))


def decided(occasions: Iterable[Occasion], standing: Standing) -> Iterator[Started | Answered]:
    """Yield what a batch means for the executors of its contacts, in order.

    The message that starts a flow is no reply to it, but the next one may be. Where a rule of re-entry keeps the
    contact out there is no start; the executor has the last word on that.
    """
    listening, entered = set(standing.listening), set(standing.entered)
    for occasion in occasions:
        contact_id = occasion.contact_id
        if occasion.may_answer and contact_id in listening:
            yield Answered(occasion)
        for flow in occasion.flows:
            entry = (contact_id, flow.id)
            if flow.re_entry is ReEntry.ALWAYS or entry not in entered:
                entered.add(entry)
                if flow.listens:
                    listening.add(contact_id)
                yield Started(occasion, flow)
