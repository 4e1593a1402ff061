"""Answers of the model that flows ask for (`ai_reply`): given by the actor of the contact's conversation."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal, Protocol

from actors.conversation import ConversationActor
from actors.flow_outcomes import failed, succeeded
from domain.clock import Clock
from domain.contact_policy import ContactPolicy
from domain.flow_nodes import ESCALATED, AiReply
from domain.flow_state import Effect
from storage.flow_documents import EffectOutcome, FlowEventDocument
from storage.flow_sends import FlowSends, Wanted

UNAVAILABLE = "ai_unavailable"
_SOURCE = "bot"


@dataclass(frozen=True, slots=True)
class AiOutcome:
    """What became of an answer: given, the conversation went to people, or it failed, for good where `final`."""

    kind: Literal["answered", "escalated", "failed"]
    reason: str = ""
    final: bool = False


class Replies(Protocol):
    """Answers the customer of a conversation."""

    async def reply(self, conversation_id: str, key: str, instructions: str | None) -> AiOutcome:
        """Answer what the customer has said; under one key once, however often it is asked for.

        Raises:
            Unavailable: when it is not known what became of it; to be asked for again.
        """
        ...


class NoReplies:
    """Where there is no chatbot."""

    async def reply(self, conversation_id: str, key: str, instructions: str | None) -> AiOutcome:  # noqa: ARG002  # the shape of `Replies`
        """Answer nothing."""
        return AiOutcome("failed", UNAVAILABLE, final=True)


class Ask(Protocol):
    """Sends a message to an actor, wherever it is, and waits for its answer."""

    def __call__(self, kind: str, key: str, method: str, *args: object) -> Awaitable[object]:
        """Send it."""
        ...


class ConversationReplies:
    """Has the actors of conversations answer."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def reply(self, conversation_id: str, key: str, instructions: str | None) -> AiOutcome:
        """Answer what the customer has said; under one key once, however often it is asked for.

        Raises:
            Unavailable: when the actor can't be reached.
        """
        match await self._ask(ConversationActor.kind, conversation_id, "reply_for_flow", key, instructions):
            case "answered":
                return AiOutcome("answered")
            case "escalated":
                return AiOutcome("escalated")
            case _:
                return AiOutcome("failed", UNAVAILABLE)


class FlowAnswers:
    """Has conversations answered for flows."""

    def __init__(self, sends: FlowSends, replies: Replies, clock: Clock) -> None:
        self._sends = sends
        self._replies = replies
        self._clock = clock

    async def answer(self, event: FlowEventDocument, effect: Effect, action: AiReply) -> EffectOutcome:
        """Have the contact's open conversation answered."""
        wanted = Wanted(event["contactId"], event["accountId"], event["merchantId"], template_id="")
        material = await self._sends.material(wanted)
        if material.contact is None:
            return failed("contact_gone")
        refused = ContactPolicy.of(material.account or {}).refusal(material.contact, _SOURCE, self._clock.now())
        if refused is not None:
            return failed(refused)
        if material.conversation is None:
            return failed("no_conversation")
        outcome = await self._replies.reply(material.conversation["_id"], str(effect.key), action.instructions)
        match outcome.kind:
            case "answered":
                return succeeded()
            case "escalated":
                return succeeded(branch=ESCALATED)
            case "failed":
                return failed(outcome.reason or UNAVAILABLE, final=outcome.final)
