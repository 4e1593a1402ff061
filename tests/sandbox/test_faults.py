"""Every kind of fault, as a real client meets it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.sandbox.shop import Receiver, Shop, register


async def kept(shop: Shop) -> int:
    return int((await shop.control("GET", "messages"))["total"])


@pytest.mark.parametrize("kind", ["drop", "reset"])
async def test_a_dropped_send_was_not_performed(shop: Shop, kind: str) -> None:
    await shop.fault(kind)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await shop.send("lost")
    assert await kept(shop) == 0
    assert (await shop.send("the fault is used up")).status == 201


async def test_a_send_that_was_accepted_and_dropped_is_in_the_event_list(shop: Shop) -> None:
    await shop.fault("accept_then_drop")
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await shop.send("ambiguous")
    listed = await shop.call("GET", "/2/dm_conversations/with/200/dm_events")
    assert [event["text"] for event in listed.body["data"]] == ["ambiguous"]


async def test_a_send_that_was_accepted_and_answered_500_is_in_the_event_list(shop: Shop) -> None:
    await shop.fault("accept_then_500")
    assert (await shop.send("ambiguous")).status == 500
    assert await kept(shop) == 1


async def test_a_fault_after_acceptance_waits_for_a_send_that_is_accepted(shop: Shop) -> None:
    await shop.fault("accept_then_500")
    assert (await shop.send("nobody", to="999")).status == 404
    assert (await shop.send("somebody")).status == 500


async def test_slow_sends_outlast_a_clients_patience(shop: Shop) -> None:
    impatient = aiohttp.ClientTimeout(total=0.2)
    path, body = "/2/dm_conversations/with/200/messages", {"text": "hi"}
    await shop.fault("accept_then_slow", seconds=60)
    with pytest.raises(asyncio.TimeoutError):
        await shop.call("POST", path, body, timeout=impatient)
    assert await kept(shop) == 1
    await shop.fault("slow", seconds=60)
    with pytest.raises(asyncio.TimeoutError):
        await shop.call("POST", path, body, timeout=impatient)
    assert await kept(shop) == 1


async def test_a_slow_request_is_performed_after_its_wait(shop: Shop) -> None:
    await shop.fault("slow", seconds=0.01)
    assert (await shop.send("hi")).status == 201
    assert [fault["fired"] for fault in (await shop.control("GET", "faults"))["faults"]] == [1]


@pytest.mark.parametrize(
    ("code", "status"),
    [(349, 403), (150, 403), (226, 403), (326, 403), (64, 403), (93, 403), (89, 401), (32, 401)],
)
async def test_the_old_numbered_errors_can_be_ordered(shop: Shop, code: int, status: int) -> None:
    await shop.fault("error", code=code)
    refused = await shop.send("hi")
    assert refused.status == status
    assert refused.body["errors"][0]["code"] == code
    assert refused.body["errors"][0]["message"]
    assert await kept(shop) == 0


async def test_running_out_of_credits_and_caps_can_be_ordered(shop: Shop) -> None:
    await shop.fault("error", error="CreditsDepleted")
    broke = await shop.send("hi")
    assert (broke.status, broke.body["title"]) == (402, "CreditsDepleted")
    await shop.fault("error", error="UsageCapExceeded")
    capped = await shop.send("hi")
    assert (capped.status, capped.body["title"]) == (429, "UsageCapExceeded")
    assert capped.body["type"].endswith("/usage-capped")
    assert int(capped.headers["x-rate-limit-remaining"]) > 0
    await shop.fault("error", code=88, headers={"x-rate-limit-limit": "99"})
    limited = await shop.send("hi")
    assert (limited.status, limited.headers["x-rate-limit-remaining"]) == (429, "0")
    assert limited.headers["x-rate-limit-limit"] == "99"
    assert int(limited.headers["x-rate-limit-reset"]) > 0


async def test_an_error_can_have_any_body_even_none_of_json(shop: Shop) -> None:
    await shop.fault("error", status=503, body="<html>over capacity</html>")
    path = "/2/dm_conversations/with/200/messages"
    async with shop.http.post(shop.base + path, json={"text": "hi"}, headers=shop.signed("POST", path)) as response:
        assert (response.status, response.content_type) == (503, "text/html")


async def test_faults_can_be_meant_for_one_account_or_participant_and_cleared(shop: Shop) -> None:
    await shop.control("POST", "accounts", {"id": "101"})
    other = Shop(shop.base, shop.http, account_id="101")
    await shop.control("POST", "faults", {"kind": "error", "code": 326, "match": {"account": "101"}, "count": 9})
    await shop.control("POST", "customers", {"id": "201"})
    await shop.control("POST", "faults", {"kind": "error", "code": 349, "match": {"participant": "201"}, "count": 9})
    assert (await other.send("hi")).status == 403
    assert (await shop.send("hi", to="201")).status == 403
    assert (await shop.send("hi")).status == 201
    assert [fault["fired"] for fault in (await shop.control("GET", "faults"))["faults"]] == [1, 1]
    assert await shop.control("DELETE", "faults") == {"faults": []}
    assert (await other.send("hi")).status == 201


async def test_a_probability_strikes_some_and_spares_some(shop: Shop) -> None:
    await shop.control("POST", "limits", {"all": 1000})
    await shop.fault("error", error="ServiceUnavailable", probability=0.5)
    statuses = {(await shop.send("hi")).status for _ in range(40)}
    assert statuses == {201, 503}


async def test_an_echo_can_come_before_the_answer_of_its_send(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver)
    await shop.fault("echo_before_response")
    sent = await shop.send("quick")
    assert [body["direct_message_events"][0]["id"] for body in receiver.bodies] == [sent.body["data"]["dm_event_id"]]


async def test_an_accepted_send_can_stay_without_echo(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver)
    await shop.fault("accept_then_500", echo=False)
    await shop.send("silent")
    await shop.fault("echo_before_response")
    await shop.send("heard")
    texts = [b["direct_message_events"][0]["message_create"]["message_data"]["text"] for b in receiver.bodies]
    assert texts == ["heard"]


async def test_an_unknown_fault_is_refused(shop: Shop) -> None:
    for wrong in ({"kind": "flood"}, {"kind": "error"}, {"kind": "error", "code": 1}, {"kind": "drop", "match": "("}):
        async with shop.http.post(f"{shop.base}/sandbox/faults", json=wrong) as response:
            assert response.status == 400
