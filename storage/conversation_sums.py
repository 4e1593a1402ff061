"""Counts conversations that begin and end, in the transaction that they do so in (docs/analytics.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.rollup import Tally
from storage.client import Database, Session
from storage.rollups import add_in, shared_part


async def started_in(database: Database, session: Session, conversations: Sequence[Mapping[str, Any]]) -> None:
    """Within a transaction: count conversations that begin with it."""
    if conversations:
        tally = Tally()
        for conversation in conversations:
            tally.conversation(conversation)
        await add_in(database, session, tally, shared_part(conversations[0]["accountId"]))


async def closed_in(database: Database, session: Session, conversation: Mapping[str, Any]) -> None:
    """Within a transaction: count a conversation that is closed with it, as it is then."""
    tally = Tally()
    tally.closed(conversation, conversation["closedAt"])
    await add_in(database, session, tally, shared_part(conversation["accountId"]))
