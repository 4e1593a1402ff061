"""Which merchant's account an X user id belongs to, kept in memory for a moment: every event asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from domain.account_key import AccountKey
from domain.bot_rules import BotRules
from domain.consent import DEFAULT_CONFIRMATION, words_of
from storage.client import Database, Document

_TTL_S = 2.0
#: Shorter: whoever turns the chatbot on writes to it at once, to see whether it answers.
_SETTINGS_TTL_S = 0.2
_MOST_KNOWN = 100_000
_FIELDS = {
    "_id": 1,
    "merchantId": 1,
    "twitterUserId": 1,
    "stopWords": 1,
    "startWords": 1,
    "optOutConfirmation": 1,
    "autoReplyEnabled": 1,
    "businessHours": 1,
}
_BOT_FIELDS = {"enabled": 1, "accountIds": 1, "humanSilenceSeconds": 1, "respectBusinessHours": 1}


@dataclass(frozen=True, slots=True)
class _Known:
    """An account, and what ingestion needs of it under some settings of its merchant, until when."""

    until: float
    account: Document
    settings: Document | None
    key: AccountKey


class AccountDirectory:
    """Looks connected accounts up by X user id.

    That an account is there may be remembered for two seconds, what its merchant has set for the chatbot for a fraction
    of one. That an account is not there is never remembered: an event that finds no account is put aside for good.
    """

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts = database["accounts"]
        self._settings = database["aiSettings"]
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._chosen: dict[str, tuple[float, Document | None]] = {}

    async def find(self, twitter_user_ids: Iterable[str]) -> dict[str, AccountKey]:
        """Return the connected accounts among these X user ids."""
        now = self._monotonic()
        accounts: dict[str, Document] = {}
        missing: list[str] = []
        for user_id in set(twitter_user_ids):
            known = self._known.get(user_id)
            if known is not None and known.until > now:
                accounts[user_id] = known.account
            elif user_id:
                missing.append(user_id)
        read = await self._read(missing) if missing else {}
        accounts |= read
        chosen = await self._settings_of({account["merchantId"] for account in accounts.values()}, now)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        return {
            user_id: self._key(user_id, account, chosen.get(account["merchantId"]), now + _TTL_S)
            for user_id, account in accounts.items()
        }

    def _key(self, user_id: str, account: Document, settings: Document | None, until: float) -> AccountKey:
        known = self._known.get(user_id)
        if known is not None and known.account is account:
            if known.settings == settings:
                return known.key
            until = known.until
        key = _key_of(account, settings)
        self._known[user_id] = _Known(until, account, settings, key)
        return key

    async def _read(self, user_ids: list[str]) -> dict[str, Document]:
        query = {"twitterUserId": {"$in": user_ids}, "connected": True}
        return {account["twitterUserId"]: account async for account in self._accounts.find(query, _FIELDS)}

    async def _settings_of(self, merchant_ids: set[str], now: float) -> dict[str, Document | None]:
        """Return what merchants have set for the chatbot, as it was a moment ago."""
        found = {each: self._chosen[each] for each in merchant_ids if each in self._chosen}
        missing = [each for each in merchant_ids if each not in found or found[each][0] <= now]
        if missing:
            read = {each["_id"]: each async for each in self._settings.find({"_id": {"$in": missing}}, _BOT_FIELDS)}
            if len(self._chosen) > _MOST_KNOWN:
                self._chosen.clear()
            found |= {each: (now + _SETTINGS_TTL_S, read.get(each)) for each in missing}
            self._chosen.update(found)
        return {merchant_id: settings for merchant_id, (_, settings) in found.items()}


def _key_of(account: Document, settings: Document | None) -> AccountKey:
    return AccountKey(
        account["_id"],
        account["merchantId"],
        account["twitterUserId"],
        words_of(account.get("stopWords"), account.get("startWords")),
        account.get("optOutConfirmation") or DEFAULT_CONFIRMATION,
        BotRules.of(account, settings),
    )
