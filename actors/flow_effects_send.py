"""Messages of flows: rendered when they are due, held to what the contact allows, and put into the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from actors.account import AccountActor
from actors.campaign_run import Tell
from actors.flow_outcomes import failed
from config.origin import kept_origin
from domain.account_key import AccountKey
from domain.campaign_message import CampaignContent, fillings_for, rendered
from domain.clock import Clock
from domain.contact_policy import ContactPolicy
from domain.conversation_drafts import new_conversation
from domain.errors import InvalidContent
from domain.flow_nodes import SendMessage, Variable
from domain.flow_state import Effect
from domain.ids import new_id
from domain.outgoing_content import ContentFields
from domain.queued_message import PRIORITY_FLOW, Addressee, queued_message
from domain.templates import MissingVariable, Value
from storage.client import Document
from storage.flow_documents import EffectOutcome, FlowEventDocument, flow_message_id
from storage.flow_sends import FlowMessage, FlowSends, Material, QueueSuperseded, Wanted
from storage.templates import TemplateDocument

SOURCE = "flow"
#: Times that a message is looked at anew, because something it was made of has changed.
_ATTEMPTS = 5
#: Actors of accounts are told of what is queued within this time once.
_TOGETHER_S = 0.02


class FlowMark(TypedDict):
    """Which visit of which execution a message is of."""

    executionId: str
    nodeId: str
    visit: int
    contactId: str


class _NotSent(Exception):
    """A message is not to be sent, for a reason that may be shown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccountBell:
    """Tells actors of accounts that messages wait, once for many."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._rung: set[str] = set()

    def ring(self, account_id: str) -> None:
        """Have the actor of an account look, in a moment."""
        if account_id not in self._rung:
            self._rung.add(account_id)
            asyncio.get_running_loop().call_later(_TOGETHER_S, self._wake, account_id)

    def _wake(self, account_id: str) -> None:
        self._rung.discard(account_id)
        self._tell(AccountActor.kind, account_id, "resume")


class FlowMessages:
    """Sends the messages of flows."""

    def __init__(self, sends: FlowSends, clock: Clock) -> None:
        self._sends = sends
        self._clock = clock

    async def send(self, event: FlowEventDocument, effect: Effect, action: SendMessage) -> EffectOutcome | None:
        """Queue a message; answers why it is not sent, or nothing where the outbox tells what becomes of it."""
        wanted = Wanted(event["contactId"], event["accountId"], event["merchantId"], action.template_id)
        for _ in range(_ATTEMPTS):
            try:
                made = _made(event, effect, await self._sends.material(wanted), self._clock.now())
            except _NotSent as error:
                return failed(error.reason)
            try:
                await self._sends.queue(made)
            except QueueSuperseded:
                continue
            return None
        return failed("busy", final=False)


def _made(event: FlowEventDocument, effect: Effect, material: Material, now: datetime) -> FlowMessage:
    """Return the message.

    Raises:
        _NotSent: when there is none, with the reason.
    """
    contact, account, template = material.contact, material.account, material.template
    if contact is None:
        raise _NotSent("contact_gone")
    if account is None or not account.get("connected"):
        raise _NotSent("closed_account")
    if template is None:
        raise _NotSent("template_missing")
    refused = ContactPolicy.of(account).refusal(contact, SOURCE, now)
    if refused is not None:
        raise _NotSent(refused)
    fields = _content(template, contact, account, effect.variables)
    conversation, opened = material.conversation, None
    if conversation is None:
        key = AccountKey(event["accountId"], event["merchantId"], str(account["twitterUserId"]))
        conversation = opened = new_conversation(key, contact, now, new_id())
    mark = FlowMark(
        executionId=effect.key.execution_id,
        nodeId=effect.key.node_id,
        visit=effect.key.visit,
        contactId=contact["_id"],
    )
    to = Addressee(
        event["merchantId"], event["accountId"], conversation["_id"], contact["_id"], conversation["twitterUserId"]
    )
    message = queued_message(flow_message_id(effect.key), to, fields, source=SOURCE, priority=PRIORITY_FLOW, now=now)
    message |= {"flow": mark, **kept_origin()}
    return FlowMessage(event["_id"], message, opened)


def given_of(variables: Mapping[str, Variable]) -> dict[str, Value]:
    """Return what fills a template of what a flow remembers: a variable that is null fills nothing."""
    return {name: value for name, value in variables.items() if value is not None}


def _content(
    template: TemplateDocument, contact: Document, account: Document, variables: Mapping[str, Variable]
) -> ContentFields:
    content = CampaignContent.of(template["type"], template["content"], template["options"], template["buttons"])
    fillings = fillings_for(contact, account, given_of(variables))
    try:
        # Links are tracked for campaigns: nothing of a flow is counted by them.
        return rendered(content, fillings, str, base="").fields
    except MissingVariable:
        raise _NotSent("missing_variable") from None
    except InvalidContent:
        raise _NotSent("unrenderable") from None
