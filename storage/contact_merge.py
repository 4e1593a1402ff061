"""Merging two contacts that are one person (the rules are in domain/contact_merge.py).

One transaction takes the other contact away, whatever its history: it writes down the merge, moves the conversations
and what is under way to send, and leaves an alias in the other's place, a document without a merchant that says which
contact an X user id of an account belongs to. The unique index over account and X user id makes alias and contact
exclude each other, and whoever wrote to the other contact at that moment starts over. What is said and done before is
moved afterwards, in batches that find nothing the second time; the merge's document goes last, so a merge that was cut
off is completed by repeating it.

A contact and an account have one open conversation, also where the person writes from two X ids: what agents, flows and
campaigns go by is the contact. So of two open ones the other's is closed with the reason `merged`; its wait passes on
to the one that stays, whose answers go to the X id that wrote last.

A place in a campaign's run that the other contact has and that nothing was written for stays its own, and is skipped:
the kept contact has a place of its own, or the run was not meant for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import structlog

from domain.active_days import MOST_DAYS
from domain.contact_merge import merged_fields, wait_passed_on
from domain.errors import Conflict, InvalidContent, NotFound, Problem
from domain.ids import new_id
from storage.client import Database, Document, Session, session_of
from storage.contact_holdings import BY_CONTACT, people_of, waiting_events
from storage.contacts import ContactDocument
from storage.conversation_sums import closed_in
from storage.left_over import complete_each
from storage.rollup_remains import contacts_join_in

log = structlog.get_logger()

_BATCH = 500
CLOSE_REASON = "merged"


class ContactMerges:
    """Makes one contact of two."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def merge(
        self, merchant_id: str, kept_id: str, other_id: str, user_id: str, now: datetime
    ) -> ContactDocument | None:
        """Let one contact take up another, and return it; again for two that are one already.

        `user_id` is who asks for it. Nothing comes back where the contact was erased directly afterwards.

        Raises:
            NotFound: when the merchant does not have the contact that is to be kept.
            InvalidContent: when it does not have the other one, both are the same, or they hold too much to be one.
            Conflict: when one of them is being erased or merged at this moment.
        """
        if kept_id == other_id:
            query = {"_id": kept_id, "merchantId": merchant_id}
            if await self._database["contacts"].find_one(query, {"_id": 1}) is None:
                raise NotFound("Contact not found")
            raise _wrong("is the contact itself")

        async def work(session: Session) -> None:
            await self._join(session, merchant_id, (kept_id, other_id), user_id, now)

        async with session_of(self._database.client) as session:
            await session.with_transaction(work)
        await self.complete(other_id)
        query = {"_id": kept_id, "merchantId": merchant_id}
        return cast("ContactDocument | None", await self._database["contacts"].find_one(query))

    async def unfinished(self) -> list[str]:
        """Return the ids of the contacts, of all merchants, that are gone and whose history is not all moved."""
        return [str(merge["_id"]) async for merge in self._database["contactMerges"].find({}, {"_id": 1})]

    async def complete(self, other_id: str) -> None:
        """Move what is left of a contact that was taken up."""
        merge = await self._database["contactMerges"].find_one({"_id": other_id})
        if merge is None:
            return
        ids: list[str] = []
        of_other: Document = {"conversationId": {"$in": merge["conversationIds"]}, "contactId": other_id}
        async for message in self._database["messages"].find(of_other, {"_id": 1}):
            ids.append(message["_id"])
            if len(ids) == _BATCH:
                await self._move("messages", ids, merge)
                ids = []
        await self._move("messages", ids, merge)
        for name in BY_CONTACT:
            query: Document = {"merchantId": merge["merchantId"], "contactId": other_id, **_movable(name)}
            while found := await self._database[name].find(query, {"_id": 1}).limit(_BATCH).to_list(None):
                await self._move(name, [document["_id"] for document in found], merge)
        await self._database["contactMerges"].delete_one({"_id": other_id})
        log.info("contact.merged", contact_id=merge["intoContactId"], merged_contact_id=other_id)

    async def _move(self, name: str, ids: Sequence[str], merge: Document) -> None:
        query: Document = {"_id": {"$in": list(ids)}, "contactId": merge["_id"]}
        if ids:
            await self._database[name].update_many(query, {"$set": {"contactId": merge["intoContactId"]}})

    async def _join(
        self, session: Session, merchant_id: str, contact_ids: tuple[str, str], user_id: str, now: datetime
    ) -> None:
        kept, other = [await self._contact(session, merchant_id, each) for each in contact_ids]
        if kept is None:
            raise NotFound("Contact not found")
        kept_id, other_id = contact_ids
        if any(each["contactId"] == other_id for each in kept.get("merged", [])):
            return  # the same request again
        if other is None:
            raise _wrong("is no contact of this merchant")
        await self._check_idle(session, contact_ids)
        fields = merged_fields(kept, other)
        fields["activeDays"] = (await contacts_join_in(self._database, session, kept, other, now))[-MOST_DAYS:]
        await self._replace_by_alias(session, other, kept_id)
        await self._database["contacts"].update_one(
            {"_id": kept_id}, {"$set": {**fields, "updatedAt": now}}, session=session
        )
        conversation_ids = await self._move_conversations(session, kept_id, other_id, now)
        merge = {
            "_id": other_id,
            "merchantId": merchant_id,
            "intoContactId": kept_id,
            "conversationIds": conversation_ids,
            "requestedAt": now,
            "requestedByUserId": user_id,
        }
        await self._database["contactMerges"].insert_one(merge, session=session)

    async def _contact(self, session: Session, merchant_id: str, contact_id: str) -> Document | None:
        query = {"_id": contact_id, "merchantId": merchant_id}
        return await self._database["contacts"].find_one(query, session=session)

    async def _check_idle(self, session: Session, contact_ids: tuple[str, str]) -> None:
        ids = {"$in": list(contact_ids)}
        for name, query in (("erasures", {"_id": ids}), ("contactMerges", {"intoContactId": ids})):
            if await self._database[name].find_one(query, {"_id": 1}, session=session) is not None:
                raise Conflict("One of the contacts is being erased or merged", retry_after_s=1)

    async def _replace_by_alias(self, session: Session, other: Document, kept_id: str) -> None:
        contacts = self._database["contacts"]
        people = await people_of(self._database, other, session)
        for person in people:
            # Whoever is processing an event of the person right now collides with this, and starts over.
            waiting = waiting_events(person.for_user_id, person.twitter_user_id)
            await self._database["inbox"].update_many(waiting, {"$inc": {"rereads": 1}}, session=session)
            await self._database["messages"].update_many(
                {"accountId": person.account_id, "pending": True, "contactId": other["_id"]},
                {"$set": {"contactId": kept_id}},
                session=session,
            )
            if person.contact_id != other["_id"]:
                alias_of_other = {"accountId": person.account_id, "twitterUserId": person.twitter_user_id}
                await contacts.update_one(alias_of_other, {"$set": {"mergedInto": kept_id}}, session=session)
        await contacts.delete_one({"_id": other["_id"]}, session=session)
        alias: dict[str, Any] = {name: other[name] for name in ("accountId", "twitterUserId")}
        await contacts.insert_one({"_id": new_id(), **alias, "mergedInto": kept_id}, session=session)

    async def _move_conversations(self, session: Session, kept_id: str, other_id: str, now: datetime) -> list[str]:
        conversations = self._database["conversations"]
        moved = await conversations.find({"contactId": other_id}, session=session).to_list(None)
        for each in moved:
            if each["status"] == "open":
                await self._close_second(session, each, kept_id, now)
        await conversations.update_many({"contactId": other_id}, {"$set": {"contactId": kept_id}}, session=session)
        return [each["_id"] for each in moved]

    async def _close_second(self, session: Session, other: Document, kept_id: str, now: datetime) -> None:
        conversations = self._database["conversations"]
        open_one = {"accountId": other["accountId"], "contactId": kept_id, "status": "open"}
        staying = await conversations.find_one(open_one, session=session)
        if staying is None:
            return
        closed: Document = {"status": "closed", "closedAt": now, "closeReason": CLOSE_REASON}
        closed |= {"waitingSince": None, "unreadCount": 0}
        await conversations.update_one({"_id": other["_id"]}, {"$set": closed}, session=session)
        await closed_in(self._database, session, {**other, **closed})
        await conversations.update_one(
            {"_id": staying["_id"]}, {"$set": wait_passed_on(staying, other)}, session=session
        )


async def resume_merges(merges: ContactMerges) -> int:
    """Complete what a process that died has left unfinished; returns how many. Safe beside others that do the same."""
    return await complete_each(await merges.unfinished(), merges.complete)


def _movable(name: str) -> Document:
    return {"status": {"$ne": "pending"}} if name == "campaignRecipients" else {}


def _wrong(reason: str) -> InvalidContent:
    return InvalidContent("The contacts can't be merged", problems=(Problem("contactId", reason),))
