"""What the actors of conversations work with."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from actors.account import AccountActor
from actors.campaign_run import Tell
from actors.dialogue import Answers
from domain.clock import Waker
from storage.ai_sessions import AiSessions
from storage.bot_steps import BotSteps, Step

log = structlog.get_logger()

TURNS = Counter("mktx_bot_turns_total", "Turns of the chatbot, by outcome", ["outcome"])


@dataclass(frozen=True, slots=True)
class ConversationServices:
    """What the actors of conversations work with."""

    steps: BotSteps
    sessions: AiSessions
    answers: Answers
    clock: Waker
    tell: Tell

    async def take(self, step: Step, outcome: str) -> bool:
        """Write a step, and have what it says sent; answers whether it was still in time.

        `outcome` is what it is counted as.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        taken = await self.steps.take(step, self.clock.now())
        TURNS.labels(outcome if taken else "stale").inc()
        if taken and step.saying is not None:
            self.tell(AccountActor.kind, step.seen["accountId"], "resume")
        if taken and step.escalation is not None:
            log.info("conversation.escalated", conversation=step.seen["_id"], reason=step.escalation.reason)
        return taken
