from __future__ import annotations

import asyncio

import pytest

from actors.runtime.errors import CallExpired
from domain.errors import LimitExceeded, Overloaded, Unavailable
from domain.ids import new_id
from tests.gateway.conftest import Actors, Api, eventually, later

SEED = {"content": "Your order #12345 has been shipped!", "type": "text"}


async def stored(api: Api, conversation_id: str) -> list[dict[str, object]]:
    return await api.database["messages"].find({"conversationId": conversation_id}).to_list(None)


async def test_a_message_is_answered_as_x_took_it(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED)
    data = answer["data"]
    assert status == 200
    assert data["conversationId"] == conversation_id
    assert data["twitterMessageId"] == f"x-{data['id']}"
    assert (data["direction"], data["type"], data["content"]) == ("outbound", "text", SEED["content"])
    assert (data["status"], data["sentAt"]) == ("sent", "2026-01-18T10:00:00Z")
    assert (data["source"], data["sentByUserId"]) == ("agent", api.user_id)
    assert [name for name, _ in actors.calls] == ["deliver"]


async def test_what_is_queued_is_what_the_account_s_actor_expects(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    seen: list[dict[str, object] | None] = []

    async def look(message_id: str) -> str:
        seen.append(await api.database["messages"].find_one({"_id": message_id}))
        return await actors.mark(message_id, status="sent", twitterMessageId=new_id(), pending=False)

    actors.deliver = look
    await api.post(f"/conversations/{conversation_id}/messages", SEED)
    (message,) = seen
    conversation = await api.database["conversations"].find_one({"_id": conversation_id})
    assert message is not None
    assert conversation is not None
    assert (message["status"], message["pending"], message["priority"]) == ("queued", True, 0)
    assert message["merchantId"] == api.merchant_id
    for name in ("accountId", "contactId", "twitterUserId"):
        assert message[name] == conversation[name]


@pytest.mark.parametrize(("length", "expected"), [(1, 200), (10_000, 200), (10_001, 400)])
async def test_x_s_longest_text_is_the_limit(api: Api, length: int, expected: int) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", {"content": "ü" * length})
    assert status == expected
    if expected == 400:
        assert (answer["code"], answer["details"]["field"]) == ("VALIDATION_ERROR", "content")
        assert await stored(api, conversation_id) == []


async def test_without_waiting_the_message_is_queued(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    go = asyncio.Event()

    async def wait(message_id: str) -> str:
        await go.wait()
        return await actors.mark(message_id, status="sent")

    actors.deliver = wait
    status, answer = await api.post(f"/conversations/{conversation_id}/messages?wait=false", SEED)
    assert (status, answer["data"]["status"], answer["data"]["twitterMessageId"]) == (200, "queued", None)
    await eventually(lambda: actors.calls != [])
    go.set()


async def test_without_waiting_a_used_up_limit_leaves_the_message_for_its_turn(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()

    async def refuse(_message_id: str) -> str:
        raise LimitExceeded("used up", retry_after_s=60)

    actors.deliver = refuse
    status, _ = await api.post(f"/conversations/{conversation_id}/messages?wait=false", SEED)
    await eventually(lambda: [name for name, _ in actors.calls] == ["deliver", "resume"])
    assert status == 200
    assert [each["status"] for each in await stored(api, conversation_id)] == ["queued"]


@pytest.mark.parametrize("state", ["unknown", "sending", "queued"])
async def test_what_is_not_settled_in_time_is_answered_202(api: Api, actors: Actors, state: str) -> None:
    conversation_id = await api.dialogue()

    async def expire(message_id: str) -> str:
        await actors.mark(message_id, status=state)
        raise CallExpired("The actor did not answer in time", retry_after_s=2)

    actors.deliver = expire
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED)
    assert (status, answer["data"]["status"]) == (202, state)


async def test_a_message_that_x_refuses_is_answered_502_with_x_s_own_words(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    failure = {"reason": "recipient_refuses_messages", "code": 349, "text": "You cannot send messages to this user."}

    async def fail(message_id: str) -> str:
        return await actors.mark(message_id, status="failed", pending=False, failure=failure)

    actors.deliver = fail
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED)
    assert (status, answer["code"]) == (502, "TWITTER_API_ERROR")
    assert answer["details"]["code"] == 349
    assert answer["details"]["text"] == failure["text"]
    assert [each["status"] for each in await stored(api, conversation_id)] == ["failed"]


async def test_over_the_account_s_limit_nothing_is_kept(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()

    async def refuse(_message_id: str) -> str:
        raise LimitExceeded("The account's sending limit is used up", retry_after_s=77)

    actors.deliver = refuse
    answer = await api.answer("POST", f"/conversations/{conversation_id}/messages", json=SEED)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "77"
    assert (await answer.json())["code"] == "RATE_LIMIT_EXCEEDED"
    assert await stored(api, conversation_id) == []


@pytest.mark.parametrize("error", [Unavailable("gone", retry_after_s=2), Overloaded("full", retry_after_s=2)])
async def test_without_actors_nothing_is_kept(api: Api, actors: Actors, error: Unavailable) -> None:
    conversation_id = await api.dialogue()

    async def refuse(_message_id: str) -> str:
        raise error

    actors.deliver = refuse
    answer = await api.answer("POST", f"/conversations/{conversation_id}/messages", json=SEED)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "2"
    assert await stored(api, conversation_id) == []


async def test_a_message_that_is_being_sent_is_not_taken_back(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()

    async def claim_and_vanish(message_id: str) -> str:
        await actors.mark(message_id, status="sending", claim={"epoch": 1, "at": later()})
        raise Unavailable("gone", retry_after_s=2)

    actors.deliver = claim_and_vanish
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED)
    assert (status, answer["data"]["status"]) == (202, "sending")


async def test_a_closed_conversation_takes_no_message(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue(status="closed")
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED)
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert actors.calls == []


async def test_an_account_that_was_disconnected_sends_nothing(api: Api, actors: Actors) -> None:
    account_id = await api.account(connected=False, status="inactive")
    conversation_id = await api.conversation(account_id, await api.contact(account_id))
    status, _ = await api.post(f"/conversations/{conversation_id}/messages", SEED)
    assert status == 409
    assert actors.calls == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": " \n\t\u00a0"}, "content"),
        ({"content": {"$gt": ""}}, "content"),
        ({"content": 5}, "content"),
        ({"content": "hello", "type": "carrier_pigeon"}, "type"),
        ({"content": "hello", "status": "sent"}, "status"),
        ({"content": "hello", "merchantId": "another"}, "merchantId"),
        ({"content": "hello", "priority": -1}, "priority"),
        ({"content": "hello", "$where": "1"}, "$where"),
    ],
)
async def test_what_does_not_fit_the_schema_is_refused_by_name(api: Api, body: object, field: str) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", body)
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", field)
    assert await stored(api, conversation_id) == []


# --- Idempotency-Key


async def test_the_same_key_and_body_answers_the_first_answer_again(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    path, key = f"/conversations/{conversation_id}/messages", {"Idempotency-Key": new_id()}
    first = await api.answer("POST", path, json=SEED, headers=key)
    again = await api.answer(
        "POST",
        path,
        data=b'{"type": "text",  "content": "' + SEED["content"].encode() + b'"}',
        headers=key | {"Content-Type": "application/json"},
    )
    assert (first.status, again.status) == (200, 200)
    assert await first.json() == await again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(actors.calls) == 1
    assert len(await stored(api, conversation_id)) == 1


async def test_the_same_key_with_another_request_is_refused(api: Api) -> None:
    one, two = await api.dialogue(), await api.dialogue()
    key = {"Idempotency-Key": new_id()}
    await api.post(f"/conversations/{one}/messages", SEED, headers=key)
    for path, body in ((one, {"content": "another"}), (two, SEED)):
        status, answer = await api.post(f"/conversations/{path}/messages", body, headers=key)
        assert (status, answer["details"]["field"]) == (422, "Idempotency-Key")


async def test_merchants_do_not_share_keys(api: Api) -> None:
    key = {"Idempotency-Key": new_id()}
    stranger = api.other_merchant()
    _, mine = await api.post(f"/conversations/{await api.dialogue()}/messages", SEED, headers=key)
    status, theirs = await stranger.post(f"/conversations/{await stranger.dialogue()}/messages", SEED, headers=key)
    assert status == 200
    assert theirs["data"]["id"] != mine["data"]["id"]


async def test_requests_at_once_under_one_key_send_once(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    key = {"Idempotency-Key": new_id()}
    answers = await asyncio.gather(
        *(api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key) for _ in range(8))
    )
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}
    assert len(await stored(api, conversation_id)) == 1
    assert len(actors.calls) == 1


async def test_a_refusal_by_x_is_answered_again_under_its_key(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    key = {"Idempotency-Key": new_id()}

    async def fail(message_id: str) -> str:
        failure = {"reason": "recipient_refuses_messages", "code": 349, "text": "no"}
        return await actors.mark(message_id, status="failed", failure=failure)

    actors.deliver = fail
    first_status, first = await api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key)
    again_status, again = await api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key)
    assert first_status == again_status == 502
    assert again["details"] == first["details"]
    assert again["requestId"] != first["requestId"]
    assert len(actors.calls) == 1


async def test_what_may_pass_by_itself_is_tried_again_under_its_key(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    key = {"Idempotency-Key": new_id()}

    async def refuse(_message_id: str) -> str:
        raise LimitExceeded("used up", retry_after_s=1)

    actors.deliver = refuse
    assert (await api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key))[0] == 429
    actors.deliver = None
    assert (await api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key))[0] == 200


async def test_a_request_that_was_cut_off_is_the_same_message_when_it_is_repeated(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    key = {"Idempotency-Key": new_id()}

    async def break_down(_message_id: str) -> str:
        raise RuntimeError("cut off")

    actors.deliver = break_down
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key)
    assert (status, answer["code"]) == (500, "INTERNAL_ERROR")
    (cut_off,) = await stored(api, conversation_id)
    actors.deliver = None
    _, answer = await api.post(f"/conversations/{conversation_id}/messages", SEED, headers=key)
    assert answer["data"]["id"] == cut_off["_id"]
    assert len(await stored(api, conversation_id)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "ключ"])
async def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(
        f"/conversations/{conversation_id}/messages", SEED, headers={"Idempotency-Key": key}
    )
    assert (status, answer["details"]["field"]) == (400, "Idempotency-Key")
    assert await stored(api, conversation_id) == []
