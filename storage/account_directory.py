"""Which merchant's account an X user id belongs to, kept in memory for a moment: every event asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from domain.ingestion import AccountKey
from storage.client import Database

_TTL_S = 2.0
_MOST_KNOWN = 100_000
_FIELDS = {"_id": 1, "merchantId": 1, "twitterUserId": 1}


class AccountDirectory:
    """Looks connected accounts up by X user id; an answer may be two seconds old."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts = database["accounts"]
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, AccountKey | None]] = {}

    async def find(self, twitter_user_ids: Iterable[str]) -> dict[str, AccountKey]:
        """Return the connected accounts among these X user ids."""
        now = self._monotonic()
        wanted = {user_id for user_id in twitter_user_ids if user_id}
        stale = [u for u in wanted if u not in self._known or self._known[u][0] < now]
        if stale:
            await self._read(stale, now + _TTL_S)
        found = ((user_id, self._known[user_id][1]) for user_id in wanted)
        return {user_id: account for user_id, account in found if account is not None}

    async def _read(self, user_ids: list[str], until: float) -> None:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known.update(dict.fromkeys(user_ids, (until, None)))
        query = {"twitterUserId": {"$in": user_ids}, "connected": True}
        async for account in self._accounts.find(query, _FIELDS):
            user_id = account["twitterUserId"]
            self._known[user_id] = (until, AccountKey(account["_id"], account["merchantId"], user_id))

    def forget(self) -> None:
        """Ask the database again next time."""
        self._known.clear()
