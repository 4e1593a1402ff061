"""Sending and looking up direct messages, v2 and v1.1."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.messages import conversation_id, shorten
from tests.sandbox.shop import Shop

NEW = "/1.1/direct_messages/events/new.json"


def old_style(text: str, to: str = "200", **data: object) -> dict[str, object]:
    create = {"target": {"recipient_id": to}, "message_data": {"text": text, **data}}
    return {"event": {"type": "message_create", "message_create": create}}


async def test_a_send_is_created_and_can_be_looked_up(shop: Shop) -> None:
    sent = await shop.send("hello")
    assert sent.status == 201
    message_id = sent.body["data"]["dm_event_id"]
    assert sent.body == {"data": {"dm_conversation_id": "100-200", "dm_event_id": message_id}}
    plain = await shop.call("GET", f"/2/dm_events/{message_id}")
    assert plain.body == {"data": {"id": message_id, "text": "hello", "event_type": "MessageCreate"}}
    fields = "created_at,sender_id,dm_conversation_id,attachments"
    full = await shop.call("GET", f"/2/dm_events/{message_id}?dm_event.fields={fields}")
    assert full.body["data"]["sender_id"] == "100"
    assert full.body["data"]["dm_conversation_id"] == "100-200"
    assert full.body["data"]["created_at"].endswith("Z")
    assert "attachments" not in full.body["data"]


async def test_a_send_into_a_conversation_reaches_the_same_one(shop: Shop) -> None:
    sent = await shop.call("POST", "/2/dm_conversations/100-200/messages", {"text": "again"})
    assert sent.status == 201
    assert sent.body["data"]["dm_conversation_id"] == "100-200"
    for wrong in ("200-100", "200-300", "100"):
        refused = await shop.call("POST", f"/2/dm_conversations/{wrong}/messages", {"text": "again"})
        assert refused.status == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": 5},
        {"text": "x" * 10_001},
        {"text": "hi", "quick_reply": {}},
        {"text": "hi", "attachments": [{"media_id": "1"}, {"media_id": "2"}]},
        {"text": "hi", "attachments": {"media_id": "1"}},
        {"text": "hi", "attachments": [{"media_id": "1"}]},
        ["hi"],
    ],
)
async def test_a_malformed_send_is_refused_and_not_kept(shop: Shop, body: object) -> None:
    refused = await shop.call("POST", "/2/dm_conversations/with/200/messages", body)
    assert refused.status == 400
    assert refused.body["title"] == "Invalid Request"
    assert (await shop.control("GET", "messages"))["total"] == 0


async def test_the_longest_text_is_taken(shop: Shop) -> None:
    assert (await shop.send("x" * 10_000)).status == 201


async def test_people_who_take_no_messages_or_do_not_exist_are_refused(shop: Shop) -> None:
    await shop.control("POST", "customers", {"id": "201", "accepts_messages": False})
    refused = await shop.send("hi", to="201")
    assert refused.status == 403
    assert refused.body["detail"] == "You do not have permission to DM one or more participants."
    old = await shop.call("POST", NEW, old_style("hi", to="201"))
    assert (old.status, old.body["errors"][0]["code"]) == (403, 349)
    assert (await shop.send("hi", to="999")).status == 404
    unknown = await shop.call("POST", NEW, old_style("hi", to="999"))
    assert (unknown.status, unknown.body["errors"][0]["code"]) == (404, 50)


async def test_listings_page_from_the_newest_to_the_oldest(shop: Shop) -> None:
    await shop.control("POST", "limits", {"all": 1000})
    for number in range(7):
        await shop.control("POST", "say", {"from": "200", "to": "100", "text": f"to shop {number}"})
    await shop.control("POST", "say", {"from": "201", "to": "100", "text": "somebody else"})
    seen: list[str] = []
    token = ""
    pages = 0
    while True:
        more = f"&pagination_token={token}" if token else ""
        page = (await shop.call("GET", f"/2/dm_conversations/with/200/dm_events?max_results=3{more}")).body
        seen += [event["text"] for event in page["data"]]
        pages += 1
        token = page["meta"].get("next_token", "")
        if not token:
            break
    assert seen == [f"to shop {number}" for number in reversed(range(7))]
    assert pages == 3
    every = (await shop.call("GET", "/2/dm_events?expansions=sender_id")).body
    assert every["meta"]["result_count"] == 8
    assert {user["id"] for user in every["includes"]["users"]} == {"200", "201"}
    by_id = (await shop.call("GET", "/2/dm_conversations/100-201/dm_events")).body
    assert [event["text"] for event in by_id["data"]] == ["somebody else"]


async def test_wrong_listing_parameters_are_refused(shop: Shop) -> None:
    for query in ("max_results=0", "max_results=101", "max_results=x", "pagination_token=zz"):
        assert (await shop.call("GET", f"/2/dm_events?{query}")).status == 400
    empty = await shop.call("GET", "/2/dm_events")
    assert empty.body == {"meta": {"result_count": 0}}


async def test_quick_replies_and_buttons_go_through_the_old_api(shop: Shop) -> None:
    reply = {"type": "options", "options": [{"label": "Red", "metadata": "opt_red"}, {"label": "Blue"}]}
    buttons = [{"type": "web_url", "label": "Shop", "url": "https://ex.test"}]
    sent = await shop.call("POST", NEW, old_style("Which?", quick_reply=reply, ctas=buttons))
    assert sent.status == 200
    data = sent.body["event"]["message_create"]["message_data"]
    assert data["quick_reply"] == reply
    assert data["ctas"][0]["tco_url"].startswith("https://t.co/")
    assert sent.body["event"]["message_create"]["target"]["recipient_id"] == "200"
    message_id = sent.body["event"]["id"]
    shown = await shop.call("GET", f"/1.1/direct_messages/events/show.json?id={message_id}")
    assert shown.body["event"] == sent.body["event"]
    listed = await shop.call("GET", "/1.1/direct_messages/events/list.json?count=1")
    assert [event["id"] for event in listed.body["events"]] == [message_id]


@pytest.mark.parametrize(
    "data",
    [
        {"quick_reply": {"type": "options", "options": []}},
        {"quick_reply": {"type": "options", "options": [{"label": "x"}] * 21}},
        {"quick_reply": {"type": "options", "options": [{"label": "x" * 37}]}},
        {"quick_reply": {"type": "options", "options": [{"label": "a", "description": "d"}, {"label": "b"}]}},
        {"ctas": []},
        {"ctas": [{"type": "web_url", "label": "x", "url": "https://ex.test"}] * 4},
        {"ctas": [{"type": "web_url", "label": "x", "url": "ftp://ex.test"}]},
    ],
)
async def test_wrong_quick_replies_and_buttons_are_refused(shop: Shop, data: dict[str, Any]) -> None:
    assert (await shop.call("POST", NEW, old_style("Which?", **data))).status == 400


async def test_too_long_a_text_is_error_354_in_the_old_api(shop: Shop) -> None:
    refused = await shop.call("POST", NEW, old_style("x" * 10_001))
    assert (refused.status, refused.body["errors"][0]["code"]) == (403, 354)


async def test_typing_and_read_receipts_need_a_recipient(shop: Shop) -> None:
    assert (await shop.call("POST", "/1.1/direct_messages/indicate_typing.json?recipient_id=200")).status == 204
    assert (await shop.call("POST", "/1.1/direct_messages/indicate_typing.json")).status == 400


async def test_a_blocked_customer_can_not_write(shop: Shop) -> None:
    blocked = await shop.call("POST", "/2/users/200/dm/block")
    assert blocked.body == {"data": {"blocked": True}}
    async with shop.http.post(f"{shop.base}/sandbox/say", json={"from": "200", "to": "100", "text": "hi"}) as refused:
        assert refused.status == 400
    await shop.call("POST", "/2/users/200/dm/unblock")
    await shop.control("POST", "say", {"from": "200", "to": "100", "text": "hi"})


async def test_users_are_found_by_ids_and_missing_ones_are_told(shop: Shop) -> None:
    answer = await shop.call("GET", "/2/users?ids=200,999&user.fields=receives_your_dm", app=True)
    assert answer.status == 200
    assert answer.body["data"] == [{"id": "200", "name": "Ann", "username": "ann_x", "receives_your_dm": True}]
    assert answer.body["errors"][0]["resource_id"] == "999"
    one = await shop.call("GET", "/2/users/999", app=True)
    assert (one.status, list(one.body)) == (200, ["errors"])


async def test_links_are_shortened_as_x_shows_them_and_kept_as_asked(shop: Shop) -> None:
    sent = await shop.send("see https://ex.test/a?b=1, ok 😀 https://ex.test/c")
    message_id = sent.body["data"]["dm_event_id"]
    shown = (await shop.call("GET", f"/2/dm_events/{message_id}?dm_event.fields=entities")).body["data"]
    assert "ex.test" not in shown["text"]
    urls = shown["entities"]["urls"]
    assert [url["expanded_url"] for url in urls] == ["https://ex.test/a?b=1", "https://ex.test/c"]
    assert [shown["text"][url["start"] : url["end"]] for url in urls] == [url["url"] for url in urls]
    kept = (await shop.control("GET", "messages"))["messages"][0]
    assert kept["text"] == "see https://ex.test/a?b=1, ok 😀 https://ex.test/c"
    assert kept["via"] == "POST /2/dm_conversations/with/:id/messages"


@given(st.text(), st.lists(st.sampled_from(["https://ex.test/a", "http://ü.test/?q=1"]), max_size=3))
def test_shortening_keeps_everything_but_links(text: str, links: list[str]) -> None:
    whole = " ".join([text.replace("http", ""), *links])
    shown, found = shorten(whole, message_id="1", media=None, wrap_links=True)
    restored = shown
    for link in reversed(found):
        assert shown[link.start : link.end] == link.short
        restored = restored[: link.start] + link.expanded + restored[link.end :]
    assert restored == whole
    assert all(before.end <= after.start for before, after in pairwise(found))


@given(st.integers(1, 10**19), st.integers(1, 10**19))
def test_both_sides_name_a_conversation_alike(one: int, other: int) -> None:
    name = conversation_id(str(one), str(other))
    assert name == conversation_id(str(other), str(one))
    assert [int(side) for side in name.split("-")] == sorted([one, other])
