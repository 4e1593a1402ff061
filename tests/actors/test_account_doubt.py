"""Sends whose answer was lost: settled by evidence, or left to a person, and never sent a second time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.actors.desk import ACCOUNT, CLOCK, SHOP, Desk, each_once, failing, until

ACCEPTED = ["accept_then_drop", "accept_then_500", "accept_then_slow"]
NOT_ACCEPTED = ["drop", "reset"]
IMPATIENT = {"x_settle_timeout_s": 0.6}


@pytest.mark.parametrize("fault", ACCEPTED)
async def test_a_send_that_x_took_without_saying_so_is_found_in_its_list(desk: Desk, fault: str) -> None:
    conversation = await desk.customer()
    desk.fault(fault, seconds=3)
    actor = desk.start(x_timeout_s=0.4)
    now = CLOCK.now()
    doubtful, behind = await desk.queue("first", conversation, now), await desk.queue("second", conversation)
    outcomes = await asyncio.gather(actor.deliver(doubtful), actor.deliver(behind))
    assert outcomes == ["sent", "sent"]
    assert desk.in_x() == ["first", "second"]
    stored = await desk.message(doubtful)
    assert stored["settledBy"] == "lookup"
    assert stored["twitterMessageId"] == next(m.id for m in desk.world.messages.all if m.sender_id == SHOP)
    assert await desk.counted(conversation) == (2, 2, 2)


@pytest.mark.parametrize("fault", NOT_ACCEPTED)
async def test_a_send_that_x_never_took_ends_ambiguous_and_is_not_sent_again(desk: Desk, fault: str) -> None:
    conversation = await desk.customer()
    desk.fault(fault)
    actor = desk.start(**IMPATIENT)
    now = CLOCK.now()
    lost, behind = await desk.queue("lost", conversation, now), await desk.queue("behind", conversation)
    assert await asyncio.gather(actor.deliver(lost), actor.deliver(behind)) == ["failed", "sent"]
    assert (await desk.message(lost))["failure"]["reason"] == "ambiguous"
    assert desk.in_x() == ["behind"]
    assert await desk.counted(conversation) == (1, 1, 1)


async def test_what_follows_in_the_conversation_waits_and_other_conversations_do_not(desk: Desk) -> None:
    conversation, other = await desk.customer("200"), await desk.customer("201")
    desk.fault("drop", match={"path": "messages$", "participant": "200"})
    actor = desk.start(x_settle_timeout_s=300.0)
    now = CLOCK.now()
    lost = await desk.queue("lost", conversation, now)
    behind = await desk.queue("behind", conversation, now + timedelta(seconds=1))
    calls = [asyncio.ensure_future(actor.deliver(m)) for m in (lost, behind)]
    await desk.until(lost, "unknown")
    assert await actor.deliver(await desk.queue("elsewhere", other)) == "sent"
    await actor.resume()
    assert [await desk.status(m) for m in (lost, behind)] == ["unknown", "queued"]
    assert desk.in_x() == ["elsewhere"]
    # An echo ends the doubt: whoever is told so lets the conversation go on.
    await desk.database["messages"].update_one({"_id": lost}, {"$set": {"status": "sent"}, "$unset": {"pending": ""}})
    await actor.settled([lost])
    assert await asyncio.gather(*calls) == ["sent", "sent"]
    assert desk.in_x() == ["elsewhere", "behind"]


async def test_a_doubt_that_can_not_be_written_still_holds_the_conversation(desk: Desk) -> None:
    conversation = await desk.customer()
    desk.fault("drop")
    actor = desk.start(x_settle_timeout_s=3.0)
    now = CLOCK.now()
    lost = await desk.queue("lost", conversation, now)
    behind = await desk.queue("behind", conversation, now + timedelta(seconds=1))
    namespace = f"{desk.database.name}.messages"
    async with failing(desk.client, ["update"], {"times": 1}, errorCode=8, namespace=namespace):
        calls = [asyncio.ensure_future(actor.deliver(m)) for m in (lost, behind)]
        account = desk.hosts[-1]
        await until(lambda: len(account) and account._activations["account", ACCOUNT.id].actor._stranded)  # type: ignore[attr-defined]
    actor_object = desk.hosts[-1]._activations["account", ACCOUNT.id].actor
    await until(lambda: not actor_object._stranded)  # type: ignore[attr-defined]
    assert desk.in_x() == []
    assert await asyncio.gather(*calls) == ["failed", "sent"]


@pytest.mark.parametrize("status", ["sending", "unknown"])
@pytest.mark.parametrize("taken", [True, False])
async def test_a_restart_settles_what_was_under_way_and_sends_none_of_it_again(
    desk: Desk, status: str, taken: bool
) -> None:
    conversation = await desk.customer()
    now = CLOCK.now()
    claim = {"epoch": 0, "at": now}
    lost = await desk.queue("lost", conversation, now, status=status, claim=claim, attempts=1)
    behind = await desk.queue("behind", conversation, now + timedelta(seconds=1))
    if taken:
        desk.write_in_x("lost")
    actor = desk.start(**IMPATIENT)
    assert await asyncio.gather(actor.deliver(behind), actor.deliver(lost)) == ["sent", "sent" if taken else "failed"]
    assert desk.in_x() == (["lost", "behind"] if taken else ["behind"])


async def test_after_a_long_standstill_x_is_still_asked_before_a_send_is_given_up(desk: Desk) -> None:
    conversation = await desk.customer()
    long_ago = CLOCK.now() - timedelta(days=1)
    claim = {"epoch": 0, "at": long_ago}
    lost = await desk.queue("lost", conversation, long_ago, status="sending", claim=claim)
    desk.write_in_x("lost")
    desk.world.faults.order({"kind": "error", "error": "ServiceUnavailable", "match": "dm_events", "count": 3})
    assert await desk.start().deliver(lost) == "sent"


async def test_a_crash_between_call_and_answer_is_settled_by_the_successor(desk: Desk) -> None:
    conversation = await desk.customer()
    desk.fault("accept_then_slow", seconds=5)
    message_id = await desk.queue("text", conversation)
    abandoned = asyncio.ensure_future(desk.start().deliver(message_id))
    await until(lambda: desk.in_x() == ["text"])
    desk.kill()
    abandoned.cancel()
    assert await desk.start().deliver(message_id) == "sent"
    assert desk.in_x() == ["text"]
    assert await desk.counted(conversation) == (1, 1, 1)


async def test_the_same_text_twice_is_told_apart(desk: Desk) -> None:
    conversation = await desk.customer()
    desk.fault("accept_then_500", count=2)
    actor = desk.start()
    now = CLOCK.now()
    twins = [await desk.queue("same", conversation, now + timedelta(milliseconds=n)) for n in range(2)]
    assert await asyncio.gather(*(actor.deliver(m) for m in twins)) == ["sent", "sent"]
    ids = [(await desk.message(m))["twitterMessageId"] for m in twins]
    assert ids == [m.id for m in desk.world.messages.all if m.sender_id == SHOP]


async def test_an_answer_corrects_an_echo_that_was_given_to_the_wrong_twin(desk: Desk) -> None:
    conversation = await desk.customer()
    now = CLOCK.now()
    actor = desk.start(x_settle_timeout_s=300.0)
    message_id = await desk.queue("same", conversation, now)
    desk.fault("accept_then_slow", seconds=0.5)
    waiting = asyncio.ensure_future(actor.deliver(message_id))
    await until(lambda: desk.in_x() == ["same"])
    (in_x,) = [m for m in desk.world.messages.all if m.sender_id == SHOP]
    # Its text was not recognised: the echo became a message from X's own app.
    native = {**(await desk.message(message_id)), "_id": "native", "source": "native", "status": "sent", "at": now}
    native["twitterMessageId"] = in_x.id
    native.pop("pending")
    await desk.database["messages"].insert_one(native)
    await desk.database["conversations"].update_one({"_id": conversation}, {"$inc": {"messageCount": 1}})
    await desk.database["contacts"].update_one({"_id": native["contactId"]}, {"$inc": {"messagesSent": 1}})
    assert await waiting == "sent"
    assert await desk.database["messages"].find_one({"_id": "native"}) is None
    assert (await desk.message(message_id))["twitterMessageId"] == in_x.id
    assert (await desk.counted(conversation))[:2] == (1, 1)


async def test_under_random_faults_no_text_is_ever_sent_twice(desk: Desk) -> None:
    for fault in ("accept_then_drop", "accept_then_500", "drop", "reset"):
        desk.fault(fault, probability=0.12)
    conversations = [await desk.customer(str(200 + n)) for n in range(6)]
    actor = desk.start(x_settle_timeout_s=1.5)
    messages = {}
    for number in range(36):
        message_id = await desk.queue(f"text {number}", conversations[number % 6])
        messages[message_id] = f"text {number}"
    await actor.resume()
    async with asyncio.timeout(60):
        while await desk.database["messages"].count_documents({"pending": True}):
            await asyncio.sleep(0.05)
    assert each_once(desk.in_x())
    for message_id, text in messages.items():
        stored = await desk.message(message_id)
        if stored["status"] == "sent":
            assert desk.in_x().count(text) == 1
        else:
            assert stored["failure"]["reason"] == "ambiguous"
            assert text not in desk.in_x()
    for place, conversation in enumerate(conversations):
        sent = [text for text in desk.in_x() if int(text.split()[1]) % 6 == place]
        assert sent == sorted(sent, key=lambda text: int(text.split()[1]))
        assert (await desk.counted(conversation))[:2] == (len(sent), len(sent))


async def test_many_in_doubt_are_looked_for_with_few_calls(desk: Desk) -> None:
    conversations = [await desk.customer(str(200 + n)) for n in range(12)]
    desk.fault("accept_then_drop", count=12)
    actor = desk.start()
    ids = [await desk.queue("The same to everybody", conversation) for conversation in conversations]
    assert await asyncio.gather(*(actor.deliver(message_id) for message_id in ids)) == ["sent"] * 12
    asked = {path: times for path, times in desk.world.requests.items() if "dm_events" in path}
    assert 1 <= asked["GET /2/dm_events"] < 12
    assert sum(asked.values()) < 12
    for message_id, conversation in zip(ids, conversations, strict=True):
        message = await desk.message(message_id)
        (in_x,) = [m for m in desk.world.messages.all if m.id == message["twitterMessageId"]]
        assert in_x.recipient_id == message["twitterUserId"]
        assert message["conversationId"] == conversation


async def test_a_limit_of_x_puts_the_search_off_and_does_not_end_it(desk: Desk) -> None:
    conversation = await desk.customer()
    desk.fault("accept_then_drop", count=1)
    limited = desk.world.faults.order({"kind": "error", "match": "dm_events$", "status": 429, "seconds": 2, "count": 1})
    actor = desk.start(x_settle_timeout_s=0.5)
    message_id = await desk.queue("Hello", conversation)
    assert await actor.deliver(message_id) == "sent"
    assert limited.fired == 1
    assert (await desk.message(message_id))["settledBy"] == "lookup"
