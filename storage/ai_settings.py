"""What merchants set for their chatbots; one document a merchant, there once something was set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict, cast

from pymongo import ReturnDocument

from domain.dialogue_settings import DialogueSettings
from storage.client import Database, Document

_DEFAULTS = DialogueSettings()


class AiSettingsFields(TypedDict):
    """What a merchant sets (`domain/dialogue_settings.py`)."""

    enabled: bool
    model: str
    temperature: float
    maxTokens: int
    autoEscalationThreshold: float
    systemPrompt: str
    escalationWords: list[str]
    humanSilenceSeconds: int
    dailyTokenBudget: int | None
    respectBusinessHours: bool
    answerDelaySeconds: float
    accountIds: list[str]


class AiSettingsDocument(AiSettingsFields):
    """The settings of one merchant, whose id is the document's; `updatedAt` is null where none were set."""

    _id: str
    merchantId: str
    updatedAt: datetime | None


class AiSettings:
    """The chatbot settings of all merchants."""

    def __init__(self, database: Database) -> None:
        self._collection = database["aiSettings"]

    async def get(self, merchant_id: str) -> AiSettingsDocument:
        """Return a merchant's settings; what it has not set is as it is by default."""
        return _whole(merchant_id, await self._collection.find_one({"_id": merchant_id}))

    async def change(self, merchant_id: str, fields: Mapping[str, object], now: datetime) -> AiSettingsDocument:
        """Change some settings and return them all."""
        changed = await self._collection.find_one_and_update(
            {"_id": merchant_id},
            {"$set": {**fields, "merchantId": merchant_id, "updatedAt": now}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return _whole(merchant_id, changed)


def settings_of(document: AiSettingsDocument) -> DialogueSettings:
    """Return settings as a dialogue goes by them."""
    return DialogueSettings(
        enabled=document["enabled"],
        model=document["model"],
        temperature=document["temperature"],
        max_tokens=document["maxTokens"],
        auto_escalation_threshold=document["autoEscalationThreshold"],
        system_prompt=document["systemPrompt"],
        escalation_words=tuple(document["escalationWords"]),
        human_silence_s=document["humanSilenceSeconds"],
        daily_token_budget=document["dailyTokenBudget"],
        respect_business_hours=document["respectBusinessHours"],
        answer_delay_s=document["answerDelaySeconds"],
        account_ids=tuple(document["accountIds"]),
    )


def _whole(merchant_id: str, document: Document | None) -> AiSettingsDocument:
    defaults = AiSettingsFields(
        enabled=_DEFAULTS.enabled,
        model=_DEFAULTS.model,
        temperature=_DEFAULTS.temperature,
        maxTokens=_DEFAULTS.max_tokens,
        autoEscalationThreshold=_DEFAULTS.auto_escalation_threshold,
        systemPrompt=_DEFAULTS.system_prompt,
        escalationWords=[*_DEFAULTS.escalation_words],
        humanSilenceSeconds=_DEFAULTS.human_silence_s,
        dailyTokenBudget=_DEFAULTS.daily_token_budget,
        respectBusinessHours=_DEFAULTS.respect_business_hours,
        answerDelaySeconds=_DEFAULTS.answer_delay_s,
        accountIds=[*_DEFAULTS.account_ids],
    )
    whole = {"_id": merchant_id, "merchantId": merchant_id, "updatedAt": None, **defaults, **(document or {})}
    return cast("AiSettingsDocument", whole)
