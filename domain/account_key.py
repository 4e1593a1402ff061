"""What ingestion and campaigns need of a connected account."""

from __future__ import annotations

from dataclasses import dataclass

from domain.bot_rules import NO_BOT, BotRules
from domain.consent import DEFAULT_CONFIRMATION, DEFAULT_WORDS, ConsentWords


@dataclass(frozen=True, slots=True)
class AccountKey:
    """What ingestion needs of a connected account; `confirmation` is what a contact who opts out is told.

    `bot` is what the account's automatic answers go by.
    """

    id: str
    merchant_id: str
    twitter_user_id: str
    words: ConsentWords = DEFAULT_WORDS
    confirmation: str = DEFAULT_CONFIRMATION
    bot: BotRules = NO_BOT
