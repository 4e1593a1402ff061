from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.client import Collection, Document

Sort = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list is asked for."""

    skip: int = 0
    take: int = 20


async def find_page(
    collection: Collection,
    query: Mapping[str, object],
    sort: Sort,
    part: Slice,
    *,
    projection: Mapping[str, int] | None = None,
) -> tuple[list[Document], int]:
    """Return a part of what matches, in order, and how many match altogether."""
    cursor = collection.find(query, projection).sort(list(sort)).skip(part.skip).limit(part.take)
    documents, total = await asyncio.gather(cursor.to_list(None), collection.count_documents(query))
    return documents, total
