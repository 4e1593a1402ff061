"""What was put aside, and how events that came before their account was connected get back into the inbox."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from domain.events import EventKind, XEvent
from storage.client import Database, Document, Session, session_of
from storage.inbox import Inbox, entry_of, event_of

log = structlog.get_logger()

_UNKNOWN_ACCOUNT = "unknown_account"
#: How far back events are taken up again: what an erased contact leaves behind guards against them for as long.
REVIVED = timedelta(days=7)
_BATCH = 200


def unknown_account_letter(event: XEvent, now: datetime) -> Document:
    """Return an event of an account that nobody has connected, as it is put aside; its key is the letter's id."""
    return {
        "reason": _UNKNOWN_ACCOUNT,
        "forUserId": event.for_user_id,
        "eventAt": event.at,
        "events": [entry_of(event)],
        "at": now,
    }


class DeadLetters:
    """Events and bodies that could not be processed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._letters = database["deadLetters"]
        self._inbox = Inbox(database.client, database)

    async def revive(self, twitter_user_id: str, now: datetime) -> int:
        """Put the events of the last days that came for an account back into the inbox; returns how many.

        Each batch changes place in one transaction, so that being cut off, or done by two at once, loses and doubles
        nothing; an event that X has delivered again since then is known by its key. They get in by X's time, behind
        what waits already. What is put aside again meanwhile is left for another time. That access was revoked is
        dropped: it was said of the tokens of before, and would take the account away again.
        """
        count = 0
        query = {
            "forUserId": twitter_user_id,
            "reason": _UNKNOWN_ACCOUNT,
            "at": {"$gt": now - REVIVED, "$lte": now},
        }

        async def work(session: Session) -> int:
            found = self._letters.find(query, session=session).sort([("eventAt", 1), ("_id", 1)]).limit(_BATCH)
            letters = await found.to_list(None)
            ids = [letter["_id"] for letter in letters]
            await self._letters.delete_many({"_id": {"$in": ids}}, session=session)
            events = [event_of(entry, letter["at"]) for letter in letters for entry in letter["events"]]
            await self._inbox.add([each for each in events if each.kind is not EventKind.REVOKE], now, session)
            return len(letters)

        async with session_of(self._database.client) as session:
            while moved := await session.with_transaction(work):
                count += moved
        if count:
            log.info("dead_letters.revived", for_user_id=twitter_user_id, events=count)
        return count

    async def revive_all(self, now: datetime) -> int:
        """Do so for every account that is connected; returns how many events these were."""
        waiting = await self._letters.distinct("forUserId", {"forUserId": {"$exists": True}})
        query: Document = {"twitterUserId": {"$in": waiting}, "connected": True}
        connected = await self._database["accounts"].find(query, {"twitterUserId": 1}).to_list(None)
        return sum([await self.revive(account["twitterUserId"], now) for account in connected])

    async def waiting(self) -> int:
        """Return how many events wait for their account to be connected."""
        return await self._letters.count_documents({"reason": _UNKNOWN_ACCOUNT})

    async def broken(self) -> int:
        """Return how many documents and bodies were put aside for another reason."""
        return await self._letters.count_documents({"reason": {"$ne": _UNKNOWN_ACCOUNT}})
