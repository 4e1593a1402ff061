"""Sending when X answers: order, limits, refusals, repetition."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actors.runtime.errors import Fenced
from domain.errors import LimitExceeded, NotFound, Unavailable
from tests.actors.desk import ACCOUNT, CLOCK, SHOP, Desk, each_once, failing, until


async def test_a_message_is_sent_and_counted(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    message_id = await desk.queue("Hello", conversation)
    assert await actor.deliver(message_id) == "sent"
    stored = await desk.message(message_id)
    (in_x,) = [m for m in desk.world.messages.all if m.sender_id == SHOP]
    assert (stored["twitterMessageId"], stored["settledBy"]) == (in_x.id, "answer")
    assert "pending" not in stored
    assert "claim" not in stored
    assert await desk.counted(conversation) == (1, 1, 1)
    assert {w["name"]: w["used"] for w in await actor.limits()}["messages24h"] == 1


async def test_a_message_that_is_delivered_again_and_again_is_sent_once(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    message_id = await desk.queue("Hello", conversation)
    assert set(await asyncio.gather(*(actor.deliver(message_id) for _ in range(8)))) == {"sent"}
    assert await actor.deliver(message_id) == "sent"
    await actor.resume()
    assert desk.in_x() == ["Hello"]
    assert await desk.counted(conversation) == (1, 1, 1)


async def test_a_message_of_another_account_or_of_nobody_is_not_found(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    foreign = await desk.queue("Hello", conversation, accountId="account-2")
    for message_id in (foreign, "nothing"):
        with pytest.raises(NotFound):
            await actor.deliver(message_id)
    assert desk.in_x() == []


async def test_a_conversation_keeps_its_order_while_others_go_on(desk: Desk) -> None:
    slow, quick = await desk.customer("200"), await desk.customer("201")
    desk.fault("slow", match={"path": "messages$", "participant": "200"}, seconds=1.5, count=1)
    actor = desk.start()
    now = CLOCK.now()
    held = [await desk.queue(f"slow {n}", slow, now + timedelta(milliseconds=n)) for n in range(4)]
    others = [await desk.queue(f"quick {n}", quick, now + timedelta(milliseconds=n)) for n in range(4)]
    waiting = [asyncio.ensure_future(actor.deliver(message_id)) for message_id in held]
    assert await asyncio.gather(*(actor.deliver(message_id) for message_id in others)) == ["sent"] * 4
    assert [await desk.status(message_id) for message_id in held] == ["sending", "queued", "queued", "queued"]
    assert await asyncio.gather(*waiting) == ["sent"] * 4
    assert desk.in_x() == [*(f"quick {n}" for n in range(4)), *(f"slow {n}" for n in range(4))]


async def test_people_go_before_campaigns(desk: Desk) -> None:
    now = CLOCK.now()
    for number in range(6):
        conversation = await desk.customer(str(200 + number))
        await desk.queue(f"campaign {number}", conversation, now, priority=3)
    conversation = await desk.customer("300")
    await desk.queue("agent", conversation, now + timedelta(seconds=1))
    await desk.start().resume()
    await until(lambda: len(desk.in_x()) == 7)
    assert "agent" in desk.in_x()[:4]


async def test_four_sends_are_under_way_at_most(desk: Desk) -> None:
    desk.fault("slow", seconds=0.3, count=10)
    for number in range(9):
        await desk.queue(f"text {number}", await desk.customer(str(200 + number)))
    await desk.start().resume()
    most = 0
    async with asyncio.timeout(60):
        while len(desk.in_x()) < 9:
            most = max(most, await desk.database["messages"].count_documents({"status": "sending"}))
            await asyncio.sleep(0.005)
    assert most == 4
    assert each_once(desk.in_x())


async def test_a_limit_of_x_is_told_to_the_caller_and_kept_until_its_reset(desk: Desk) -> None:
    conversation, other = await desk.customer("200"), await desk.customer("201")
    limit = desk.fault("error", code=88, seconds=2)
    actor = desk.start()
    first = await desk.queue("first", conversation)
    with pytest.raises(LimitExceeded) as refused:
        await actor.deliver(first)
    second = await desk.queue("second", other)
    assert 1 <= (refused.value.retry_after_s or 0) <= 4
    with pytest.raises(LimitExceeded):
        await actor.deliver(second)
    assert desk.in_x() == []
    assert await desk.status(first) == "queued"
    await actor.resume()
    for message_id in (first, second):
        await desk.until(message_id, "sent")
    assert limit.fired == 1
    assert desk.in_x() == ["first", "second"]


async def test_a_limit_outlives_a_restart(desk: Desk) -> None:
    conversation = await desk.customer()
    desk.fault("error", code=88, seconds=300)
    first = await desk.queue("first", conversation)
    with pytest.raises(LimitExceeded):
        await desk.start().deliver(first)
    await until(lambda: not desk.hosts[-1]._activations["account", ACCOUNT.id].actor._sending)  # type: ignore[attr-defined]
    desk.kill()
    second = await desk.queue("second", await desk.customer("201"))
    with pytest.raises(LimitExceeded):
        await desk.start().deliver(second)
    assert desk.in_x() == []


async def test_our_own_limit_of_a_day_is_never_crossed(desk: Desk) -> None:
    conversation = await desk.customer()
    messages = [await desk.queue(f"text {n}", conversation, CLOCK.now() + timedelta(milliseconds=n)) for n in range(5)]
    actor = desk.start(x_messages_per_day=3)
    outcomes = await asyncio.gather(*(actor.deliver(m) for m in messages[:3]))
    assert outcomes == ["sent"] * 3
    with pytest.raises(LimitExceeded) as refused:
        await actor.deliver(messages[3])
    assert (refused.value.retry_after_s or 0) > 80_000
    desk.kill()
    actor = desk.start(x_messages_per_day=3)
    with pytest.raises(LimitExceeded):
        await actor.deliver(messages[4])
    assert desk.in_x() == ["text 0", "text 1", "text 2"]


@pytest.mark.parametrize(("code", "reason"), [(349, "recipient_refuses_messages"), (150, "recipient_refuses_messages")])
async def test_what_x_refuses_for_the_recipient_fails_with_its_words(desk: Desk, code: int, reason: str) -> None:
    conversation = await desk.customer()
    desk.fault("error", code=code)
    actor = desk.start()
    refused, after = await desk.queue("no", conversation), await desk.queue("yes", conversation)
    assert await asyncio.gather(actor.deliver(refused), actor.deliver(after)) == ["failed", "sent"]
    stored = await desk.message(refused)
    assert (stored["failure"]["reason"], stored["failure"]["code"]) == (reason, code)
    assert stored["failure"]["text"]
    assert "pending" not in stored
    account = await desk.database["accounts"].find_one({"_id": ACCOUNT.id})
    assert account is not None
    assert account["status"] == "active"
    assert await desk.counted(conversation) == (1, 1, 1)


@pytest.mark.parametrize(
    ("code", "reason"), [(326, "account_locked"), (89, "tokens_refused"), (64, "account_suspended")]
)
async def test_what_x_holds_against_the_account_becomes_its_status(desk: Desk, code: int, reason: str) -> None:
    conversation = await desk.customer()
    desk.fault("error", code=code)
    message_id = await desk.queue("no", conversation)
    assert await desk.start().deliver(message_id) == "failed"
    async with asyncio.timeout(30):
        while (account := await desk.database["accounts"].find_one({"_id": ACCOUNT.id}))["status"] != "error":
            await asyncio.sleep(0.01)
    assert account["statusReason"] == reason


async def test_an_account_that_was_disconnected_sends_nothing(desk: Desk) -> None:
    conversation = await desk.customer()
    await desk.database["accounts"].update_one({"_id": ACCOUNT.id}, {"$set": {"connected": False, "tokens": None}})
    message_id = await desk.queue("no", conversation)
    assert await desk.start().deliver(message_id) == "failed"
    assert (await desk.message(message_id))["failure"]["reason"] == "account_inactive"
    assert desk.in_x() == []


async def test_tokens_that_can_not_be_read_fail_the_message_instead_of_leaving_it_in_doubt(desk: Desk) -> None:
    conversation = await desk.customer()
    await desk.database["accounts"].update_one({"_id": ACCOUNT.id}, {"$set": {"tokens.oauthToken": "broken"}})
    message_id = await desk.queue("no", conversation)
    assert await desk.start().deliver(message_id) == "failed"
    assert (await desk.message(message_id))["failure"]["reason"] == "account_inactive"


async def test_a_message_that_was_withdrawn_is_not_sent(desk: Desk) -> None:
    conversation, other = await desk.customer("200"), await desk.customer("201")
    desk.fault("slow", match={"path": "messages$", "participant": "200"}, seconds=0.3, count=1)
    actor = desk.start()
    now = CLOCK.now()
    first = await desk.queue("first", conversation, now)
    withdrawn = await desk.queue("withdrawn", conversation, now + timedelta(seconds=1))
    waiting = [asyncio.ensure_future(actor.deliver(m)) for m in (first, withdrawn)]
    await desk.until(first, "sending")
    await desk.database["messages"].delete_one({"_id": withdrawn, "status": "queued"})
    assert await asyncio.gather(*waiting) == ["sent", "gone"]
    assert await actor.deliver(await desk.queue("next", other)) == "sent"
    assert desk.in_x() == ["first", "next"]


async def test_a_database_that_fails_before_the_call_delays_the_message_and_what_is_behind_it(desk: Desk) -> None:
    conversation = await desk.customer()
    now = CLOCK.now()
    actor = desk.start()
    await actor.limits()
    messages = [await desk.queue(f"text {n}", conversation, now + timedelta(milliseconds=n)) for n in range(3)]
    async with failing(desk.client, ["findAndModify"], {"times": 1}, errorCode=8):
        outcomes = await asyncio.gather(*(actor.deliver(message_id) for message_id in messages))
    assert outcomes == ["sent"] * 3
    assert desk.in_x() == ["text 0", "text 1", "text 2"]


async def test_a_claim_whose_answer_was_lost_is_taken_back_and_the_message_sent(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    await actor.limits()
    messages = [await desk.queue(f"text {n}", conversation) for n in range(2)]
    lost = {"code": 64, "errmsg": "waiting for replication timed out", "codeName": "WriteConcernFailed"}
    namespace = f"{desk.database.name}.messages"
    async with failing(desk.client, ["findAndModify"], {"times": 1}, writeConcernError=lost, namespace=namespace):
        assert await asyncio.gather(*(actor.deliver(message_id) for message_id in messages)) == ["sent"] * 2
    assert desk.in_x() == ["text 0", "text 1"]
    assert (await desk.message(messages[0]))["attempts"] == 1


async def test_a_budget_that_can_not_be_written_holds_the_message_back(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    await actor.limits()
    # Queued after the actor has taken up what waited: it sends this one when it is told.
    message_id = await desk.queue("text", conversation)
    namespace = f"{desk.database.name}.accountActors"
    # The write fails, and so does finding out whether it was written.
    async with failing(desk.client, ["update", "findAndModify"], "alwaysOn", errorCode=8, namespace=namespace):
        waiting = asyncio.ensure_future(actor.deliver(message_id))
        host_actor = desk.hosts[-1]._activations["account", ACCOUNT.id].actor
        await until(lambda: host_actor._stranded)  # type: ignore[attr-defined]
        assert desk.in_x() == []
    assert await waiting == "sent"
    assert desk.in_x() == ["text"]


async def test_a_budget_whose_write_was_lost_on_the_way_back_is_no_takeover(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    await actor.limits()
    message_id = await desk.queue("text", conversation)
    unsure = {"code": 64, "errmsg": "waiting for replication timed out", "codeName": "WriteConcernFailed"}
    async with failing(desk.client, ["update"], {"times": 1}, writeConcernError=unsure):
        assert await actor.deliver(message_id) == "sent"
    assert desk.in_x() == ["text"]


@pytest.mark.parametrize(
    "failure",
    [
        {"errorCode": 8},
        {"writeConcernError": {"code": 64, "errmsg": "timed out", "codeName": "WriteConcernFailed"}},
        {"errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    ],
)
async def test_a_database_that_fails_after_the_call_delays_the_answer_and_nothing_is_sent_twice(
    desk: Desk, failure: dict[str, object]
) -> None:
    conversation = await desk.customer()
    message_id = await desk.queue("text", conversation)
    actor = desk.start()
    async with failing(desk.client, ["commitTransaction"], {"times": 2}, **failure):
        assert await actor.deliver(message_id) == "sent"
    assert desk.in_x() == ["text"]
    assert await desk.counted(conversation) == (1, 1, 1)


async def test_a_refusal_that_can_not_be_written_at_once_is_written_later(desk: Desk) -> None:
    conversation = await desk.customer()
    message_id = await desk.queue("text", conversation)
    desk.fault("error", code=349)
    actor = desk.start()
    namespace = f"{desk.database.name}.messages"
    async with failing(desk.client, ["update"], {"times": 1}, errorCode=8, namespace=namespace):
        assert await actor.deliver(message_id) == "failed"
    assert (await desk.message(message_id))["failure"]["code"] == 349


async def test_a_database_that_can_not_be_asked_is_told_as_such(desk: Desk) -> None:
    conversation = await desk.customer()
    actor = desk.start()
    async with failing(desk.client, ["findAndModify"], "alwaysOn", errorCode=8):
        with pytest.raises(Unavailable):
            await actor.limits()
    await actor.limits()
    message_id = await desk.queue("text", conversation)
    async with failing(desk.client, ["find"], "alwaysOn", errorCode=8):
        for call in (lambda: actor.deliver(message_id), actor.resume):
            with pytest.raises(Unavailable):
                await call()
    assert await actor.deliver(message_id) == "sent"


async def test_an_actor_that_was_taken_over_sends_nothing_more(desk: Desk) -> None:
    conversation = await desk.customer()
    stale = desk.start()
    await stale.limits()
    heir = desk.start()
    await heir.limits()
    message_id = await desk.queue("text", conversation)
    with pytest.raises(Fenced):
        await stale.deliver(message_id)
    with pytest.raises(Fenced):
        await stale.deliver(message_id)
    assert desk.in_x() == []
    assert await desk.status(message_id) == "queued"
    assert await heir.deliver(message_id) == "sent"
    with pytest.raises(Fenced):
        await stale.resume()
    assert desk.in_x() == ["text"]


async def test_two_hosts_that_both_believe_in_themselves_send_each_message_once(desk: Desk) -> None:
    conversations = [await desk.customer(str(200 + n)) for n in range(4)]
    stale, heir = desk.start(), desk.start()
    await stale.limits()
    messages = [await desk.queue(f"text {n}", conversations[n % 4]) for n in range(12)]
    calls = [asyncio.ensure_future(stale.deliver(m)) for m in messages]
    await until(lambda: len(desk.in_x()) >= 2)
    await asyncio.gather(*(heir.deliver(m) for m in messages))
    await asyncio.gather(*calls, return_exceptions=True)
    for message_id in messages:
        await desk.until(message_id, "sent")
    assert sorted(desk.in_x()) == sorted(f"text {n}" for n in range(12))


async def test_draining_waits_for_answers_under_way_and_starts_nothing_new(desk: Desk) -> None:
    conversation = await desk.customer()
    desk.fault("slow", seconds=0.3)
    actor = desk.start()
    now = CLOCK.now()
    first, second = await desk.queue("first", conversation, now), await desk.queue("second", conversation)
    waiting = [asyncio.ensure_future(actor.deliver(m)) for m in (first, second)]
    await desk.until(first, "sending")
    await desk.hosts[-1].stop(30)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert outcomes[0] == "sent"
    assert isinstance(outcomes[1], Fenced)
    assert [await desk.status(m) for m in (first, second)] == ["sent", "queued"]
