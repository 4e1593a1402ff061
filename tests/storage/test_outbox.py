"""The states of outbound messages and what is counted with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from pymongo.errors import DuplicateKeyError

from domain.message_state import PENDING, TRANSITIONS, Failure, MessageStatus
from storage.client import Client, Database, Document
from storage.inbox import Inbox
from storage.messages import AgentMessage, Messages
from storage.outbox import Outbox
from tests.actors.desk import failing
from tests.storage.arrivals import START, arrive, check_counters, connect, everything, ingest_of, message

LATER = START + timedelta(minutes=5)


class Desk:
    def __init__(self, client: Client, database: Database, conversation: Document) -> None:
        self.client = client
        self.database = database
        self.conversation = conversation
        self.outbox = Outbox(client, database)

    async def queue(self, message_id: str = "m1", content: str = "Answer", **changes: object) -> str:
        names = {"conversation_id": "_id", "contact_id": "contactId", "twitter_user_id": "twitterUserId"}
        fields = {name: self.conversation[key] for name, key in names.items()}
        queued = AgentMessage(
            id=message_id, account_id="account-100", type="text", content=content, user_id="u1", **fields
        )
        await Messages(self.database).queue("m1", queued, START)
        if changes:
            await self.database["messages"].update_one({"_id": message_id}, {"$set": changes})
        return message_id

    async def get(self, message_id: str = "m1") -> Document:
        found = await self.outbox.get(message_id)
        assert found is not None
        return found

    async def status(self, message_id: str = "m1") -> str:
        return str((await self.get(message_id))["status"])


@pytest.fixture
async def desk(client: Client, database: Database) -> Desk:
    await connect(database)
    await ingest_of(client, database).apply(await arrive(Inbox(client, database), database, message()))
    (conversation,) = await everything(database, "conversations")
    return Desk(client, database, conversation)


MOVES: dict[str, tuple[Callable[[Outbox, str], Awaitable[object]], MessageStatus]] = {
    "claim": (lambda outbox, m: outbox.claim(m, 3, LATER), MessageStatus.SENDING),
    "confirm": (lambda outbox, m: outbox.confirm(m, f"x-{m}", LATER, settled_by="answer"), MessageStatus.SENT),
    "release": (lambda outbox, m: outbox.release(m), MessageStatus.QUEUED),
    "doubt": (lambda outbox, m: outbox.doubt([m]), MessageStatus.UNKNOWN),
    "fail": (lambda outbox, m: outbox.fail(m, Failure("refused", 5, "no"), LATER), MessageStatus.FAILED),
}


@pytest.mark.parametrize("move", MOVES)
async def test_a_message_moves_only_as_its_state_allows(desk: Desk, move: str) -> None:
    act, after = MOVES[move]
    for before in set(MessageStatus) - {MessageStatus.RECEIVED}:
        message_id = await desk.queue(f"from-{before}", status=before.value, pending=before in PENDING)
        await act(desk.outbox, message_id)
        expected = after if after in TRANSITIONS[before] else before
        stored = await desk.get(message_id)
        assert stored["status"] == expected
        assert bool(stored.get("pending")) is (expected in PENDING)


async def test_a_claim_names_who_took_the_message_and_only_one_gets_it(desk: Desk) -> None:
    await desk.queue()
    claims = await asyncio.gather(*(desk.outbox.claim("m1", epoch, LATER) for epoch in range(5)))
    (claimed,) = [claim for claim in claims if claim is not None]
    assert claimed["claim"]["at"] == LATER
    assert claimed["attempts"] == 1
    await desk.outbox.release("m1")
    again = await desk.outbox.claim("m1", 9, LATER)
    assert again is not None
    assert (again["claim"]["epoch"], again["attempts"]) == (9, 2)


async def test_a_confirmation_that_comes_again_counts_once(desk: Desk) -> None:
    await desk.queue(status="sending")
    news = await asyncio.gather(*(desk.outbox.confirm("m1", "x1", LATER, settled_by="answer") for _ in range(4)))
    assert sorted(news) == [False, False, False, True]
    stored = await desk.get()
    assert (stored["twitterMessageId"], stored["sentAt"], stored["at"]) == ("x1", LATER, LATER)
    assert "claim" not in stored
    (contact,) = await everything(desk.database, "contacts")
    assert (contact["messagesSent"], contact["responseSeconds"], contact["responseCount"]) == (1, 300, 1)
    (conversation,) = await everything(desk.database, "conversations")
    assert (conversation["messageCount"], conversation["waitingSince"]) == (2, None)
    assert conversation["lastMessageAt"] == LATER
    await check_counters(desk.database)


async def test_a_confirmation_whose_commit_is_in_doubt_counts_once(desk: Desk) -> None:
    await desk.queue(status="sending")
    unsure = {"code": 64, "errmsg": "timed out", "codeName": "WriteConcernFailed"}
    async with failing(desk.client, ["commitTransaction"], {"times": 2}, writeConcernError=unsure):
        assert await desk.outbox.confirm("m1", "x1", LATER, settled_by="answer")
    await check_counters(desk.database)


@pytest.mark.parametrize("evidence", ["echo", "lookup"])
async def test_an_answer_takes_its_id_back_from_the_wrong_twin(desk: Desk, evidence: str) -> None:
    await desk.queue("m1", status="unknown")
    await desk.queue("m2", status="sending")
    await desk.outbox.confirm("m1", "x2", LATER, settled_by=evidence)
    assert await desk.outbox.confirm("m2", "x2", LATER, settled_by="answer")
    wrong, right = await desk.get("m1"), await desk.get("m2")
    assert (right["status"], right["twitterMessageId"]) == ("sent", "x2")
    assert (wrong["status"], wrong["pending"], wrong["twitterMessageId"]) == ("unknown", True, None)
    assert (wrong["claim"]["at"], wrong["sentAt"]) == (START, None)
    await check_counters(desk.database)
    assert await desk.outbox.confirm("m1", "x1", LATER, settled_by="lookup")
    await check_counters(desk.database)


async def test_an_echo_that_was_taken_for_a_message_from_xs_app_becomes_the_message_that_was_sent(desk: Desk) -> None:
    await desk.queue(status="sending", content="Answer", source="bot")
    echo = message("Answer as X has changed it", 2, outbound=True, x_id="55")
    inbox = Inbox(desk.client, desk.database)
    await ingest_of(desk.client, desk.database).apply(await arrive(inbox, desk.database, echo))
    assert await desk.database["messages"].count_documents({"source": "native"}) == 1
    silenced = {"personAnsweredAt": {"$ne": None}}
    assert await desk.database["conversations"].count_documents(silenced) == 1
    assert await desk.outbox.confirm("m1", "55", LATER, settled_by="answer")
    assert await desk.database["messages"].count_documents({"source": "native"}) == 0
    assert await desk.status() == "sent"
    await check_counters(desk.database)
    # No person has answered: the chatbot goes on.
    assert await desk.database["conversations"].count_documents(silenced) == 0


async def test_a_look_into_xs_list_takes_nothing_away_from_another_message(desk: Desk) -> None:
    await desk.queue("m1", status="unknown")
    await desk.queue("m2", status="unknown")
    await desk.outbox.confirm("m1", "x1", LATER, settled_by="echo")
    with pytest.raises(DuplicateKeyError):
        await desk.outbox.confirm("m2", "x1", LATER, settled_by="lookup")
    assert [await desk.status(m) for m in ("m1", "m2")] == ["sent", "unknown"]
    await check_counters(desk.database)


async def test_an_id_that_x_has_given_twice_is_an_error_and_changes_nothing(desk: Desk) -> None:
    await desk.queue("m1", status="sending")
    await desk.queue("m2", status="sending")
    await desk.outbox.confirm("m1", "x1", LATER, settled_by="answer")
    with pytest.raises(DuplicateKeyError):
        await desk.outbox.confirm("m2", "x1", LATER, settled_by="answer")
    assert [await desk.status(m) for m in ("m1", "m2")] == ["sent", "sending"]
    await check_counters(desk.database)


async def test_the_same_id_under_another_account_is_another_message(desk: Desk) -> None:
    await desk.queue("m1", status="sending")
    await desk.database["messages"].insert_one(
        {"_id": "theirs", "accountId": "account-2", "twitterMessageId": "x1", "settledBy": "echo", "status": "sent"}
    )
    assert await desk.outbox.confirm("m1", "x1", LATER, settled_by="answer")
    theirs = await desk.get("theirs")
    assert (theirs["status"], theirs["twitterMessageId"]) == ("sent", "x1")


async def test_a_failure_is_kept_with_its_reason_and_told_once(desk: Desk) -> None:
    await desk.queue(status="sending")
    assert await desk.outbox.fail("m1", Failure("refused", 349, "No"), LATER) is True
    assert await desk.outbox.fail("m1", Failure("later", None, ""), LATER) is False
    assert (await desk.get())["failure"] == {"reason": "refused", "code": 349, "text": "No"}


async def test_what_is_pending_is_listed_most_urgent_first(desk: Desk) -> None:
    for number, (status, priority) in enumerate([("sent", 0), ("queued", 3), ("unknown", 0), ("queued", 0)]):
        await desk.queue(f"m{number}", status=status, pending=status != "sent", priority=priority)
    await desk.queue("other", accountId="account-2")
    pending = [m["_id"] for m in await desk.outbox.pending("account-100")]
    assert set(pending[:2]) == {"m2", "m3"}
    assert pending[2:] == ["m1"]
    assert set(await desk.outbox.accounts_with_pending()) == {"account-100", "account-2"}


async def test_which_of_xs_messages_are_ours_already_is_known(desk: Desk) -> None:
    await desk.queue("m1", status="sent", twitterMessageId="x1")
    await desk.queue("m2", accountId="account-2", status="sent", twitterMessageId="x2")
    assert await desk.outbox.attached("account-100", ["x1", "x2", "x3"]) == {"x1"}


async def test_the_sender_of_an_account_is_known(desk: Desk) -> None:
    sender = await desk.outbox.sender("account-100")
    assert sender is not None
    assert (sender["merchantId"], sender["twitterUserId"], sender["connected"]) == ("m1", "100", True)
    assert await desk.outbox.sender("nothing") is None


async def test_a_refusal_of_the_contact_suppresses_it_with_the_message(desk: Desk) -> None:
    await desk.queue(status="sending")
    assert await desk.outbox.fail("m1", Failure("recipient_refuses_messages", 349, "no"), LATER)
    (contact,) = await everything(desk.database, "contacts")
    assert contact["suppression"] == {"reason": "recipient_refuses_messages", "at": LATER}
    await desk.database["contacts"].update_one({}, {"$set": {"suppression": None}})
    assert not await desk.outbox.fail("m1", Failure("recipient_refuses_messages", 349, "no"), LATER)
    await desk.queue("m2", status="sending")
    assert await desk.outbox.fail("m2", Failure("message_too_long", 354, "no"), LATER)
    (contact,) = await everything(desk.database, "contacts")
    assert contact["suppression"] is None


async def test_what_is_held_back_ends_failed_while_it_waits_and_not_later(desk: Desk) -> None:
    await desk.queue("waits")
    await desk.queue("under-way", status="sending")
    assert await desk.outbox.refuse("waits", "opted_out", LATER)
    assert not await desk.outbox.refuse("waits", "opted_out", LATER)
    assert not await desk.outbox.refuse("under-way", "opted_out", LATER)
    stored = await desk.get("waits")
    assert (stored["status"], stored["failure"]["reason"], "pending" in stored) == ("failed", "opted_out", False)
    assert await desk.status("under-way") == "sending"


async def test_the_receiver_of_a_message_is_as_it_is_now(desk: Desk) -> None:
    await desk.queue("waits")
    await desk.queue("under-way", status="sending")
    await desk.queue("nobodys", contactId="gone")
    await desk.database["contacts"].update_one({}, {"$set": {"consent.state": "opted_out"}})
    ids = ("waits", "under-way", "nobodys", "unknown")
    found = await asyncio.gather(*(desk.outbox.receiver(each) for each in ids))
    assert found[0] is not None
    assert found[0]["consent"]["state"] == "opted_out"
    assert found[1:] == [None, None, None]
