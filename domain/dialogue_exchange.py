"""What the chatbot is asked, and what comes of it: one exchange of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domain.dialogue_escalation import EscalationReason
from domain.dialogue_settings import DialogueSettings
from domain.dialogue_turns import Turn

#: Slots that a dialogue keeps.
MOST_SLOTS = 20


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose dialogue it is; tools can be filled with this, and the model can't change it."""

    account_id: str
    conversation_id: str
    contact_id: str
    twitter_user_id: str
    username: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be answered: what the customer has said since the last answer, in `texts`, and what came before.

    `instructions` are the merchant's own for this answer alone (a flow's `ai_reply`), as they were written: nothing of
    the contact may be filled in, since they are told to the model as orders.
    """

    merchant_id: str
    asker: Asker
    settings: DialogueSettings
    texts: tuple[str, ...]
    context: tuple[Turn, ...] = ()
    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A look-up that the model asked for; `outcome` is `ok`, `failed` or `refused`."""

    name: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came of a question; nothing has been sent or stored but the tokens that it cost.

    `requires_escalation` is the API's field: there is a reason to hand over, and `escalation` is it. `may_send` says
    whether `response` is fit for the customer: a confident one, also where the model asks for a person with it ("I'll
    get a colleague"). Without a call of the model (`customer_word`, `budget_used_up`) both texts are empty.
    `turns` are the whole context to keep: what came before, what was said now, and the response where it may be sent.
    """

    intent: str
    confidence: float
    response: str
    slots: Mapping[str, str]
    turns: tuple[Turn, ...]
    escalation: EscalationReason | None = None
    may_send: bool = False
    tools: tuple[ToolUse, ...] = ()
    tokens: int = 0

    @property
    def requires_escalation(self) -> bool:
        """Whether a person is to take over."""
        return self.escalation is not None


def slots_after(known: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Return the slots of a dialogue after an answer: new values replace old ones; over the bound the oldest go."""
    kept = {name: value for name, value in known.items() if name not in new} | dict(new)
    return dict(list(kept.items())[-MOST_SLOTS:])
