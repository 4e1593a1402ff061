"""What is done with each recipient of a campaign when it is its turn: pure, so that a transaction can ask again."""

from __future__ import annotations

import secrets
from collections import Counter as Tally
from collections.abc import ItemsView, Mapping
from datetime import datetime

from config.settings import Settings
from domain.account_key import AccountKey
from domain.campaign_message import CampaignContent, Rendered, fillings_for, rendered
from domain.campaign_outcomes import CampaignMark, remembered
from domain.contact_policy import ContactPolicy
from domain.conversation_drafts import new_conversation
from domain.errors import InvalidContent
from domain.ids import new_id
from domain.queued_message import PRIORITY_CAMPAIGN, Addressee, queued_message
from domain.templates import MissingVariable
from domain.tracked_links import new_code
from domain.variants import CONTROL
from storage.campaign_documents import RecipientDocument, RunDocument
from storage.campaign_recipients import Candidates, Decision, Delay, Fail, Send, Skip
from storage.client import Document


class Decider:
    """Decides on the recipients of one run that one account writes to, as of a moment."""

    def __init__(self, settings: Settings, run: RunDocument, account: Mapping[str, object], now: datetime) -> None:
        self._reply_window_s = settings.campaign_reply_window_s
        self._link_base = settings.tracked_link_base
        self._run = run
        self._account = account
        self._policy = ContactPolicy.of(account)
        self._now = now
        self._contents = {
            each["name"]: CampaignContent.of(each["type"], each["content"], each["options"], each["buttons"])
            for each in run["contents"]
        }
        self._last: Tally[str] = Tally()

    def counted(self) -> ItemsView[str, int]:
        """Return how many of each decision there were when it was last asked."""
        return self._last.items()

    def decide(self, candidates: Candidates) -> list[Decision]:
        """Decide on each recipient."""
        decisions = [self._decide(each, candidates) for each in candidates.recipients]
        self._last = Tally(type(each).__name__.lower() for each in decisions)
        return decisions

    def _decide(self, recipient: RecipientDocument, candidates: Candidates) -> Decision:
        contact = candidates.contacts.get(recipient["contactId"])
        if contact is None:
            return Skip(recipient, "erased")
        mark = self._mark(recipient)
        return self._held_back(recipient, contact, mark) or self._written_to(recipient, contact, mark, candidates)

    def _held_back(self, recipient: RecipientDocument, contact: Document, mark: CampaignMark) -> Skip | Delay | None:
        """Return why a recipient gets nothing, or nothing yet.

        Who is held back to compare with is somebody who would have got the message.
        """
        if not self._account.get("connected"):
            return Skip(recipient, "closed_account")
        refused = self._policy.refusal(contact, "campaign", self._now)
        if refused is not None:
            return Skip(recipient, refused)
        allowed_at = self._policy.next_allowed(contact, self._now)
        if allowed_at > self._now:
            return Delay(recipient, allowed_at)
        if recipient["variant"] == CONTROL:
            unsent: Document = {
                "merchantId": recipient["merchantId"],
                "accountId": recipient["accountId"],
                "createdAt": self._now,
                "campaign": mark,
            }
            return Skip(recipient, CONTROL, remembered(unsent))
        return None

    def _written_to(
        self, recipient: RecipientDocument, contact: Document, mark: CampaignMark, candidates: Candidates
    ) -> Send | Fail:
        try:
            made = self._rendered(recipient, contact)
        except MissingVariable:
            return Fail(recipient, "missing_variable")
        except InvalidContent:
            return Fail(recipient, "unrenderable")
        conversation = candidates.conversations.get(recipient["contactId"])
        opened = None
        if conversation is None:
            key = AccountKey(recipient["accountId"], recipient["merchantId"], str(self._account["twitterUserId"]))
            conversation = opened = new_conversation(key, contact, self._now, new_id())
        message = self._message(recipient, contact, conversation["_id"], made, mark)
        return Send(recipient, message, opened, tuple(self._links(message, recipient, made)))

    def _rendered(self, recipient: RecipientDocument, contact: Document) -> Rendered:
        content = self._contents[recipient["variant"]]
        fillings = fillings_for(contact, self._account, self._run["variables"])
        return rendered(content, fillings, lambda _: new_code(secrets.token_bytes), self._link_base)

    def _links(self, message: Document, recipient: RecipientDocument, made: Rendered) -> list[Document]:
        return [
            {
                "_id": link.code,
                "merchantId": recipient["merchantId"],
                "campaignId": recipient["campaignId"],
                "runId": recipient["runId"],
                "recipientId": recipient["_id"],
                "contactId": recipient["contactId"],
                "messageId": message["_id"],
                "url": link.url,
                "createdAt": self._now,
                "firstClickedAt": None,
            }
            for link in made.links
        ]

    def _mark(self, recipient: RecipientDocument) -> CampaignMark:
        return CampaignMark(
            campaignId=recipient["campaignId"],
            runId=recipient["runId"],
            recipientId=recipient["_id"],
            variant=recipient["variant"],
            replyWindowS=self._reply_window_s,
        )

    def _message(
        self,
        recipient: RecipientDocument,
        contact: Document,
        conversation_id: str,
        made: Rendered,
        mark: CampaignMark,
    ) -> Document:
        to = Addressee(
            recipient["merchantId"],
            recipient["accountId"],
            conversation_id,
            recipient["contactId"],
            contact["twitterUserId"],
        )
        message = queued_message(
            new_id(), to, made.fields, source="campaign", priority=PRIORITY_CAMPAIGN, now=self._now
        )
        return message | {"campaign": mark}
