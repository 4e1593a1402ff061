"""Merging two contacts on a real server: nothing is lost, nothing counts twice, and being cut off changes neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from config.settings import Settings
from domain.clock import SystemClock
from domain.errors import Conflict, InvalidContent, NotFound
from domain.events import EventKind
from domain.ids import new_id
from storage import contact_merge
from storage.client import Client, Database, Document
from storage.contact_erasure import ContactErasures
from storage.contact_export import holdings_of
from storage.contact_holdings import BY_CONTACT
from storage.contact_merge import ContactMerges, resume_merges
from storage.contacts import Contacts, NewContact
from storage.erased_people import ErasedPeople
from storage.inbox import Inbox
from storage.indexes import ensure_indexes
from storage.ingest import Ingest
from tests.storage.arrivals import START, arrive, check_counters, connect, event, everything, ingest_of, message

CLOCK = SystemClock()
NOW = START + timedelta(days=1)


@pytest.fixture
def merges(database: Database) -> ContactMerges:
    return ContactMerges(database)


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.fixture
async def ingest(client: Client, database: Database) -> Ingest:
    await ensure_indexes(database)
    await connect(database)
    await connect(database, "101")
    return ingest_of(client, database)


async def contact_of(database: Database, user: str, shop: str = "100") -> Document:
    query = {"twitterUserId": user, "accountId": f"account-{shop}", "mergedInto": {"$exists": False}}
    contact = await database["contacts"].find_one(query)
    assert contact is not None
    return contact


async def two(ingest: Ingest, inbox: Inbox, database: Database, **second: Any) -> tuple[str, str]:
    """Let one person write as 200 and as 201; returns the ids of both contacts."""
    batch = [message("first", 0), message("second", 5, **({"user": "201"} | second))]
    await ingest.apply(await arrive(inbox, database, *batch))
    other = await contact_of(database, second.get("user", "201"), second.get("shop", "100"))
    return (await contact_of(database, "200"))["_id"], other["_id"]


async def merge(merges: ContactMerges, kept: str, other: str, merchant: str = "m1") -> Any:
    return await merges.merge(merchant, kept, other, "user", NOW)


async def test_all_that_was_held_of_both_is_held_of_the_one_that_is_kept(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    await ingest.apply(await arrive(inbox, database, event(EventKind.FOLLOW, user="201")))
    common = {"merchantId": "m1", "accountId": "account-100", "contactId": other, "status": "sent"}
    for name in BY_CONTACT:
        await database[name].insert_one({**common, "_id": new_id(), "at": START})
    before = {name: await database[name].count_documents({"contactId": other}) for name in BY_CONTACT}
    assert all(before.values())
    contact = await merge(merges, kept, other)
    assert (contact["messagesReceived"], contact["conversationCount"]) == (2, 2)
    assert contact["merged"] == [{"contactId": other, "accountId": "account-100", "twitterUserId": "201"}]
    assert contact["username"] == "user200"
    for name in ("conversations", "messages", *BY_CONTACT):
        assert await database[name].count_documents({"contactId": other}) == 0, name
    for name, count in before.items():
        assert await database[name].count_documents({"contactId": kept}) == count, name
    assert await everything(database, "contactMerges") == []
    assert await Contacts(database).get("m1", other) is None
    held = await holdings_of(database, "m1", kept)
    assert held is not None
    assert [each["content"] for each in _list(held["messages"])] == ["first", "second"]


def _list(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


async def test_of_two_open_conversations_one_stays_and_takes_the_wait_of_the_other(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    await merge(merges, kept, other)
    (staying,) = await everything(database, "conversations", status="open")
    (closed,) = await everything(database, "conversations", status="closed")
    assert (closed["closeReason"], closed["closedAt"], closed["twitterUserId"]) == ("merged", NOW, "201")
    assert (closed["unreadCount"], closed["waitingSince"]) == (0, None)
    assert (staying["unreadCount"], staying["waitingSince"]) == (2, START)
    # Who wrote last gets the answer.
    assert staying["twitterUserId"] == "201"
    assert staying["lastInboundAt"] == staying["lastMessageAt"] == START + timedelta(minutes=5)
    await check_counters_of_people(database)


async def check_counters_of_people(database: Database) -> None:
    aliases = await everything(database, "contacts", mergedInto={"$exists": True})
    await database["contacts"].delete_many({"mergedInto": {"$exists": True}})
    await check_counters(database)
    if aliases:
        await database["contacts"].insert_many(aliases)


async def test_a_conversation_stays_open_where_the_kept_contact_has_none(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database, user="200", shop="101")
    await merge(merges, kept, other)
    assert await database["conversations"].count_documents({"contactId": kept, "status": "open"}) == 2


@pytest.mark.parametrize("second", [{"user": "201"}, {"user": "200", "shop": "101"}])
async def test_what_the_other_x_user_does_afterwards_arrives_at_the_kept_contact(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database, second: dict[str, str]
) -> None:
    kept, other = await two(ingest, inbox, database, **second)
    await merge(merges, kept, other)
    batch = [message("from the first", 10), message("from the second", 11, **second), event(EventKind.LIKE, **second)]
    batch += [message("by hand", 12, outbound=True, **second)]
    await ingest.apply(await arrive(inbox, database, *batch))
    contact = await contact_of(database, "200")
    assert (contact["messagesReceived"], contact["messagesSent"], contact["username"]) == (4, 1, "user200")
    assert await database["contacts"].count_documents({"mergedInto": {"$exists": False}}) == 1
    assert await database["messages"].distinct("contactId") == [kept]
    assert await database["activities"].distinct("contactId") == [kept]
    (told,) = await everything(database, "messages", content="from the second")
    conversation = await database["conversations"].find_one({"_id": told["conversationId"]})
    assert conversation is not None
    assert (conversation["accountId"], conversation["twitterUserId"]) == (told["accountId"], told["twitterUserId"])
    assert told["twitterUserId"] == second["user"]
    # A new dialogue is with the one that writes.
    await database["conversations"].update_many({}, {"$set": {"status": "closed"}})
    await ingest.apply(await arrive(inbox, database, message("native", 20, outbound=True, **second)))
    (opened,) = await everything(database, "conversations", status="open")
    assert (opened["contactId"], opened["twitterUserId"]) == (kept, second["user"])
    await database["conversations"].update_many({}, {"$set": {"status": "closed"}})
    await ingest.apply(await arrive(inbox, database, message("native", 30)))
    (opened,) = await everything(database, "conversations", status="open")
    assert (opened["contactId"], opened["twitterUserId"]) == (kept, "200")
    await check_counters_of_people(database)


async def test_a_contact_that_took_up_others_can_be_taken_up_itself(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    await ingest.apply(await arrive(inbox, database, message("third", user="202")))
    third = (await contact_of(database, "202"))["_id"]
    await merge(merges, other, third)
    contact = await merge(merges, kept, other)
    assert [each["twitterUserId"] for each in contact["merged"]] == ["202", "201"]
    batch = [message("again", 9, user=user) for user in ("200", "201", "202")]
    await ingest.apply(await arrive(inbox, database, *batch))
    assert (await contact_of(database, "200"))["messagesReceived"] == 6
    assert await database["messages"].distinct("contactId") == [kept]
    await check_counters_of_people(database)


async def test_an_echo_of_what_was_under_way_settles_it(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    conversation = await database["conversations"].find_one({"contactId": other})
    assert conversation is not None
    under_way: Document = {"_id": "own", "merchantId": "m1", "accountId": "account-100", "contactId": other}
    under_way |= {"conversationId": conversation["_id"], "twitterUserId": "201", "twitterMessageId": None}
    under_way |= {"direction": "outbound", "content": "ours", "source": "agent", "status": "sending", "pending": True}
    await database["messages"].insert_one(under_way | {"at": START, "createdAt": START})
    await merge(merges, kept, other)
    echo = message("ours", 7, user="201", outbound=True)
    await ingest.apply(await arrive(inbox, database, echo))
    (sent,) = await everything(database, "messages", _id="own")
    assert (sent["status"], sent["contactId"], sent["conversationId"]) == ("sent", kept, conversation["_id"])
    assert (await contact_of(database, "200"))["messagesSent"] == 1
    await check_counters_of_people(database)


async def test_what_arrives_during_a_merge_counts_once_for_the_kept_contact(
    merges: ContactMerges, ingest: Ingest, client: Client, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    second = ingest_of(client, database, "second")

    async def pour(writer: Ingest, user: str) -> None:
        for number in range(12):
            events = [message(f"{user} {number}", 10 + number, user=user), event(EventKind.LIKE, user=user)]
            await inbox.add(events, START)
            waiting = await everything(database, "inbox", **{"events.participantId": user})
            await writer.apply(waiting)

    async def join() -> None:
        await asyncio.sleep(0)
        await merge(merges, kept, other)

    await asyncio.gather(pour(ingest, "200"), pour(second, "201"), join())
    assert (await contact_of(database, "200"))["messagesReceived"] == 26
    for name in ("messages", "activities", "conversations"):
        assert await database[name].distinct("contactId") == [kept], name
    assert await database["contacts"].count_documents({}) == 2
    await check_counters_of_people(database)


async def test_two_that_merge_into_each_other_at_once_are_one_in_the_end(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    both = (merge(merges, kept, other), merge(merges, other, kept))
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(each, InvalidContent | NotFound | Conflict) for each in results) == 1
    assert await database["contacts"].count_documents({"merchantId": "m1"}) == 1
    assert len(await database["messages"].distinct("contactId")) == 1


class KilledError(Exception):
    """The process is gone."""


def dying(work: Callable[..., Any], after: int) -> Callable[..., Any]:
    calls = 0

    async def move(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KilledError
        await work(*arguments)

    return move


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_merge_that_was_cut_off_is_completed_at_the_next_start(
    merges: ContactMerges,
    ingest: Ingest,
    inbox: Inbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    monkeypatch.setattr(contact_merge, "_BATCH", 2)
    kept, other = await two(ingest, inbox, database)
    more = [message(f"more {number}", number, user="201") for number in range(5)]
    more += [event(EventKind.LIKE, user="201") for _ in range(3)]
    await ingest.apply(await arrive(inbox, database, *more))
    with monkeypatch.context() as patched:
        patched.setattr(merges, "_move", dying(merges._move, after))
        with pytest.raises(KilledError):
            await merge(merges, kept, other)
    held = await holdings_of(database, "m1", kept)
    assert held is not None
    assert (len(_list(held["messages"])), len(_list(held["activities"]))) == (7, 3)
    with pytest.raises(Conflict):
        await merge(merges, kept, await a_third(database))
    assert await resume_merges(merges) == 1
    assert await resume_merges(merges) == 0
    for name in ("messages", "activities"):
        assert await database[name].distinct("contactId") == [kept]


async def a_third(database: Database) -> str:
    new = NewContact(new_id(), "account-100", "299", "api")
    return (await Contacts(database).add("m1", new, NOW))["_id"]


async def test_asking_again_answers_the_same(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    first = await merge(merges, kept, other)
    assert await merge(merges, kept, other) == first


async def test_an_erasure_erases_all_that_a_contact_was(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database, settings: Settings
) -> None:
    kept, other = await two(ingest, inbox, database, user="98765432101234", shop="101")
    await merge(merges, kept, other)
    late: Document = {"_id": "late", "merchantId": "m1", "accountId": "account-101", "contactId": other}
    await database["activities"].insert_one({**late, "at": START, "data": {"authorId": "98765432101234"}})
    await arrive(inbox, database, message("waits", user="98765432101234", shop="101"))
    erasures = ContactErasures(database, settings, settle_s=0.05)
    assert await erasures.erase("m1", kept, "user", CLOCK)
    for name in ("contacts", "conversations", "activities", "inbox"):
        assert await everything(database, name) == [], name
    assert await database["messages"].count_documents({"content": {"$exists": True}}) == 0
    (receipt,) = await everything(database, "erasureReceipts")
    people = ErasedPeople(database, settings)
    assert receipt["subject"] == people.fingerprint("200")
    assert receipt["mergedSubjects"] == [people.fingerprint("98765432101234")]
    assert receipt["counts"]["inbox"] == 1


async def test_an_echo_to_somebody_whom_an_erased_contact_had_taken_up_does_not_bring_them_back(
    merges: ContactMerges, client: Client, ingest: Ingest, inbox: Inbox, database: Database, settings: Settings
) -> None:
    kept, other = await two(ingest, inbox, database, user="98765432101234", shop="101")
    await merge(merges, kept, other)
    assert await ContactErasures(database, settings, settle_s=0.05).erase("m1", kept, "user", CLOCK)
    knowing = ingest_of(client, database, erased=ErasedPeople(database, settings))
    echoes = [
        message(user=user, shop=shop, outbound=True) for user, shop in (("200", "100"), ("98765432101234", "101"))
    ]
    await knowing.apply(await arrive(inbox, database, *echoes))
    assert await everything(database, "contacts") == []
    assert await database["messages"].count_documents({"content": {"$exists": True}}) == 0


async def test_a_contact_that_is_being_erased_is_not_merged(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    await database["erasures"].insert_one({"_id": other})
    for pair in ((kept, other), (other, kept)):
        with pytest.raises(Conflict):
            await merge(merges, *pair)
    assert await database["contacts"].count_documents({"merchantId": "m1"}) == 2


async def test_an_erasure_and_a_merge_at_once_leave_a_whole_contact_or_none(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database, settings: Settings
) -> None:
    kept, other = await two(ingest, inbox, database)
    erasures = ContactErasures(database, settings, settle_s=0.05)
    erased, merged = await asyncio.gather(
        erasures.erase("m1", other, "user", CLOCK), merge(merges, kept, other), return_exceptions=True
    )
    texts = {each["content"] for each in await everything(database, "messages", content={"$exists": True})}
    if erased is True:
        assert isinstance(merged, Conflict | InvalidContent)
        assert texts == {"first"}
    else:
        assert (erased, texts) == (False, {"first", "second"})


async def test_only_contacts_of_the_merchant_are_merged(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    before = await everything(database, "contacts")
    with pytest.raises(NotFound):
        await merge(merges, new_id(), other)
    for wrong in (new_id(), kept):
        with pytest.raises(InvalidContent):
            await merge(merges, kept, wrong)
    with pytest.raises(NotFound):
        await merge(merges, kept, other, "m2")
    await database["contacts"].update_one({"_id": other}, {"$set": {"merchantId": "m2"}})
    with pytest.raises(InvalidContent):
        await merge(merges, kept, other)
    await database["contacts"].update_one({"_id": other}, {"$set": {"merchantId": "m1"}})
    assert await everything(database, "contacts") == before
    assert await everything(database, "contactMerges") == []


async def test_too_much_for_one_contact_changes_nothing(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    for contact_id, letter in ((kept, "a"), (other, "b")):
        tags = [f"{letter}{number}" for number in range(60)]
        await database["contacts"].update_one({"_id": contact_id}, {"$set": {"tags": tags}})
    before = await everything(database, "contacts")
    with pytest.raises(InvalidContent) as caught:
        await merge(merges, kept, other)
    assert caught.value.problems[0].field == "tags"
    assert await everything(database, "contacts") == before


async def test_a_place_in_a_run_that_nothing_was_written_for_is_not_moved(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    for status in ("pending", "queued", "sent"):
        place = {"_id": f"{status}|{other}", "merchantId": "m1", "contactId": other, "status": status}
        await database["campaignRecipients"].insert_one(place)
    await merge(merges, kept, other)
    places = {each["status"]: each["contactId"] for each in await everything(database, "campaignRecipients")}
    assert places == {"pending": other, "queued": kept, "sent": kept}
    held = await holdings_of(database, "m1", kept)
    assert held is not None
    assert len(_list(held["campaignRecipients"])) == 3


async def test_an_account_knows_the_kept_contact_by_both_x_ids(
    merges: ContactMerges, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    kept, other = await two(ingest, inbox, database)
    await merge(merges, kept, other)
    contacts = Contacts(database)
    assert await contacts.by_twitter_user("m1", "account-100", "200") == kept
    assert await contacts.by_twitter_user("m1", "account-100", "201") == kept
    assert await contacts.by_twitter_user("m2", "account-100", "201") is None
    with pytest.raises(Conflict):
        await contacts.add("m1", NewContact(new_id(), "account-100", "201", "api"), NOW)
