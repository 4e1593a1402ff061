"""Batches from the inbox to documents on a real server, with its failures ordered where they hurt most."""

from __future__ import annotations

import asyncio
import contextlib
import random
from itertools import pairwise
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from domain.events import EventKind, XEvent
from storage.client import Client, Database, Document
from storage.inbox import Inbox
from storage.ingest import Ingest, Superseded
from tests.actors.desk import failing
from tests.storage.arrivals import arrive, check_counters, connect, event, everything, ingest_of, message


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.fixture
async def ingest(client: Client, database: Database) -> Ingest:
    await connect(database)
    return ingest_of(client, database)


async def outstanding(database: Database, text: str, **changes: Any) -> Document:
    """Store a send of ours to customer 200, in the open conversation unless told otherwise."""
    contact = await database["contacts"].find_one({"twitterUserId": "200"})
    assert contact is not None
    conversation = await database["conversations"].find_one({"contactId": contact["_id"], "status": "open"})
    assert conversation is not None
    number = await database["messages"].count_documents({})
    document = {
        "_id": f"own-{number}",
        "merchantId": "m1",
        "accountId": "account-100",
        "contactId": contact["_id"],
        "conversationId": conversation["_id"],
        "twitterUserId": "200",
        "twitterMessageId": None,
        "direction": "outbound",
        "source": "agent",
        "content": text,
        "status": "sending",
        "pending": True,
        "createdAt": conversation["startedAt"],
        "at": conversation["startedAt"],
    } | changes
    await database["messages"].insert_one(document)
    return document


async def test_a_batch_becomes_documents_and_leaves_the_inbox(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    events = [message(user=str(200 + n % 5)) for n in range(20)] + [event(EventKind.FOLLOW), event(EventKind.TYPING)]
    ingested = await ingest.apply(await arrive(inbox, database, *events))
    assert (ingested.events, ingested.messages, ingested.duplicates, ingested.unrouted) == (22, 20, 0, 0)
    assert await inbox.pending() == 0
    assert len(await everything(database, "contacts")) == 5
    assert len(await everything(database, "conversations")) == 5
    assert len(await everything(database, "activities")) == 1
    await check_counters(database)


async def test_duplicates_within_a_batch_and_across_batches_have_no_effect(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    first, second, follow = message(), message(), event(EventKind.FOLLOW)
    await ingest.apply(await arrive(inbox, database, first, first, follow, follow))
    await inbox.add([first, second], first.at)
    ingested = await ingest.apply(await arrive(inbox, database, second, follow))
    assert (ingested.messages, ingested.duplicates) == (1, 3)
    assert len(await everything(database, "messages")) == 2
    assert len(await everything(database, "activities")) == 1
    assert await inbox.pending() == 0
    await check_counters(database)


async def test_two_that_take_the_same_batch_have_one_effect(
    ingest: Ingest, client: Client, inbox: Inbox, database: Database
) -> None:
    rival = ingest_of(client, database, "rival")
    for _ in range(5):
        documents = await arrive(inbox, database, *(message(user=str(200 + n % 3)) for n in range(10)))
        outcomes = await asyncio.gather(ingest.apply(documents), rival.apply(documents), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Ingested", "Superseded"]
    assert len(await everything(database, "messages")) == 50
    assert await inbox.pending() == 0
    await check_counters(database)


async def test_a_batch_of_which_part_is_gone_changes_nothing(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    await inbox.add([message(user="200")], message().at)
    documents = await arrive(inbox, database, message(user="200"))
    await ingest.apply(documents[:1])
    with pytest.raises(Superseded):
        await ingest.apply(documents)
    assert len(await everything(database, "messages")) == 1
    assert await inbox.pending() == 1


async def test_events_of_an_unknown_account_become_dead_letters(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    stranger = message(shop="999")
    ingested = await ingest.apply(await arrive(inbox, database, stranger, message()))
    assert (ingested.unrouted, ingested.messages) == (1, 1)
    (letter,) = await everything(database, "deadLetters")
    assert (letter["_id"], letter["reason"]) == (stranger.key, "unknown_account")
    await ingest.apply(await arrive(inbox, database, stranger))
    assert len(await everything(database, "deadLetters")) == 1
    assert await inbox.pending() == 0


async def test_taking_access_back_puts_the_account_into_error_once(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    revoke = event(EventKind.REVOKE, user="")
    ingested = await ingest.apply(await arrive(inbox, database, revoke))
    assert ingested.touched_accounts == {"account-100"}
    (account,) = await everything(database, "accounts")
    assert (account["status"], account["statusReason"]) == ("error", "revoked")
    await database["accounts"].update_one({}, {"$set": {"status": "active", "statusReason": None}})
    await ingest.apply(await arrive(inbox, database, revoke))
    assert (await everything(database, "accounts"))[0]["status"] == "active"


async def test_an_echo_settles_a_send_and_counts_it_in_its_place(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, message(minutes=0)))
    own = await outstanding(database, "Answer")
    echo = message("Answer", 2, outbound=True)
    ingested = await ingest.apply(await arrive(inbox, database, message(minutes=1), echo, message(minutes=3)))
    assert ingested.settled == ((own["_id"], echo.data["twitterMessageId"]),)
    assert ingested.touched_accounts == {"account-100"}
    stored = await database["messages"].find_one({"_id": own["_id"]})
    assert stored is not None
    assert (stored["status"], stored["settledBy"], stored["at"]) == ("sent", "echo", echo.at)
    assert "pending" not in stored
    (contact,) = await everything(database, "contacts")
    assert (contact["responseSeconds"], contact["responseCount"]) == (120, 1)
    (conversation,) = await everything(database, "conversations")
    # The question after the answer is the one that waits.
    assert conversation["waitingSince"] == message(minutes=3).at
    await check_counters(database)


async def test_an_echo_into_a_closed_conversation_is_counted_there(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, message()))
    await outstanding(database, "Answer", status="unknown")
    await database["conversations"].update_one({}, {"$set": {"status": "closed"}})
    await ingest.apply(await arrive(inbox, database, message("Answer", 2, outbound=True), message(minutes=3)))
    closed, opened = sorted(await everything(database, "conversations"), key=lambda c: c["status"])
    assert (closed["messageCount"], opened["messageCount"]) == (2, 1)
    await check_counters(database)


async def test_an_echo_of_a_send_that_was_confirmed_already_is_a_duplicate(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, message()))
    echo = message("Answer", outbound=True)
    own = await outstanding(database, "Answer", status="sent", twitterMessageId=echo.data["twitterMessageId"])
    ingested = await ingest.apply(await arrive(inbox, database, echo))
    assert (ingested.duplicates, ingested.settled) == (1, ())
    assert await database["messages"].count_documents({"direction": "outbound"}) == 1
    assert own["status"] == "sent"


def one_by_one_and_in_batches(seed: int) -> tuple[list[XEvent], list[int]]:
    draw = random.Random(seed)
    events = []
    for number in range(30):
        user, minutes = str(200 + draw.randrange(3)), draw.randrange(60)
        kind = draw.randrange(5)
        if kind == 0:
            events.append(event(draw.choice([EventKind.FOLLOW, EventKind.LIKE, EventKind.READ]), user=user))
        else:
            text = f"text {draw.randrange(4)}"
            events.append(message(text, minutes, user=user, outbound=kind == 1, x_id=f"{seed}{number:03}"))
    return events, sorted(draw.sample(range(1, 30), 4))


@pytest.mark.parametrize("seed", range(1, 5))
async def test_any_split_into_batches_stores_the_same(client: Client, database: Database, seed: int) -> None:
    events, cuts = one_by_one_and_in_batches(seed)
    shown = []
    for bounds in (list(range(31)), [0, *cuts, 30]):
        for name in ("inbox", "accounts", "contacts", "conversations", "messages", "activities", "rollups"):
            await database[name].delete_many({})
        await connect(database)
        ingest, inbox = ingest_of(client, database), Inbox(client, database)
        await ingest.apply(await arrive(inbox, database, message("start", user="200", x_id=f"s{seed}")))
        for number in range(3):
            await outstanding(database, f"text {number}", status="unknown", _id=f"own-{number}")
        for low, high in pairwise(bounds):
            await ingest.apply(await arrive(inbox, database, *events[low:high]))
        await check_counters(database)
        shown.append(await _without_ids(database))
    assert shown[0] == shown[1]


async def _without_ids(database: Database) -> list[list[str]]:
    users = {c["_id"]: c["twitterUserId"] for c in await everything(database, "contacts")}
    users |= {c["_id"]: c["twitterUserId"] for c in await everything(database, "conversations")}
    shown = []
    for name in ("contacts", "conversations", "messages", "activities"):
        documents = []
        for document in await everything(database, name):
            plain = {k: v for k, v in document.items() if k != "_id"}
            plain |= {k: users.get(plain[k]) for k in ("contactId", "conversationId") if k in plain}
            documents.append(repr(sorted(plain.items())))
        shown.append(sorted(documents))
    return shown


UNSURE = {"writeConcernError": {"code": 64, "errmsg": "timed out", "codeName": "WriteConcernFailed"}}
TRANSIENT = {"errorLabels": ["TransientTransactionError"], "errorCode": 251}


@pytest.mark.parametrize(
    ("commands", "failure"),
    [
        (["find"], TRANSIENT),
        (["insert"], TRANSIENT),
        (["update"], TRANSIENT),
        (["delete"], TRANSIENT),
        (["commitTransaction"], TRANSIENT),
        (["commitTransaction"], {"closeConnection": True}),
        (["commitTransaction"], UNSURE),
        (["delete"], {"closeConnection": True}),
    ],
)
async def test_a_database_that_stumbles_has_the_effects_happen_once(
    ingest: Ingest, inbox: Inbox, client: Client, database: Database, commands: list[str], failure: dict[str, Any]
) -> None:
    await ingest.apply(await arrive(inbox, database, message()))
    await outstanding(database, "Answer")
    documents = await arrive(inbox, database, message(), message("Answer", outbound=True), event(EventKind.FOLLOW))
    async with failing(client, commands, {"times": 2}, **failure):
        ingested = await ingest.apply(documents)
    assert (ingested.events, ingested.messages, len(ingested.settled)) == (3, 1, 1)
    assert await inbox.pending() == 0
    assert len(await everything(database, "messages")) == 3
    await check_counters(database)


async def test_a_commit_whose_outcome_stays_unknown_is_found_out_by_the_next_reading(
    ingest: Ingest, inbox: Inbox, client: Client, database: Database
) -> None:
    documents = await arrive(inbox, database, message())
    async with failing(client, ["commitTransaction"], "alwaysOn", **UNSURE):
        with pytest.raises(PyMongoError):
            await ingest.apply(documents)
    with contextlib.suppress(Superseded):
        await ingest.apply(documents)
    async with asyncio.timeout(30):
        while await inbox.pending():
            await asyncio.sleep(0.01)
    assert len(await everything(database, "messages")) == 1
    await check_counters(database)


async def test_a_database_that_refuses_leaves_the_batch_where_it_is(
    ingest: Ingest, inbox: Inbox, client: Client, database: Database
) -> None:
    documents = await arrive(inbox, database, message())
    async with failing(client, ["insert"], {"times": 1}, errorCode=8):
        with pytest.raises(PyMongoError):
            await ingest.apply(documents)
    assert await inbox.pending() == 1
    assert await everything(database, "contacts") == []
    await ingest.apply(documents)
    await check_counters(database)


async def test_a_change_by_a_person_at_the_same_moment_is_kept(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await ingest.apply(await arrive(inbox, database, message()))

    async def tag(number: int) -> None:
        await database["contacts"].update_one({}, {"$addToSet": {"tags": f"tag{number}"}})

    for number in range(10):
        documents = await arrive(inbox, database, message(minutes=number))
        await asyncio.gather(ingest.apply(documents), tag(number), tag(number + 100))
    (contact,) = await everything(database, "contacts")
    assert len(contact["tags"]) == 20
    assert contact["messagesReceived"] == 11
    await check_counters(database)


async def test_a_first_message_at_the_moment_its_contact_is_made_by_hand_joins_it(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    by_hand = {
        "merchantId": "m1",
        "accountId": "account-100",
        "username": "x",
        "displayName": "x",
        "consent": {"state": "none", "at": None, "source": None},
        "conversationCount": 0,
        "messagesSent": 0,
        "messagesReceived": 0,
        "firstInteractionAt": message(minutes=-5).at,
        "lastInteractionAt": message(minutes=-5).at,
    }
    for number in range(300, 308):
        documents = await arrive(inbox, database, message(user=str(number)))
        made = database["contacts"].insert_one({**by_hand, "_id": f"hand-{number}", "twitterUserId": str(number)})
        await asyncio.gather(ingest.apply(documents), made, return_exceptions=True)
        assert await database["contacts"].count_documents({"twitterUserId": str(number)}) == 1
    assert await inbox.pending() == 0
    await check_counters(database)


async def test_an_opt_out_and_its_one_confirmation_are_stored_with_the_message(
    client: Client, database: Database
) -> None:
    account_id = await connect(database)
    ingest, inbox = ingest_of(client, database), Inbox(client, database)
    stop = message("STOP", x_id="77")
    first = await ingest.apply(await arrive(inbox, database, message("hi"), stop))
    assert first.waiting_accounts == {account_id}
    again = await ingest.apply(await arrive(inbox, database, stop))
    assert again.waiting_accounts == frozenset()
    (contact,) = await everything(database, "contacts")
    assert (contact["consent"]["state"], contact["consent"]["source"]) == ("opted_out", "stop_word")
    (confirmation,) = await everything(database, "messages", source="consent")
    assert (confirmation["status"], confirmation["accountId"]) == ("queued", account_id)
    await check_counters(database)


async def test_an_account_that_has_set_words_of_its_own_is_heeded_by_them(client: Client, database: Database) -> None:
    await connect(database)
    settings = {"stopWords": ["basta"], "startWords": ["ancora"], "optOutConfirmation": "Fatto."}
    await database["accounts"].update_one({}, {"$set": settings})
    ingest, inbox = ingest_of(client, database), Inbox(client, database)
    await ingest.apply(await arrive(inbox, database, message("Basta!", user="200"), message("ancora", user="201")))
    states = {c["twitterUserId"]: c["consent"]["state"] for c in await everything(database, "contacts")}
    assert states == {"200": "opted_out", "201": "opted_in"}
    (confirmation,) = await everything(database, "messages", source="consent")
    assert confirmation["content"] == "Fatto."


async def test_a_block_suppresses_and_a_message_lifts_it(client: Client, database: Database) -> None:
    await connect(database)
    ingest, inbox = ingest_of(client, database), Inbox(client, database)
    await ingest.apply(await arrive(inbox, database, event(EventKind.BLOCK)))
    (contact,) = await everything(database, "contacts")
    assert contact["suppression"]["reason"] == "blocked"
    await ingest.apply(await arrive(inbox, database, message("hi", 1)))
    (contact,) = await everything(database, "contacts")
    assert contact["suppression"] is None
