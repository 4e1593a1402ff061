"""What rollups count of documents that are gone, so that a recount knows of it (docs/analytics.md).

An erased contact leaves anonymous counters (contract, part 5, "Contacts"): the sums stay as they are. What the deleted
documents counted for is added to `rollupRemains` in the transaction that deletes them, by merchant, account, flow and
hour, and with nobody's name; documents and remains together are what the sums must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from domain.active_days import Pairs, day_of, pairs_of
from domain.rollup import Tally
from storage.client import Database, Document, Session, session_of
from storage.rollups import add_in, shared_part

COLLECTION: Final = "rollupRemains"


async def keep_in(database: Database, session: Session, tally: Tally, key: str) -> None:
    """Within the transaction that deletes documents: keep what they counted for; writers are spread by `key`, an id."""
    await add_in(database, session, tally, shared_part(key), collection=COLLECTION)


async def contact_goes_in(
    database: Database,
    session: Session,
    contact: Mapping[str, Any],
    contact_ids: Sequence[str],
    conversations: Sequence[Mapping[str, Any]],
    at: datetime,
) -> None:
    """Within the transaction that erases a contact with its conversations, while its messages are still there.

    The contact is one fewer from then on, and conversations that were open are not any more. `contact_ids` are its own
    and those of contacts that it has taken up.
    """
    sums, remains = Tally(), Tally()
    remains.contact(contact)
    remains.active(contact, pairs_of(await active_days_in(database, session, contact_ids)))
    for tally in (sums, remains):
        tally.removed(contact, at)
    for conversation in conversations:
        remains.conversation(conversation)
        if conversation["closedAt"] is None:
            for tally in (sums, remains):
                tally.closed(conversation, at)
    await add_in(database, session, sums, shared_part(contact["_id"]))
    await keep_in(database, session, remains, contact["_id"])


async def contacts_join_in(
    database: Database, session: Session, kept: Mapping[str, Any], other: Mapping[str, Any], at: datetime
) -> list[str]:
    """Within the transaction by which a contact becomes part of another: both are one contact from then on.

    Returns all days on which that one was active.
    """
    sums, remains = Tally(), Tally()
    remains.contact(other)
    for tally in (sums, remains):
        tally.removed(other, at)
    own = await active_days_in(database, session, [kept["_id"]])
    others = await active_days_in(database, session, [other["_id"]])
    together = sorted({*own, *others})
    sums.active(kept, _less(pairs_of(together), pairs_of(own)))
    sums.active(other, pairs_of(others), -1)
    await add_in(database, session, sums, shared_part(kept["_id"]))
    await keep_in(database, session, remains, other["_id"])
    return together


async def active_days_in(database: Database, session: Session, contact_ids: Sequence[str]) -> list[str]:
    """Return the days on which contacts were active, in order, as their messages and activities say."""
    of_them: Document = {"contactId": {"$in": list(contact_ids)}}
    conversations = database["conversations"].find(of_them, {"_id": 1, "merchantId": 1}, session=session)
    found = await conversations.to_list(None)
    days: set[str] = set()
    if found:
        inbound = {"conversationId": {"$in": [each["_id"] for each in found]}, "direction": "inbound", **of_them}
        messages = database["messages"].find({**inbound, "status": "received"}, {"at": 1}, session=session)
        days |= {day_of(message["at"]) async for message in messages}
    contacts = database["contacts"].find({"_id": of_them["contactId"]}, {"merchantId": 1}, session=session)
    merchants = [contact["merchantId"] async for contact in contacts]
    deeds = {"merchantId": {"$in": merchants}, **of_them, "data.direction": {"$ne": "outbound"}}
    activities = database["activities"].find(deeds, {"at": 1}, session=session)
    days |= {day_of(activity["at"]) async for activity in activities}
    return sorted(days)


async def remove_executions(database: Database, execution_ids: Sequence[str]) -> int:
    """Delete executions of flows, and keep what they counted for; returns how many there were."""

    async def work(session: Session) -> int:
        query = {"_id": {"$in": list(execution_ids)}}
        executions = database["flowExecutions"]
        fields = dict.fromkeys(("merchantId", "accountId", "flowId", "status", "startedAt", "completedAt"), 1)
        remains = Tally()
        async for execution in executions.find(query, fields, session=session):
            remains.execution(execution)
        deleted = await executions.delete_many(query, session=session)
        await keep_in(database, session, remains, execution_ids[0])
        return deleted.deleted_count

    if not execution_ids:
        return 0
    async with session_of(database.client) as session:
        return await session.with_transaction(work)


def _less(pairs: Pairs, others: Pairs) -> Pairs:
    difference = Pairs(pairs)
    difference.subtract(others)
    return difference
