"""Links of campaigns, followed over HTTP by people and by programs that nobody knows."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from domain.ids import new_id
from gateway import links
from storage.campaign_documents import lane_id
from storage.tracked_links import LinkDocument, TrackedLinks
from tests.gateway import campaigns
from tests.gateway.conftest import Api

BROWSER = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"}
TARGET = "https://shop.example/sale?item=1"


async def follow(api: Api, code: str, method: str = "GET", **headers: str) -> aiohttp.ClientResponse:
    response = await api.http.request(method, f"/l/{code}", headers=BROWSER | headers, allow_redirects=False)
    await response.read()
    return response


async def sent_to(api: Api, **fields: object) -> tuple[str, str, str]:
    """Return the ids of a campaign, of a recipient of it, and of the contact that the recipient is."""
    contact_id, campaign_id = await api.contact(await api.account()), new_id()
    return campaign_id, await campaigns.recipient(api, campaign_id, new_id(), contact_id, **fields), contact_id


async def a_link(api: Api, **fields: object) -> tuple[str, str]:
    """Return the ids of a campaign and of the one link that was sent for it."""
    campaign_id, recipient_id, contact_id = await sent_to(api)
    return campaign_id, await campaigns.link(api, recipient_id, contact_id, **fields)


async def clicks(api: Api, campaign_id: str) -> int:
    found = await api.database["campaignCounts"].find({"campaignId": campaign_id}).to_list()
    return sum(each["clicked"] for each in found)


async def one(api: Api, collection: str, document_id: str) -> dict[str, Any]:
    found = await api.database[collection].find_one({"_id": document_id})
    assert found is not None
    return found


def follows(outcome: str) -> float:
    return REGISTRY.get_sample_value("mktx_link_follows_total", {"outcome": outcome}) or 0.0


async def fail(api: Api, *commands: str) -> None:
    data = {"failCommands": list(commands), "closeConnection": True, "appName": "mktx"}
    await api.database.client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})


async def heal(api: Api) -> None:
    await api.database.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


async def test_a_link_leads_where_it_was_meant_to_lead_without_token_limit_or_trace(api: Api) -> None:
    _, code = await a_link(api)
    answer = await follow(api, code)
    assert (answer.status, answer.headers["Location"], await answer.read()) == (302, TARGET, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Robots-Tag"] == "noindex"
    assert "X-RateLimit-Limit" not in answer.headers


async def test_whoever_follows_a_link_counts_once(api: Api) -> None:
    campaign_id, recipient_id, contact_id = await sent_to(api)
    code = await campaigns.link(api, recipient_id, contact_id)
    assert (await follow(api, code)).status == 302
    link, recipient = await one(api, "trackedLinks", code), await one(api, "campaignRecipients", recipient_id)
    assert link["firstClickedAt"] == recipient["clickedAt"] is not None
    [count] = await api.database["campaignCounts"].find({"campaignId": campaign_id}).to_list()
    named = ("merchantId", "campaignId", "runId", "variant")
    assert [count[name] for name in named] == [recipient[name] for name in named]
    assert (count["clicked"], count["hour"]) == (1, f"{recipient['clickedAt']:%Y-%m-%dT%H}")
    assert (await follow(api, code)).status == 302
    assert await one(api, "trackedLinks", code) == link
    assert await one(api, "campaignRecipients", recipient_id) == recipient
    assert await clicks(api, campaign_id) == 1


async def test_several_links_of_a_message_count_once_and_each_knows_its_first_follower(api: Api) -> None:
    campaign_id, recipient_id, contact_id = await sent_to(api)
    codes = [await campaigns.link(api, recipient_id, contact_id) for _ in range(3)]
    for code in codes:
        assert (await follow(api, code)).status == 302
    assert all([(await one(api, "trackedLinks", code))["firstClickedAt"] for code in codes])
    first = await one(api, "trackedLinks", codes[0])
    assert (await one(api, "campaignRecipients", recipient_id))["clickedAt"] == first["firstClickedAt"]
    assert await clicks(api, campaign_id) == 1


async def test_many_at_the_same_time_count_once(api: Api) -> None:
    campaign_id, recipient_id, contact_id = await sent_to(api)
    codes = [await campaigns.link(api, recipient_id, contact_id) for _ in range(2)]
    answers = await asyncio.gather(*(follow(api, code) for code in codes * 8))
    assert {answer.status for answer in answers} == {302}
    await counted(api)
    assert await clicks(api, campaign_id) == 1


async def counted(api: Api) -> None:
    """Wait until nothing is counted any more: an answer does not wait for that for long."""
    async with asyncio.timeout(30):
        while any(task.get_name() == "link.count" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)


async def test_many_recipients_at_the_same_time_are_all_counted(api: Api) -> None:
    campaign_id = new_id()
    contact_id, run_id = await api.contact(await api.account()), new_id()
    codes = []
    for number in range(12):
        recipient_id = await campaigns.recipient(api, campaign_id, run_id, f"{contact_id}-{number}")
        codes.append(await campaigns.link(api, recipient_id, contact_id))
    await asyncio.gather(*(follow(api, code) for code in codes))
    await counted(api)
    assert await clicks(api, campaign_id) == 12


@pytest.mark.parametrize("status", ["queued", "sent", "failed"])
async def test_a_click_counts_whatever_is_known_of_the_message_yet(api: Api, status: str) -> None:
    campaign_id, recipient_id, contact_id = await sent_to(api, status=status, sentAt=None)
    code = await campaigns.link(api, recipient_id, contact_id)
    await follow(api, code)
    recipient = await one(api, "campaignRecipients", recipient_id)
    assert (recipient["status"], recipient["clickedAt"] is not None) == (status, True)
    assert await clicks(api, campaign_id) == 1


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"User-Agent": "Twitterbot/1.0"}),
        ("GET", {"User-Agent": ""}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
    ],
)
async def test_a_program_that_looks_is_led_there_and_not_counted(
    api: Api, method: str, headers: dict[str, str]
) -> None:
    campaign_id, code = await a_link(api)
    before = follows("preview")
    answer = await follow(api, code, method, **headers)
    assert (answer.status, answer.headers["Location"]) == (302, TARGET)
    assert (await one(api, "trackedLinks", code))["firstClickedAt"] is None
    assert await clicks(api, campaign_id) == 0
    assert follows("preview") == before + 1
    # A person that follows it later is counted all the same.
    await follow(api, code)
    assert await clicks(api, campaign_id) == 1


@pytest.mark.parametrize(
    "code",
    [
        "00000000000",
        "",
        "short",
        "0000000000000",
        "..%2f..%2fhealth",
        "%00%00%00%00%00%00%00%00%00%00%00",
        "%3Cscript%3E1%3C/script%3E",
        "https://evil.example/",
        "%24ne",
        "\u0660" * 11,
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_no_link_is_answered_with_a_page_that_repeats_nothing(api: Api, code: str, method: str) -> None:
    known = await follow(api, "11111111111")
    before = follows("unknown")
    answer = await follow(api, code, method)
    assert (answer.status, answer.content_type) == (404, "text/html")
    assert "Location" not in answer.headers
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert await answer.read() == (b"" if method == "HEAD" else await known.read())
    assert follows("unknown") == before + 1


@pytest.mark.parametrize("after", ["'s", ".", ")", "%E3%80%82", ",https://shop.example/l/x", "?utm_source=x", "/"])
async def test_what_a_program_took_for_the_end_of_a_link_does_not_matter(api: Api, after: str) -> None:
    _, code = await a_link(api)
    answer = await follow(api, code + after)
    assert (answer.status, answer.headers["Location"]) == (302, TARGET)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        "/health/live",
        "https:///evil.example",
        "http:evil.example",
        "https://shop.example/\r\nSet-Cookie: a=b",
        "https://shop.example/a b",
        "https://shop.example\\@evil.example",
        "https://[::1/",
        "https://shop.example:99999/",
        "",
    ],
)
async def test_nobody_is_led_to_what_is_no_web_address(api: Api, url: str) -> None:
    campaign_id, code = await a_link(api, url=url)
    before = follows("refused")
    answer = await follow(api, code)
    assert (answer.status, answer.content_type) == (404, "text/html")
    assert not {"Location", "Set-Cookie"} & set(answer.headers)
    assert await clicks(api, campaign_id) == 0
    assert follows("refused") == before + 1


async def test_nothing_of_a_request_says_where_it_leads(api: Api) -> None:
    _, code = await a_link(api)
    evil = {"X-Forwarded-Host": "evil.example", "Referer": "https://evil.example/", "X-Original-URL": "/evil"}
    answer = await follow(api, f"{code}?url=https://evil.example/&next=//evil.example#https://evil.example", **evil)
    assert answer.headers["Location"] == TARGET


async def test_an_address_that_is_not_ascii_is_percent_encoded_and_the_rest_stays(api: Api) -> None:
    _, code = await a_link(api, url="https://ví-dụ.vn/áo%20dài?q=%2f~&b={c}")
    answer = await follow(api, code)
    assert answer.headers["Location"] == "https://v%C3%AD-d%E1%BB%A5.vn/%C3%A1o%20d%C3%A0i?q=%2f~&b={c}"


async def test_the_link_of_an_erased_contact_is_gone_and_was_exported_before(api: Api) -> None:
    _, recipient_id, contact_id = await sent_to(api)
    code = await campaigns.link(api, recipient_id, contact_id)
    other = await campaigns.link(api, (await sent_to(api))[1], "another")
    _, answer = await api.get(f"/contacts/{contact_id}/export")
    assert [(each["id"], each["url"]) for each in answer["data"]["trackedLinks"]] == [(code, TARGET)]
    assert (await api.delete(f"/contacts/{contact_id}"))[0] == 200
    assert (await follow(api, code)).status == 404
    assert (await follow(api, other)).status == 302


async def test_a_link_outlives_its_campaign_and_counts_nothing(api: Api) -> None:
    campaign_id, recipient_id, contact_id = await sent_to(api)
    code = await campaigns.link(api, recipient_id, contact_id)
    await api.database["campaignRecipients"].delete_one({"_id": recipient_id})
    assert (await follow(api, code)).headers["Location"] == TARGET
    assert await clicks(api, campaign_id) == 0
    assert await api.database["campaignRecipients"].find_one({"_id": recipient_id}) is None


async def test_the_recipients_lane_and_state_are_not_touched(api: Api) -> None:
    _, recipient_id, contact_id = await sent_to(api, open=True, status="queued")
    before = await one(api, "campaignRecipients", recipient_id)
    await follow(api, await campaigns.link(api, recipient_id, contact_id))
    after = await one(api, "campaignRecipients", recipient_id)
    assert after | {"clickedAt": None} == before
    lane = lane_id(before["runId"], before["accountId"])
    assert await api.database["campaignLanes"].find_one({"_id": lane}) is None


async def test_a_follow_that_can_not_be_counted_leads_on_and_can_be_counted_later(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every attempt fails in a way that a transaction tries again.
    monkeypatch.setattr(links, "_DEADLINE_S", 0.2)
    campaign_id, code = await a_link(api)
    before = follows("uncounted")
    await fail(api, "update", "findAndModify", "commitTransaction")
    try:
        answer = await follow(api, code)
        assert (answer.status, answer.headers["Location"]) == (302, TARGET)
        await counted(api)
    finally:
        await heal(api)
    assert follows("uncounted") == before + 1
    assert await clicks(api, campaign_id) == 0
    await follow(api, code)
    assert await clicks(api, campaign_id) == 1


async def test_nobody_waits_for_being_counted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign_id, code = await a_link(api)
    monkeypatch.setattr(links, "_PATIENCE_S", 0.01)
    released, followed = asyncio.Event(), TrackedLinks.followed

    async def slow(repository: TrackedLinks, link: LinkDocument, now: datetime) -> bool:
        await released.wait()
        return await followed(repository, link, now)

    monkeypatch.setattr(TrackedLinks, "followed", slow)
    assert (await follow(api, code)).status == 302
    assert await clicks(api, campaign_id) == 0
    released.set()
    await counted(api)
    assert await clicks(api, campaign_id) == 1


async def test_a_link_that_can_not_be_read_is_answered_503(api: Api) -> None:
    _, code = await a_link(api)
    before = follows("unavailable")
    await fail(api, "find")
    try:
        answer = await follow(api, code)
    finally:
        await heal(api)
    assert (answer.status, (await answer.json())["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert follows("unavailable") == before + 1
    assert (await follow(api, code)).status == 302
