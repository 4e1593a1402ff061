"""What a batch of events means for the documents: pure, so that it is planned first and written in one transaction.

`Ingestion` is given what the database knows of the people and messages in the batch, takes the events one by one in
order of arrival, and holds the resulting documents and changes. Every event has its effect once: the caller leaves out
events whose message or activity exists already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from domain.account_key import AccountKey
from domain.bot_turn import BotTurns
from domain.campaign_outcomes import (
    LAST,
    LateAnswer,
    Note,
    Outcome,
    known_already,
    late_answers,
    noted,
    remember,
    remembered,
)
from domain.consent import (
    CONFIRMATION_SOURCE,
    SOURCE_START_WORD,
    SOURCE_STOP_WORD,
)
from domain.contact_drafts import agree, lift, new_contact, renamed_by_hand, suppress
from domain.contact_names import search_terms
from domain.conversation_drafts import answered, count_sent, new_conversation, seen
from domain.draft import Document, Draft
from domain.events import EventKind, XEvent
from domain.happenings import FlowsOf, Happenings
from domain.message_matching import same_text
from domain.outgoing_content import ContentFields
from domain.queued_message import PRIORITY_AGENT, Addressee, queued_message

#: What an event says of the messages that a campaign sent before it.
_OUTCOMES: Mapping[EventKind, Outcome] = {EventKind.READ: "opened", EventKind.BLOCK: "blocked"}
#: Seen and then over: not worth a document.
FLEETING = frozenset({EventKind.TYPING})


class Ingestion:
    """The effects of one batch of events."""

    def __init__(self, now: datetime, new_id: Callable[[], str], flows: FlowsOf = lambda _: None) -> None:
        self._now = now
        self._new_id = new_id
        self.contacts: dict[tuple[str, str], Draft] = {}
        self.conversations: dict[tuple[str, str], Draft] = {}
        self.closed_conversations: dict[str, Draft] = {}
        self.outstanding: dict[tuple[str, str], list[Document]] = {}
        self._erased: dict[tuple[str, str], datetime] = {}
        self.messages: list[Document] = []
        #: Messages to be sent that confirm an opt-out.
        self.confirmations: list[Document] = []
        self.settled: list[tuple[str, str, datetime]] = []
        #: After how many seconds messages that were settled answer the customer, by id.
        self.answers: dict[str, int] = {}
        self.activities: list[Document] = []
        self.notes: list[Note] = []
        self.late_answers: list[LateAnswer] = []
        self.revoked: list[str] = []
        self.bot_turns = BotTurns(now)
        self.happenings = Happenings(flows)

    def know_contact(self, document: Document) -> None:
        """Take note of a contact that exists."""
        self.contacts[(document["accountId"], document["twitterUserId"])] = Draft(document, is_new=False)

    def know_merged(self, document: Document, identities: Iterable[tuple[str, str]]) -> None:
        """Take note of a contact that (account, X user) belong to as well, which were contacts of their own once."""
        own = (document["accountId"], document["twitterUserId"])
        draft = self.contacts.setdefault(own, Draft(document, is_new=False))
        self.contacts.update(dict.fromkeys(identities, draft))

    def know_conversation(self, document: Document) -> None:
        """Take note of a conversation that is open."""
        self.conversations[(document["accountId"], document["contactId"])] = Draft(document, is_new=False)

    def know_closed_conversation(self, document: Document) -> None:
        """Take note of a conversation that is closed and still has a message under way."""
        self.closed_conversations[document["_id"]] = Draft(document, is_new=False)

    def know_outstanding(self, document: Document) -> None:
        """Take note of an outbound message that X has not been seen to have."""
        self.outstanding.setdefault((document["accountId"], document["twitterUserId"]), []).append(document)

    def know_erased(self, account_id: str, twitter_user_id: str, until: datetime) -> None:
        """Take note of a person whose contact was erased: what was sent to them until then does not bring it back."""
        self._erased[(account_id, twitter_user_id)] = until

    def take(self, account: AccountKey, event: XEvent) -> None:
        """Apply one event."""
        if event.kind is EventKind.MESSAGE:
            if event.data.get("direction") == "outbound":
                self._take_outbound(account, event)
            else:
                self._take_inbound(account, event)
        elif event.kind is EventKind.REVOKE:
            self.revoked.append(account.id)
            # Kept, so that it is known when it comes again: the account may be connected anew by then.
            self._take_activity(account, event)
        elif event.kind not in FLEETING:
            self._take_activity(account, event)

    def _take_inbound(self, account: AccountKey, event: XEvent) -> None:
        contact = self._contact(account, event)
        contact.add("messagesReceived", 1)
        opts_out = self._heed(account, contact, event)
        lift(contact, event.at)
        noted_before = len(self.notes)
        self._note(contact, "replied", event.at)
        conversation = self._conversation(account, contact, event)
        conversation.add("unreadCount", 1)
        if conversation.document["twitterUserId"] != event.participant_id:
            # One contact of two X users: the answer goes to the one that wrote last.
            conversation.put("twitterUserId", event.participant_id)
        if (conversation.document["lastInboundAt"] or event.at) <= event.at:
            conversation.put("lastInboundAt", event.at)
        if conversation.document["waitingSince"] is None:
            conversation.put("waitingSince", event.at)
        self._add_message(account, conversation, event, direction="inbound", source="customer", status="received")
        self.bot_turns.take(account, contact, conversation, self.messages[-1])
        self.happenings.wrote(account, contact, event, self.messages[-1], self.notes, noted_before)
        if opts_out:
            self.confirmations.append(self._confirmation(account, conversation))

    def _heed(self, account: AccountKey, contact: Draft, event: XEvent) -> bool:
        """Take note of what a message means for the contact's consent; returns whether they opt out with it.

        Moments decide between a stop word and a start word, and between a start word and a merchant's note of an
        opt-out. Otherwise an opt-out stays until it is taken back.
        """
        known = contact.document["consent"]
        wish = account.words.asked_by(str(event.data["text"]))
        overtaken = known["at"] is not None and known["at"] > event.at
        started_since = overtaken and known["source"] == SOURCE_START_WORD
        stopped_since = overtaken and known["state"] == "opted_out"
        if wish == "stop" and known["state"] != "opted_out" and not started_since:
            agree(contact, "opted_out", event.at, SOURCE_STOP_WORD)
            self._note(contact, "optedOut", event.at)
            return True
        if wish == "start" and known["state"] != "opted_in" and not stopped_since:
            agree(contact, "opted_in", event.at, SOURCE_START_WORD)
        elif known["state"] == "none":
            agree(contact, "inbound", event.at, "message")
        return False

    def _take_outbound(self, account: AccountKey, event: XEvent) -> None:
        """Take an echo: of a send of ours that X had not confirmed, or of what a person wrote in X's own app."""
        text = str(event.data["text"])
        waiting = self.outstanding.get((account.id, event.participant_id), [])
        for message in waiting:
            if same_text(message["content"], text):
                waiting.remove(message)
                self.settled.append((message["_id"], str(event.data["twitterMessageId"]), event.at))
                self._count_sent(account, message, event)
                return
        erased_until = self._erased.get((account.id, event.participant_id))
        if erased_until is not None and event.at <= erased_until:
            # Most likely a send of ours whose outcome was not known when it was erased.
            return
        contact = self._contact(account, event)
        contact.add("messagesSent", 1)
        conversation = self._conversation(account, contact, event)
        seconds = answered(contact, conversation, event.at)
        seen(conversation, "native", event.at)
        self._add_message(account, conversation, event, direction="outbound", source="native", status="sent")
        if seconds is not None:
            self.messages[-1]["answeredAfterS"] = seconds

    def _count_sent(self, account: AccountKey, message: Mapping[str, Any], event: XEvent) -> None:
        contact = self.contacts.get((account.id, event.participant_id))
        conversation = self.conversations.get((account.id, message["contactId"]))
        if conversation is None or conversation.document["_id"] != message["conversationId"]:
            conversation = self.closed_conversations.get(message["conversationId"])
        if contact is not None:
            seconds = count_sent(contact, conversation, event.at)
            if seconds is not None:
                self.answers[message["_id"]] = seconds
            if conversation is not None:
                seen(conversation, message["source"], event.at)
            if "campaign" in message:
                self._remember(contact, message)

    def _take_activity(self, account: AccountKey, event: XEvent) -> None:
        contact_id = None
        if event.participant_id and event.data.get("direction") != "outbound":
            contact = self._contact(account, event)
            contact_id = contact.document["_id"]
            if event.kind in _OUTCOMES:
                self._note(contact, _OUTCOMES[event.kind], event.at)
            if event.kind is EventKind.BLOCK:
                suppress(contact, event.at)
            elif event.kind is EventKind.UNBLOCK:
                lift(contact, event.at)
            self.happenings.did(account, contact, event)
        elif event.participant_id:
            known = self.contacts.get((account.id, event.participant_id))
            contact_id = known.document["_id"] if known else None
        self.activities.append(
            {
                "_id": activity_id(account.id, event.key),
                "merchantId": account.merchant_id,
                "accountId": account.id,
                "contactId": contact_id,
                "kind": event.kind.value,
                "at": event.at,
                "data": event.data,
            }
        )

    def _note(self, contact: Draft, outcome: Outcome, at: datetime) -> None:
        """Take note of what a contact does that may be the outcome of a campaign's message."""
        if contact.document.get(LAST[outcome], at) <= at:
            contact.put(LAST[outcome], at)
        recent = contact.document.get("recentCampaigns")
        if recent:
            after, notes = noted(recent, outcome, at)
            if notes:
                contact.put("recentCampaigns", after)
                self.notes += notes

    def _remember(self, contact: Draft, message: Mapping[str, Any]) -> None:
        """Let a contact remember a campaign's message that an echo has shown to be sent."""
        sent = remembered(message)
        recent = [sent]
        for outcome, at in known_already(contact.document, sent):
            recent, notes = noted(recent, outcome, at)
            self.notes += notes
            self.late_answers += late_answers(contact.document, notes)
        contact.put("recentCampaigns", remember(contact.document.get("recentCampaigns", []), recent[0]))

    def _contact(self, account: AccountKey, event: XEvent) -> Draft:
        key = (account.id, event.participant_id)
        draft = self.contacts.get(key)
        if draft is None:
            draft = self.contacts[key] = Draft(new_contact(account, event, self._now, self._new_id()), is_new=True)
            self.happenings.met(event)
        # A contact that others were merged into keeps the names of its own X user.
        profile = event.profile if event.participant_id == draft.document["twitterUserId"] else {}
        for name, value in profile.items():
            if value and draft.document.get(name) != value and not renamed_by_hand(draft.document, name):
                draft.put(name, value)
                if name != "profileImageUrl":
                    terms = search_terms(draft.document["username"], draft.document["displayName"])
                    draft.put("searchTerms", terms)
        # A contact that was made by hand or imported has had no interaction yet.
        first, last = draft.document["firstInteractionAt"], draft.document["lastInteractionAt"]
        if last is None or last < event.at:
            draft.put("lastInteractionAt", event.at)
        if first is None or event.at < first:
            draft.put("firstInteractionAt", event.at)
        if draft.changes:
            draft.put("updatedAt", self._now)
        return draft

    def _conversation(self, account: AccountKey, contact: Draft, event: XEvent) -> Draft:
        at = event.at
        key = (account.id, contact.document["_id"])
        draft = self.conversations.get(key)
        if draft is None:
            peer = {**contact.document, "twitterUserId": event.participant_id}
            document = new_conversation(account, peer, at, self._new_id())
            draft = self.conversations[key] = Draft(document, is_new=True)
            contact.add("conversationCount", 1)
        draft.add("messageCount", 1)
        if draft.document["lastMessageAt"] < at:
            draft.put("lastMessageAt", at)
        return draft

    def _add_message(
        self, account: AccountKey, conversation: Draft, event: XEvent, *, direction: str, source: str, status: str
    ) -> None:
        data: Mapping[str, Any] = event.data
        self.messages.append(
            {
                "_id": self._new_id(),
                "merchantId": account.merchant_id,
                "accountId": account.id,
                "conversationId": conversation.document["_id"],
                "contactId": conversation.document["contactId"],
                "twitterUserId": event.participant_id,
                "twitterMessageId": data["twitterMessageId"],
                "direction": direction,
                "type": "text",
                "content": data["text"],
                "attachments": data.get("attachments", []),
                "quickReply": data.get("quickReply"),
                "isFromBot": False,
                "source": source,
                "status": status,
                "sentAt": event.at,
                "at": event.at,
                "createdAt": self._now,
            }
        )

    def _confirmation(self, account: AccountKey, conversation: Draft) -> Document:
        """Return the message that confirms an opt-out; it is the contact's due, and as urgent as a person's answer."""
        known = conversation.document
        return queued_message(
            self._new_id(),
            Addressee(account.merchant_id, account.id, known["_id"], known["contactId"], known["twitterUserId"]),
            ContentFields(type="text", content=account.confirmation),
            source=CONFIRMATION_SOURCE,
            priority=PRIORITY_AGENT,
            now=self._now,
        )


def activity_id(account_id: str, event_key: str) -> str:
    """Return the id of the activity that an event becomes."""
    return f"{account_id}|{event_key}"
