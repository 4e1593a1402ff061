"""Erasing a contact and everything that is held about it (contract, part 5, "Contacts").

An erasure is a document of its own: written first, removed last. Every step deletes what it finds and finds nothing
the second time, so an erasure that was cut off is completed by repeating it.

What has not been processed yet goes first, in the transaction that removes the contact: a host that holds a copy of it
finds its inbox document gone and reads again, and one that writes to the contact at that moment starts over. So nothing
that came before the erasure makes the contact come back. X delivers events again for days; messages and activities
of the last days leave X's own id of the message or the event's key behind, without a person or a text, for that long.
An echo of a send whose outcome was not known has no such mark: storage/erased_people.py tells whom it went to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import structlog

from config.settings import Settings
from domain.clock import Clock
from domain.ids import new_id
from domain.rollup import Tally
from storage.client import Database, Document, Session, session_of
from storage.contact_holdings import (
    BY_CONTACT,
    PEOPLE_IN_ACTIVITIES,
    Person,
    people_of,
    waiting_events,
    whole_number,
)
from storage.erased_people import ErasedPeople
from storage.indexes import REDELIVERY
from storage.left_over import complete_each
from storage.rollup_remains import contact_goes_in, keep_in, remove_executions

log = structlog.get_logger()

#: How long the sends that are under way get to end, so that their echoes find the messages.
SETTLE_S = 10.0
_LOOK_AGAIN_S = 0.05
_BATCH = 500
_UNCONFIRMED = ["sending", "unknown"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data is erased; `conversation_ids` are known once the contact itself is gone.

    `people` are the X users that the contact is: its own, and those of the contacts that were merged into it.
    """

    contact_id: str
    merchant_id: str
    people: tuple[Person, ...]
    conversation_ids: tuple[str, ...]

    @classmethod
    def of(cls, erasure: Document) -> Self:
        """Return the subject of an erasure's document."""
        return cls(
            erasure["_id"],
            erasure["merchantId"],
            tuple(
                Person(each["contactId"], each["accountId"], each["forUserId"], each["twitterUserId"])
                for each in erasure["people"]
            ),
            tuple(erasure["conversationIds"]),
        )

    @property
    def under_way(self) -> Document:
        """The condition that a message is still to be sent, or may have been."""
        accounts = sorted({each.account_id for each in self.people})
        return {"accountId": {"$in": accounts}, "pending": True, "contactId": self.contact_ids}

    @property
    def contact_ids(self) -> Document:
        """The condition on an id of the contact: what a merge has not moved yet names the former one."""
        return {"$in": [each.contact_id for each in self.people]}


class ContactErasures:
    """Erases contacts and keeps the proof: what, how much, when, and a keyed hash of the X user id."""

    def __init__(self, database: Database, settings: Settings, *, settle_s: float = SETTLE_S) -> None:
        self._database = database
        self._settle_s = settle_s
        self._people = ErasedPeople(database, settings)

    async def erase(self, merchant_id: str, contact_id: str, user_id: str, clock: Clock) -> bool:
        """Erase a contact, or complete its erasure; answers whether there was one to erase.

        `user_id` is who asks for it.
        """
        if not await self._begin(merchant_id, contact_id, user_id, clock.now()):
            return False
        await self.complete(contact_id, clock)
        return True

    async def unfinished(self) -> list[str]:
        """Return the ids of the contacts, of all merchants, whose erasure has begun and not ended."""
        return [str(erasure["_id"]) async for erasure in self._database["erasures"].find({}, {"_id": 1})]

    async def complete(self, contact_id: str, clock: Clock) -> None:
        """Carry out every step of an erasure that has begun."""
        erasure = await self._database["erasures"].find_one({"_id": contact_id})
        if erasure is None:
            return
        await self._end_sends(Subject.of(erasure))
        await self._remove_contact(Subject.of(erasure), clock.now())
        erasure = await self._database["erasures"].find_one({"_id": contact_id})
        if erasure is None:
            return  # somebody else has completed it
        subject = Subject.of(erasure)
        await self._erase_messages(subject, clock.now())
        for name in BY_CONTACT:
            await self._erase_from(name, subject, clock.now())
        for person in subject.people:
            await self._erase_mentions(subject, person)
            await self._erase_dead_letters(subject, person)
            await self._erase_rows(subject, person)
        await self._erase_answers(subject)
        await self._leave_receipt(contact_id, clock.now())

    async def _begin(self, merchant_id: str, contact_id: str, user_id: str, now: datetime) -> bool:
        erasures, known = self._database["erasures"], {"_id": contact_id, "merchantId": merchant_id}

        async def work(session: Session) -> bool:
            # Written to, so that it is not merged with another one at this moment.
            contact = await self._database["contacts"].find_one_and_update(
                known, {"$set": {"updatedAt": now}}, session=session
            )
            if contact is None:
                return await erasures.count_documents(known, limit=1, session=session) == 1
            people = await people_of(self._database, contact, session)
            begun = {
                "merchantId": merchant_id,
                "accountId": contact["accountId"],
                "people": [_named(each) for each in people],
                "conversationIds": [],
                "counts": {},
                "requestedAt": now,
                "requestedByUserId": user_id,
            }
            await erasures.update_one({"_id": contact_id}, {"$setOnInsert": begun}, upsert=True, session=session)
            return True

        async with session_of(self._database.client) as session:
            return await session.with_transaction(work)

    async def _end_sends(self, subject: Subject) -> None:
        """Withdraw what nobody has begun to send, and wait for the rest to end, for a while."""
        withdrawn = await self._database["messages"].delete_many({**subject.under_way, "status": "queued"})
        await self._count(subject, {"messages": withdrawn.deleted_count})
        unconfirmed = {**subject.under_way, "status": {"$in": _UNCONFIRMED}}
        try:
            async with asyncio.timeout(self._settle_s):
                while await self._database["messages"].count_documents(unconfirmed, limit=1):  # noqa: ASYNC110  # theirs to end
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            log.warning("erasure.send_unsettled", contact_id=subject.contact_id)

    async def _remove_contact(self, subject: Subject, now: datetime) -> None:
        """Remove what waits in the inbox, the conversations and the contact, in one transaction."""

        async def work(session: Session) -> None:
            waiting = sum([await self._take_out_of_inbox(each, session) for each in subject.people])
            of_contact = {"merchantId": subject.merchant_id, "contactId": subject.contact_id}
            found = await self._database["conversations"].find(of_contact, session=session).to_list(None)
            ids = [conversation["_id"] for conversation in found]
            known = {"_id": subject.contact_id, "merchantId": subject.merchant_id}
            contact = await self._database["contacts"].find_one(known, session=session)
            if contact is not None:
                all_ids = [each.contact_id for each in subject.people]
                await contact_goes_in(self._database, session, contact, all_ids, found, now)
            conversations = await self._database["conversations"].delete_many(of_contact, session=session)
            contacts = await self._database["contacts"].delete_one(known, session=session)
            for each in subject.people:
                alias = {"accountId": each.account_id, "twitterUserId": each.twitter_user_id}
                await self._database["contacts"].delete_one(
                    {**alias, "mergedInto": subject.contact_id}, session=session
                )
            counts = {"contacts": contacts.deleted_count, "conversations": conversations.deleted_count}
            await self._database["erasures"].update_one(
                {"_id": subject.contact_id},
                {"$addToSet": {"conversationIds": {"$each": ids}}, "$inc": _paths({**counts, "inbox": waiting})},
                session=session,
            )

        async with session_of(self._database.client) as session:
            await session.with_transaction(work)

    async def _take_out_of_inbox(self, who: Person, session: Session) -> int:
        """Replace documents by new ones without the person's events; returns how many events these were."""
        person = (who.for_user_id, who.twitter_user_id)
        count = 0
        for document in await self._database["inbox"].find(waiting_events(*person), session=session).to_list(None):
            kept = [entry for entry in document["events"] if (entry["forUserId"], entry["participantId"]) != person]
            count += len(document["events"]) - len(kept)
            await self._database["inbox"].delete_one({"_id": document["_id"]}, session=session)
            if kept:
                # Another id, in the same place of the order: whoever holds the former document finds it gone.
                rest = {**document, "_id": f"{document['_id']}-0000", "events": kept}
                await self._database["inbox"].insert_one(rest, session=session)
        return count

    async def _erase_messages(self, subject: Subject, now: datetime) -> None:
        ids = list(subject.conversation_ids)
        for query in (
            {"conversationId": {"$in": ids}, "merchantId": subject.merchant_id},
            # What was queued by a request that had looked the conversation up just before it went.
            subject.under_way,
        ):
            fields = {"accountId": 1, "merchantId": 1, "twitterMessageId": 1, "direction": 1, "at": 1}
            while found := await self._database["messages"].find(query, fields).limit(_BATCH).to_list(None):
                await self._replace_messages(subject, found, now)

    async def _replace_messages(self, subject: Subject, messages: Sequence[Document], now: datetime) -> None:
        marks = [
            {
                "_id": new_id(),
                "merchantId": message["merchantId"],
                "accountId": message["accountId"],
                "twitterMessageId": message["twitterMessageId"],
                "direction": message.get("direction"),
                "source": "erased",
                "status": "erased",
                "at": message["at"],
                "erasedAt": now,
            }
            for message in messages
            if message["twitterMessageId"] is not None and message["at"] > now - REDELIVERY
        ]

        async def work(session: Session) -> None:
            query = {"_id": {"$in": [message["_id"] for message in messages]}}
            remains = Tally()
            async for message in self._database["messages"].find(query, session=session):
                remains.message(message)
            await keep_in(self._database, session, remains, subject.contact_id)
            deleted = await self._database["messages"].delete_many(query, session=session)
            if marks and deleted.deleted_count == len(messages):
                await self._database["messages"].insert_many(marks, session=session)
            await self._count(subject, {"messages": deleted.deleted_count}, session)

        async with session_of(self._database.client) as session:
            await session.with_transaction(work)

    async def _erase_from(self, name: str, subject: Subject, now: datetime) -> None:
        collection = self._database[name]
        query: Document = {"merchantId": subject.merchant_id, "contactId": subject.contact_ids}
        if name == "activities":
            mark: Document = {field: f"${field}" for field in ("_id", "merchantId", "accountId", "at")}
            mark |= {"contactId": None, "kind": "erased", "data": {"$literal": {}}, "erasedAt": now}
            marked = await collection.update_many({**query, "at": {"$gt": now - REDELIVERY}}, [{"$replaceWith": mark}])
            await self._count(subject, {name: marked.modified_count})
        while found := await collection.find(query, {"_id": 1}).limit(_BATCH).to_list(None):
            ids = [document["_id"] for document in found]
            if name == "flowExecutions":
                count = await remove_executions(self._database, ids)
            else:
                count = (await collection.delete_many({"_id": {"$in": ids}})).deleted_count
            await self._count(subject, {name: count})

    async def _erase_mentions(self, subject: Subject, person: Person) -> None:
        """Erase activities that are nobody's contact's and name the person, and the person's id from all others."""
        activities = self._database["activities"]
        of_account: Document = {"merchantId": subject.merchant_id, "accountId": person.account_id}
        names_it: list[Document] = [{f"data.{name}": person.twitter_user_id} for name in PEOPLE_IN_ACTIVITIES]
        raw: Document = {"data.raw": {"$regex": whole_number(person.twitter_user_id)}}
        deleted = await activities.delete_many({**of_account, "contactId": None, "$or": [*names_it, raw]})
        await self._count(subject, {"activities": deleted.deleted_count})
        for condition in names_it:
            await activities.update_many({**of_account, **condition}, {"$unset": dict.fromkeys(condition, "")})

    async def _erase_dead_letters(self, subject: Subject, person: Person) -> None:
        letters = self._database["deadLetters"]
        of_person = {"forUserId": person.for_user_id, "participantId": person.twitter_user_id}
        await letters.update_many(waiting_events(*of_person.values()), {"$pull": {"events": of_person}})
        emptied = await letters.delete_many({"events": {"$size": 0}})
        mentions = re.compile(whole_number(person.twitter_user_id).encode())
        bodies = letters.find({"body": {"$exists": True}}, {"body": 1})
        named = [letter["_id"] async for letter in bodies if mentions.search(letter["body"])]
        deleted = await letters.delete_many({"_id": {"$in": named}})
        await self._count(subject, {"deadLetters": emptied.deleted_count + deleted.deleted_count})

    async def _erase_answers(self, subject: Subject) -> None:
        """Erase stored answers of requests that name the contact or one of its conversations, or were about one."""
        people = [name for each in subject.people for name in (each.contact_id, each.twitter_user_id)]
        names = (*people, *subject.conversation_ids)
        named = re.compile(b"|".join(re.escape(name.encode()) for name in names))
        keys = self._database["idempotencyKeys"]
        answers = keys.find({"merchantId": subject.merchant_id, "status": {"$ne": None}}, {"body": 1, "about": 1})
        ids = [
            answer["_id"]
            async for answer in answers
            if named.search(answer["body"] or b"") or not set(names).isdisjoint(answer.get("about", ()))
        ]
        deleted = await keys.delete_many({"_id": {"$in": ids}})
        await self._count(subject, {"idempotencyKeys": deleted.deleted_count})

    async def _erase_rows(self, subject: Subject, person: Person) -> None:
        """Erase the person from imports that are going on."""
        rows = {"twitterUserId": person.twitter_user_id}
        query = {"merchantId": subject.merchant_id, "accountId": person.account_id, "rows": {"$elemMatch": rows}}
        await self._database["contactImports"].update_many(query, {"$pull": {"rows": rows}})

    async def _leave_receipt(self, contact_id: str, now: datetime) -> None:
        erasure = await self._database["erasures"].find_one({"_id": contact_id})
        if erasure is None:
            return
        own, *merged = [self._people.fingerprint(each.twitter_user_id) for each in Subject.of(erasure).people]
        receipt = {
            "merchantId": erasure["merchantId"],
            "accountId": erasure["accountId"],
            "subject": own,
            "mergedSubjects": merged,
            "counts": erasure["counts"],
            "requestedByUserId": erasure["requestedByUserId"],
            "requestedAt": erasure["requestedAt"],
            "completedAt": now,
        }
        # The first receipt is the one with the counts: whoever began again found nothing left.
        await self._database["erasureReceipts"].update_one({"_id": contact_id}, {"$setOnInsert": receipt}, upsert=True)
        await self._database["erasures"].delete_one({"_id": contact_id})
        log.info("contact.erased", contact_id=contact_id, **erasure["counts"])

    async def _count(self, subject: Subject, counts: Mapping[str, int], session: Session | None = None) -> None:
        if any(counts.values()):
            await self._database["erasures"].update_one(
                {"_id": subject.contact_id}, {"$inc": _paths(counts)}, session=session
            )


async def resume_erasures(erasures: ContactErasures, clock: Clock) -> int:
    """Complete what a process that died has left unfinished; returns how many. Safe beside others that do the same."""
    return await complete_each(await erasures.unfinished(), lambda contact_id: erasures.complete(contact_id, clock))


def _named(person: Person) -> dict[str, str]:
    return {
        "contactId": person.contact_id,
        "accountId": person.account_id,
        "forUserId": person.for_user_id,
        "twitterUserId": person.twitter_user_id,
    }


def _paths(counts: Mapping[str, int]) -> dict[str, int]:
    return {f"counts.{name}": count for name, count in counts.items()}
