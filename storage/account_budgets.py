"""The budgets of accounts as their actors last wrote them: to look at, not to claim from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.send_windows import Limits, SendWindows
from storage.client import Database


class AccountBudgets:
    """Reads the windows of accounts."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._collection = database["accountActors"]
        self.limits = limits

    async def windows(self, account_ids: Sequence[str]) -> Mapping[str, SendWindows]:
        """Return the windows of those accounts that have sent something before."""
        cursor = self._collection.find({"_id": {"$in": list(account_ids)}}, {"state": 1})
        return {
            document["_id"]: SendWindows.from_document(document["state"], self.limits)
            async for document in cursor
            if document["state"]
        }
