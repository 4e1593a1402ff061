"""The counters of campaigns, written in the transaction that they count.

A counter is kept by campaign, run, variant and hour, and spread over several documents, so that accounts which send
side by side don't wait for each other; what is shown is their sum.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from zlib import crc32

from pymongo import UpdateOne

from storage.client import Database, Session

Counter: TypeAlias = Literal[
    "sent", "delivered", "failed", "skipped", "opened", "clicked", "replied", "optedOut", "blocked"
]
#: What is counted where X has taken a message.
DELIVERED: tuple[Counter, ...] = ("sent", "delivered")
#: What is counted where X has not.
FAILED: tuple[Counter, ...] = ("sent", "failed")

_PARTS = 16


@dataclass(frozen=True, slots=True)
class _Place:
    """The document that a counter is in."""

    merchant_id: str
    campaign_id: str
    run_id: str
    variant: str
    hour: str
    part: str

    @property
    def id(self) -> str:
        return f"{self.campaign_id}|{self.run_id}|{self.variant}|{self.hour}|{self.part}"


class CountChanges:
    """Gathers what one transaction counts, one write a document.

    A `writer` that has one transaction under way at a time has documents of its own; without one they are shared, by
    account.
    """

    def __init__(self, writer: str = "") -> None:
        self._writer = writer
        self._places: dict[_Place, Tally[str]] = {}

    def add(self, recipient: Mapping[str, str], counters: Iterable[Counter], at: datetime, amount: int = 1) -> None:
        """Count what happened to a recipient (`merchantId, campaignId, runId, variant, accountId`) at a moment."""
        place = _Place(
            recipient["merchantId"],
            recipient["campaignId"],
            recipient["runId"],
            recipient["variant"],
            f"{at:%Y-%m-%dT%H}",
            self._writer or _part_of(recipient["accountId"]),
        )
        tally = self._places.setdefault(place, Tally())
        for counter in counters:
            tally[counter] += amount

    async def write_in(self, database: Database, session: Session) -> None:
        """Write within a transaction, always in the same order: transactions that meet wait, and don't fail both."""
        writes = [
            UpdateOne(
                {"_id": place.id},
                {
                    "$inc": dict(tally),
                    "$setOnInsert": {
                        "merchantId": place.merchant_id,
                        "campaignId": place.campaign_id,
                        "runId": place.run_id,
                        "variant": place.variant,
                        "hour": place.hour,
                    },
                },
                upsert=True,
            )
            for place, tally in sorted(self._places.items(), key=lambda item: item[0].id)
        ]
        if writes:
            await database["campaignCounts"].bulk_write(writes, ordered=False, session=session)


def _part_of(account_id: str) -> str:
    return str(crc32(account_id.encode()) % _PARTS)
