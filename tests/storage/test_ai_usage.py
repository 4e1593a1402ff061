from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from storage.ai_usage import AiUsage
from storage.client import Database

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_tokens_are_counted_by_merchant_and_day_of_utc(database: Database) -> None:
    usage = AiUsage(database)
    assert await usage.tokens_on_day("merchant-1", NOON) == 0
    await asyncio.gather(*(usage.add("merchant-1", NOON, 70, 30) for _ in range(5)))
    await usage.add("merchant-2", NOON, 1, 1)
    # It is still January there, and February in UTC.
    await usage.add("merchant-1", datetime(2026, 1, 31, 20, tzinfo=timezone(timedelta(hours=-5))), 7, 3)
    used = await usage.on_day("merchant-1", NOON)
    assert used is not None
    assert (used["promptTokens"], used["completionTokens"], used["calls"]) == (350, 150, 5)
    assert used["day"] == datetime(2026, 1, 31, tzinfo=UTC)
    assert await usage.tokens_on_day("merchant-1", NOON) == 500
    assert await usage.tokens_on_day("merchant-1", NOON + timedelta(days=1)) == 10
    assert await usage.tokens_on_day("merchant-2", NOON) == 2
    assert await usage.on_day("merchant-3", NOON) is None
