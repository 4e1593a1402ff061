"""Erasing a contact on a real server: nothing is left, nothing comes back, and being cut off changes neither."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bson import encode

from config.settings import Settings
from domain.clock import SystemClock
from domain.events import EventKind, Profile, XEvent
from storage.client import Client, Database, Document
from storage.contact_erasure import ContactErasures, resume_erasures
from storage.encryption import KeyRing
from storage.erased_people import ErasedPeople
from storage.idempotency import IdempotencyKeys
from storage.inbox import Inbox
from storage.ingest import Ingest, Superseded
from tests.storage.arrivals import (
    START,
    Clock,
    arrive,
    connect,
    event,
    everything,
    ingest_of,
    message,
    messages_counted,
)

PERSON = "98765432101234"
SECRETS = (PERSON, "planted_username", "Planted Name", "planted text", "planted note")
CLOCK = SystemClock()


@pytest.fixture
def erasures(database: Database, settings: Settings) -> ContactErasures:
    return ContactErasures(database, settings, settle_s=0.05)


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.fixture
async def ingest(client: Client, database: Database, settings: Settings) -> Ingest:
    await connect(database)
    return ingest_of(client, database, erased=ErasedPeople(database, settings))


def planted(number: int = 0, **changes: Any) -> XEvent:
    """Return a message of the person that is erased, of this very moment."""
    profile: Profile = {"username": "planted_username", "displayName": "Planted Name"}
    return replace(message(f"planted text {number}", user=PERSON, **changes), profile=profile, at=CLOCK.now())


async def contact_id_of(database: Database, user: str = PERSON) -> str:
    contact = await database["contacts"].find_one({"twitterUserId": user})
    assert contact is not None
    return str(contact["_id"])


async def places_of_secrets(database: Database) -> set[str]:
    """Return the collections that hold any planted string, in any field of any document."""
    found = set()
    for name in await database.list_collection_names():
        async for document in database[name].find():
            if any(secret.encode() in encode(document) for secret in SECRETS):
                found.add(name)
    return found


async def full_house(ingest: Ingest, inbox: Inbox, database: Database) -> str:
    """Put things about the person into every collection that may hold some; returns the contact's id."""
    follow = replace(event(EventKind.FOLLOW, user=PERSON), at=CLOCK.now())
    batch = [planted(1), planted(2, outbound=True), follow, message("kept", user="200")]
    await ingest.apply(await arrive(inbox, database, *batch))
    contact_id = await contact_id_of(database)
    conversation = await database["conversations"].find_one({"contactId": contact_id})
    assert conversation is not None
    common = {"merchantId": "m1", "accountId": "account-100", "contactId": contact_id}
    await database["conversations"].update_one({"_id": conversation["_id"]}, {"$set": {"status": "closed"}})
    await ingest.apply(await arrive(inbox, database, planted(3)))
    await database["messages"].insert_many(
        [
            {**common, "_id": state, "conversationId": conversation["_id"], "twitterUserId": PERSON, "pending": True}
            | {"content": "planted text", "status": state, "twitterMessageId": None, "at": START, "createdAt": START}
            for state in ("queued", "sending", "unknown")
        ]
    )
    await database["contacts"].update_one({"_id": contact_id}, {"$set": {"attributes": {"notes": "planted note"}}})
    await database["campaignRecipients"].insert_one({**common, "_id": "r1", "text": "planted text"})
    execution = {"flowId": "f1", "status": "running", "startedAt": START, "completedAt": None}
    kept = {"_id": "e1", "variables": {"name": "Planted Name"}}
    await database["flowExecutions"].insert_one({**common, **execution, **kept})
    await database["activities"].insert_many(
        [
            {
                **common,
                "contactId": None,
                "_id": "a1",
                "at": START,
                "data": {"raw": f'{{"id":{PERSON},"planted text"}}'},
            },
            {**common, "contactId": None, "_id": "a2", "at": START, "data": {"inReplyToUserId": PERSON}},
            {
                **common,
                "contactId": "other",
                "_id": "a3",
                "at": START,
                "data": {"inReplyToUserId": PERSON, "text": "k"},
            },
        ]
    )
    letter = {"forUserId": "100", "participantId": PERSON, "data": {"text": "planted text"}}
    kept = {"forUserId": "100", "participantId": "200", "data": {"text": "kept"}}
    await database["deadLetters"].insert_many(
        [
            {"_id": "l1", "events": [letter], "at": CLOCK.now()},
            {"_id": "l2", "events": [letter, kept], "at": CLOCK.now()},
            {"_id": "l3", "body": f'{{"planted text": {PERSON}}}'.encode(), "at": CLOCK.now()},
            {"_id": "l4", "body": f'{{"longer": {PERSON}5}}'.encode(), "at": CLOCK.now()},
        ]
    )
    keys = IdempotencyKeys(database, KeyRing(bytes(32)))
    for key, body in (
        ("one", f'{{"data":{{"conversationId":"{conversation["_id"]}","content":"planted text"}}}}'),
        ("two", f'{{"data":{{"id":"{contact_id}","displayName":"Planted Name"}}}}'),
        ("three", '{"data":{"id":"another"}}'),
    ):
        await keys.reserve("m1", key, "hash", "id", CLOCK.now())
        await keys.keep("m1", key, 200, body.encode())
    await arrive(inbox, database, planted(4), message("kept in the inbox", user="200"), planted(5))
    return contact_id


async def test_no_collection_holds_anything_of_an_erased_contact(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    planted_in = await places_of_secrets(database)
    assert planted_in >= {"contacts", "conversations", "messages", "activities", "inbox", "deadLetters"}
    assert planted_in >= {"idempotencyKeys", "campaignRecipients", "flowExecutions"}
    assert await erasures.erase("m1", contact_id, "user", CLOCK)
    assert await places_of_secrets(database) in ({"deadLetters"}, set())
    assert {letter["_id"] for letter in await everything(database, "deadLetters")} == {"l2", "l4"}
    await database["deadLetters"].delete_one({"_id": "l4"})  # a longer number, somebody else's
    assert await places_of_secrets(database) == set()
    assert await everything(database, "erasures") == []
    assert not await erasures.erase("m1", contact_id, "user", CLOCK)


async def test_what_others_have_is_left(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    before = await messages_counted(database)
    await erasures.erase("m1", contact_id, "user", CLOCK)
    (contact,) = await everything(database, "contacts")
    (conversation,) = await everything(database, "conversations")
    (kept,) = await everything(database, "messages", content={"$exists": True})
    assert contact["twitterUserId"] == conversation["twitterUserId"] == "200"
    assert kept["content"] == "kept"
    (waiting,) = await everything(database, "inbox")
    assert [entry["data"]["text"] for entry in waiting["events"]] == ["kept in the inbox"]
    assert await database["activities"].find_one({"_id": "a3"}, {"data": 1}) == {"_id": "a3", "data": {"text": "k"}}
    assert await database["idempotencyKeys"].count_documents({}) == 1
    assert await messages_counted(database) == before
    await ingest.apply(await everything(database, "inbox"))
    assert await database["messages"].count_documents({"content": "kept in the inbox"}) == 1


async def test_the_receipt_proves_what_was_erased_without_saying_whose_it_was(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database, settings: Settings
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    await erasures.erase("m1", contact_id, "the-user", CLOCK)
    (receipt,) = await everything(database, "erasureReceipts")
    assert receipt["counts"] == {
        "contacts": 1,
        "conversations": 2,
        "messages": 6,
        "activities": 3,
        "inbox": 2,
        "campaignRecipients": 1,
        "flowExecutions": 1,
        "deadLetters": 2,
        "idempotencyKeys": 2,
    }
    assert (receipt["_id"], receipt["merchantId"], receipt["requestedByUserId"]) == (contact_id, "m1", "the-user")
    assert receipt["requestedAt"] <= receipt["completedAt"]
    people = ErasedPeople(database, settings)
    assert receipt["subject"] == people.fingerprint(PERSON)
    assert receipt["subject"] != people.fingerprint(PERSON + "0")


async def test_another_merchant_can_not_erase_it(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    assert not await erasures.erase("m2", contact_id, "user", CLOCK)
    assert await everything(database, "erasures") == []
    assert await contact_id_of(database) == contact_id


STEPS = (
    "_end_sends",
    "_take_out_of_inbox",
    "_remove_contact",
    "_erase_messages",
    "_erase_from",
    "_erase_mentions",
    "_erase_dead_letters",
    "_erase_answers",
    "_leave_receipt",
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_an_erasure_that_was_cut_off_is_completed_at_the_next_start(
    erasures: ContactErasures,
    ingest: Ingest,
    inbox: Inbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    when: str,
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    with monkeypatch.context() as patched:
        patched.setattr(erasures, step, _dying(getattr(erasures, step), when))
        with pytest.raises(KilledError):
            await erasures.erase("m1", contact_id, "user", CLOCK)
    await database["deadLetters"].delete_one({"_id": "l4"})
    assert await resume_erasures(erasures, CLOCK) == (0 if (step, when) == ("_leave_receipt", "after") else 1)
    assert await places_of_secrets(database) == set()
    (receipt,) = await everything(database, "erasureReceipts")
    assert receipt["counts"]["contacts"] == 1
    assert receipt["counts"]["messages"] == 6


class KilledError(Exception):
    """The process is gone."""


def _dying(work: Callable[..., Any], when: str) -> Callable[..., Any]:
    async def dying(*arguments: Any) -> None:
        if when == "after":
            await work(*arguments)
        raise KilledError

    return dying


async def test_asking_again_completes_an_erasure_that_was_cut_off(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    with monkeypatch.context() as patched:
        patched.setattr(erasures, "_erase_messages", _dying(erasures._erase_messages, "before"))
        with pytest.raises(KilledError):
            await erasures.erase("m1", contact_id, "user", CLOCK)
    assert not await erasures.erase("m2", contact_id, "user", CLOCK)
    assert await erasures.erase("m1", contact_id, "user", CLOCK)
    assert not await erasures.erase("m1", contact_id, "user", CLOCK)


async def test_a_host_that_holds_a_copy_of_waiting_events_does_not_bring_the_contact_back(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, planted(1)))
    copy = await arrive(inbox, database, planted(2), message("kept", user="200"))
    await erasures.erase("m1", await contact_id_of(database), "user", CLOCK)
    with pytest.raises(Superseded):
        await ingest.apply([document for document in copy if "planted" in str(document)])
    await ingest.apply(await everything(database, "inbox"))
    assert await database["contacts"].distinct("twitterUserId") == ["200"]
    assert await places_of_secrets(database) == set()


async def test_an_event_that_x_delivers_again_does_not_bring_the_contact_back(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    follow = replace(event(EventKind.FOLLOW, user=PERSON), at=CLOCK.now())
    batch = (planted(1), planted(2, outbound=True), follow)
    await ingest.apply(await arrive(inbox, database, *batch))
    await erasures.erase("m1", await contact_id_of(database), "user", CLOCK)
    result = await ingest.apply(await arrive(inbox, database, *batch))
    assert result.duplicates == 3
    assert await places_of_secrets(database) == set()


async def test_what_the_person_writes_afterwards_is_a_new_contact(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, planted(1)))
    contact_id = await contact_id_of(database)
    await erasures.erase("m1", contact_id, "user", CLOCK)
    await ingest.apply(await arrive(inbox, database, planted(2)))
    assert await contact_id_of(database) != contact_id
    (stored,) = await everything(database, "messages", content={"$exists": True})
    assert stored["content"] == "planted text 2"


async def test_old_messages_leave_nothing_behind(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, message("long ago", minutes=-60 * 24 * 30, user=PERSON)))
    await erasures.erase("m1", await contact_id_of(database), "user", Clock())
    assert await everything(database, "messages") == []


async def test_a_send_that_is_under_way_ends_first_so_that_its_echo_is_known(
    ingest: Ingest, inbox: Inbox, database: Database, settings: Settings
) -> None:
    await ingest.apply(await arrive(inbox, database, planted(1)))
    contact_id = await contact_id_of(database)
    conversation = await database["conversations"].find_one({"contactId": contact_id})
    assert conversation is not None
    under_way: Document = {"_id": "own", "merchantId": "m1", "accountId": "account-100", "contactId": contact_id}
    under_way |= {"conversationId": conversation["_id"], "twitterMessageId": None, "content": "planted text 9"}
    under_way |= {"status": "sending", "source": "agent", "pending": True, "at": CLOCK.now(), "createdAt": CLOCK.now()}
    await database["messages"].insert_one(under_way)
    erasing = asyncio.create_task(ContactErasures(database, settings).erase("m1", contact_id, "user", CLOCK))
    while not await database["erasures"].count_documents({}):
        await asyncio.sleep(0.01)
    assert await database["contacts"].count_documents({"_id": contact_id}) == 1
    sent = {"$set": {"status": "sent", "twitterMessageId": "777", "pending": False}}
    await database["messages"].update_one({"_id": "own"}, sent)
    assert await erasing
    result = await ingest.apply(await arrive(inbox, database, planted(9, outbound=True, x_id="777")))
    assert result.duplicates == 1
    assert await places_of_secrets(database) == set()


async def test_an_echo_of_a_send_that_was_erased_in_doubt_does_not_bring_the_contact_back(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, planted(1)))
    await erasures.erase("m1", await contact_id_of(database), "user", CLOCK)
    await ingest.apply(await arrive(inbox, database, planted(2, outbound=True), message("kept", user="200")))
    assert await places_of_secrets(database) == set()
    assert await database["contacts"].distinct("twitterUserId") == ["200"]
    assert await inbox.pending() == 0


async def test_an_echo_that_comes_while_the_contact_is_being_erased_does_not_bring_it_back(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    people = [{"contactId": "c", "accountId": "account-100", "forUserId": "100", "twitterUserId": PERSON}]
    await database["erasures"].insert_one({"_id": "c", "merchantId": "m1", "people": people})
    await ingest.apply(await arrive(inbox, database, replace(planted(1, outbound=True), at=START)))
    assert await everything(database, "contacts") == []
    assert await everything(database, "messages") == []


@pytest.mark.parametrize("whose", ["another person", "another account", "later"])
async def test_an_echo_that_has_nothing_to_do_with_the_erasure_is_taken(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database, whose: str
) -> None:
    await connect(database, "101")
    await ingest.apply(await arrive(inbox, database, planted(1)))
    await erasures.erase("m1", await contact_id_of(database), "user", CLOCK)
    echo = {
        "another person": message("hi", user="201", outbound=True),
        "another account": planted(2, outbound=True, shop="101"),
        "later": replace(planted(2, outbound=True), at=CLOCK.now() + timedelta(minutes=2)),
    }[whose]
    await ingest.apply(await arrive(inbox, database, echo))
    (stored,) = await everything(database, "messages", source="native")
    assert stored["twitterMessageId"] == echo.data["twitterMessageId"]
    assert await database["contacts"].count_documents({"_id": stored["contactId"]}) == 1


async def test_several_erasures_of_one_contact_at_once_erase_it_once(
    ingest: Ingest, inbox: Inbox, database: Database, settings: Settings
) -> None:
    contact_id = await full_house(ingest, inbox, database)
    await database["deadLetters"].delete_one({"_id": "l4"})
    both = [ContactErasures(database, settings, settle_s=0.05) for _ in range(3)]
    await asyncio.gather(*(each.erase("m1", contact_id, "user", CLOCK) for each in both))
    assert await places_of_secrets(database) == set()
    assert await everything(database, "erasures") == []
    (receipt,) = await everything(database, "erasureReceipts")
    assert receipt["counts"]["contacts"] == 1


async def test_what_arrives_while_a_contact_is_erased_is_whole_or_gone(
    erasures: ContactErasures, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, planted(0)))
    contact_id = await contact_id_of(database)
    done = asyncio.Event()

    async def keep_arriving() -> None:
        number = 0
        while not done.is_set():
            number += 1
            await inbox.add([planted(number), event(EventKind.LIKE, user=PERSON), message(user="200")], CLOCK.now())

    async def keep_ingesting() -> None:
        while not done.is_set() or await inbox.pending():
            if documents := await inbox.read(range(8), 0, 5):
                with contextlib.suppress(Superseded):
                    await ingest.apply(documents)

    async def erase() -> None:
        await erasures.erase("m1", contact_id, "user", CLOCK)
        done.set()

    async with asyncio.timeout(60):
        await asyncio.gather(keep_arriving(), keep_ingesting(), erase())
    contacts = {contact["_id"] for contact in await everything(database, "contacts")}
    conversations = {conversation["_id"] for conversation in await everything(database, "conversations")}
    assert contact_id not in contacts
    for stored in await everything(database, "messages", content={"$exists": True}):
        assert stored["contactId"] in contacts
        assert stored["conversationId"] in conversations
    for conversation in await everything(database, "conversations"):
        assert conversation["contactId"] in contacts
        mine = await database["messages"].count_documents({"conversationId": conversation["_id"]})
        assert conversation["messageCount"] == mine
