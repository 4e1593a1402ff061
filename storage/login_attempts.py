from __future__ import annotations

from datetime import datetime, timedelta

from storage.client import Database

_WINDOW = timedelta(minutes=1)


class LoginAttempts:
    """Failed logins of the last minute, by address and by account, over all gateway processes."""

    def __init__(self, database: Database) -> None:
        self._collection = database["loginAttempts"]

    async def begin(self, attempt_id: str, keys: tuple[str, ...], now: datetime, limit: int) -> bool:
        """Note an attempt and say whether it may go on.

        It is noted before it is counted, so that attempts at the same moment see each other: more than `limit`
        a minute never pass. One that may not go on is not counted.
        """
        notes = [{"_id": f"{attempt_id}|{key}", "key": key, "at": now} for key in keys]
        await self._collection.insert_many(notes)
        for key in keys:
            if await self._collection.count_documents({"key": key, "at": {"$gt": now - _WINDOW}}) > limit:
                await self.forget(attempt_id, keys)
                return False
        return True

    async def forget(self, attempt_id: str, keys: tuple[str, ...]) -> None:
        """Take an attempt back that was no failure."""
        await self._collection.delete_many({"_id": {"$in": [f"{attempt_id}|{key}" for key in keys]}})
