from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bson import encode

from storage.client import Collection, Document

Sort = Sequence[tuple[str, int]]

#: Up to this many a total is counted for every page.
COUNTED_ALWAYS = 10_000
_TOTAL_HOLDS_S = 30.0
_MOST_TOTALS = 1_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list is asked for."""

    skip: int = 0
    take: int = 20


@dataclass(frozen=True, slots=True)
class Indexes:
    """The names of the indexes that a list is to be read from, and counted by; nothing leaves it to the database.

    Where several indexes begin with the same field, the database tries each of them on a large part of the collection
    before it settles for one, and does so again for every value that it has not seen.
    """

    page: str | None = None
    total: str | None = None


class LargeTotals:
    """Totals of long lists, kept for half a minute: counting a million entries takes longer than finding a page.

    Up to 10,000 a total is always counted, so it is exact; above, it may be half a minute old.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kept: OrderedDict[bytes, tuple[float, asyncio.Future[int]]] = OrderedDict()

    async def of(self, collection: Collection, query: Mapping[str, object], index: str | None) -> int:
        """Return how many documents match."""
        key = collection.full_name.encode() + encode(query)
        counted = await _count(collection, query, index, COUNTED_ALWAYS + 1)
        if counted <= COUNTED_ALWAYS:
            self._kept.pop(key, None)
            return counted
        kept = self._kept.get(key)
        if kept is not None and self._now() - kept[0] < _TOTAL_HOLDS_S:
            # Shielded: who asked first may be gone before the others.
            return await asyncio.shield(kept[1])
        counting = asyncio.ensure_future(_count(collection, query, index))
        self._keep(key, counting)
        return await asyncio.shield(counting)

    def _keep(self, key: bytes, counting: asyncio.Future[int]) -> None:
        self._kept[key] = (self._now(), counting)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_TOTALS:
            self._kept.popitem(last=False)

        def forget_failed(done: asyncio.Future[int]) -> None:
            kept = self._kept.get(key)
            if (done.cancelled() or done.exception() is not None) and kept is not None and kept[1] is done:
                del self._kept[key]

        counting.add_done_callback(forget_failed)


async def find_page(
    collection: Collection,
    query: Mapping[str, object],
    sort: Sort,
    part: Slice,
    *,
    projection: Mapping[str, int] | None = None,
    indexes: Indexes = Indexes(),
    totals: LargeTotals | None = None,
) -> tuple[list[Document], int]:
    """Return a part of what matches, in order, and how many match altogether; `totals` where these may be many."""
    cursor = collection.find(query, projection).sort(list(sort)).skip(part.skip).limit(part.take)
    if indexes.page is not None:
        cursor = cursor.hint(indexes.page)
    counting = (
        _count(collection, query, indexes.total) if totals is None else totals.of(collection, query, indexes.total)
    )
    documents, total = await asyncio.gather(cursor.to_list(None), counting)
    return documents, total


async def _count(collection: Collection, query: Mapping[str, object], index: str | None, most: int = 0) -> int:
    options: Document = {}
    if index is not None:
        options["hint"] = index
    if most:
        options["limit"] = most
    return await collection.count_documents(query, **options)
