from __future__ import annotations

from datetime import datetime
from typing import TypedDict, cast

from storage.campaign_counts import CountChanges
from storage.client import Database, Session, session_of


class LinkDocument(TypedDict):
    """A link in one message of a campaign; `_id` is its code."""

    _id: str
    merchantId: str
    campaignId: str
    runId: str
    recipientId: str
    contactId: str
    url: str
    createdAt: datetime
    firstClickedAt: datetime | None


class TrackedLinks:
    """The links in messages of all campaigns, by their codes.

    Whoever follows a link is nobody's user: here the merchant is not known before the link is found, so this is the one
    repository that is not asked by merchant.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._links = database["trackedLinks"]

    async def find(self, code: str) -> LinkDocument | None:
        """Return the link of a code."""
        return cast("LinkDocument | None", await self._links.find_one({"_id": code}))

    async def followed(self, link: LinkDocument, now: datetime) -> bool:
        """Note that a person has followed a link; says whether that is counted: it is once per recipient.

        A message may be read before X has confirmed that it was sent: that counts too. Nothing is counted for a
        recipient that is gone.
        """

        async def work(session: Session) -> bool:
            first = await self._links.update_one(
                {"_id": link["_id"], "firstClickedAt": None}, {"$set": {"firstClickedAt": now}}, session=session
            )
            if first.matched_count != 1:
                return False
            recipient = await self._database["campaignRecipients"].find_one_and_update(
                {"_id": link["recipientId"], "merchantId": link["merchantId"], "clickedAt": None},
                {"$set": {"clickedAt": now}},
                session=session,
            )
            if recipient is None:
                return False
            counts = CountChanges()
            counts.add(recipient, ["clicked"], now)
            await counts.write_in(self._database, session)
            return True

        async with session_of(self._database.client) as session:
            return await session.with_transaction(work)
