"""Makes one document of the parts of a day that is over, so that a year of any number of writers is read as quickly.

Nothing else changes by that: the sums stay the same in every transaction, and what comes late makes another part, which
is folded in later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.rollup import Counts
from storage.client import Client, Database, Document, Session, session_of
from storage.rollups import COLLECTION, add_sums, paths_of, place_of, whole_id

#: Parts that are read in one step, of which days are folded together.
_BATCH: Final = 500


async def fold(client: Client, database: Database, before: str) -> int:
    """Fold the parts of all days before one (`2026-01-18`); returns how many parts there were.

    Safe beside others that do the same, and beside writers.
    """
    folded = 0
    loose: Document = {"loose": {"$gt": "", "$lt": before}}
    while True:
        found = await database[COLLECTION].find(loose, {"_id": 1}).sort("loose", 1).limit(_BATCH).to_list(None)
        if not found:
            return folded
        async with session_of(client) as session:
            folded += await session.with_transaction(_Fold(database, [each["_id"] for each in found]))


class _Fold:
    """One transaction of folding."""

    def __init__(self, database: Database, keys: Sequence[str]) -> None:
        self._collection = database[COLLECTION]
        self._keys = keys

    async def __call__(self, session: Session) -> int:
        query = {"_id": {"$in": list(self._keys)}}
        sums: dict[str, tuple[str, Counts]] = {}
        async for part in self._collection.find(query, session=session):
            place = place_of(part["_id"])
            _, counts = sums.setdefault(whole_id(place), (place.merchant_id, Counts()))
            counts.update(paths_of({name: part[name] for name in ("total", "hours", "active") if name in part}))
        deleted = await self._collection.delete_many(query, session=session)
        writes = [add_sums(key, merchant_id, counts) for key, (merchant_id, counts) in sorted(sums.items())]
        if writes:
            await self._collection.bulk_write(writes, ordered=False, session=session)
        return deleted.deleted_count
