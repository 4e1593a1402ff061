"""What a merchant sets for its chatbot (API document, "Update AI Settings"; contract, part 5, "AI")."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_SYSTEM_PROMPT = 8_000
MOST_TOKENS = 4_096
MOST_ESCALATION_WORDS = 100
LONGEST_ESCALATION_WORD = 100
#: Tokens of a dialogue that are kept, and of which the model is shown as much as fits.
CONTEXT_TOKENS = 3_000


@dataclass(frozen=True, slots=True)
class DialogueSettings:
    """The settings of one merchant; what it has not set is as it stands here.

    `max_tokens` bounds one answer of the model, `daily_token_budget` what all its answers cost in a day (UTC; None: no
    bound). Below `auto_escalation_threshold` (0…1) an answer is not sent, and a person takes over.
    `escalation_words` are words or phrases by which a customer gets a person whatever the model thinks.
    `human_silence_s` is how long the bot is silent after a person has answered, `answer_delay_s` how long it waits for
    further messages before it answers. `account_ids` are the accounts it answers for; none: all.
    """

    enabled: bool = False
    model: str = "gpt-4o-mini"
    temperature: float = 0.7
    max_tokens: int = 500
    auto_escalation_threshold: float = 0.6
    system_prompt: str = ""
    escalation_words: tuple[str, ...] = ()
    human_silence_s: int = 3_600
    daily_token_budget: int | None = None
    respect_business_hours: bool = False
    answer_delay_s: float = 2.0
    account_ids: tuple[str, ...] = ()

    def answers_for(self, account_id: str) -> bool:
        """Whether the chatbot is on for an account."""
        return self.enabled and (not self.account_ids or account_id in self.account_ids)
