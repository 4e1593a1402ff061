"""Which merchant's account an X user id belongs to, kept in memory for a moment: every event asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from domain.consent import DEFAULT_CONFIRMATION, words_of
from domain.ingestion import AccountKey
from storage.client import Database, Document

_TTL_S = 2.0
_MOST_KNOWN = 100_000
_FIELDS = {
    "_id": 1,
    "merchantId": 1,
    "twitterUserId": 1,
    "stopWords": 1,
    "startWords": 1,
    "optOutConfirmation": 1,
}


class AccountDirectory:
    """Looks connected accounts up by X user id.

    That an account is there may be remembered for two seconds. That one is not there is never remembered: an event that
    finds no account is put aside for good.
    """

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts = database["accounts"]
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, AccountKey]] = {}

    async def find(self, twitter_user_ids: Iterable[str]) -> dict[str, AccountKey]:
        """Return the connected accounts among these X user ids."""
        now = self._monotonic()
        found: dict[str, AccountKey] = {}
        missing: list[str] = []
        for user_id in set(twitter_user_ids):
            until, account = self._known.get(user_id, (0.0, None))
            if account is not None and until > now:
                found[user_id] = account
            elif user_id:
                missing.append(user_id)
        if missing:
            found |= await self._read(missing, now + _TTL_S)
        return found

    async def _read(self, user_ids: list[str], until: float) -> dict[str, AccountKey]:
        found: dict[str, AccountKey] = {}
        query = {"twitterUserId": {"$in": user_ids}, "connected": True}
        async for account in self._accounts.find(query, _FIELDS):
            found[account["twitterUserId"]] = _key_of(account)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known.update({user_id: (until, account) for user_id, account in found.items()})
        return found


def _key_of(account: Document) -> AccountKey:
    return AccountKey(
        account["_id"],
        account["merchantId"],
        account["twitterUserId"],
        words_of(account.get("stopWords"), account.get("startWords")),
        account.get("optOutConfirmation") or DEFAULT_CONFIRMATION,
    )
