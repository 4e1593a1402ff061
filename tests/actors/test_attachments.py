"""Attachments: what a link may lead to, and messages that wait for theirs to be uploaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Self

import pytest

from actors.attachments import AttachmentRefused, Attachments
from actors.clients.safe_fetch import SafeFetch
from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from actors.clients.x_transport import XApiError
from domain.errors import Unavailable
from domain.media_kinds import LARGEST, MediaName
from domain.outgoing_content import LinkAttachment, content_fields
from domain.templates import Button, QuickReply
from domain.x_errors import FailureKind
from tests.actors.clients.media import GIF, JPEG, MP4, PNG, WEBP
from tests.actors.clients.web_server import Site, serving_site
from tests.actors.desk import CLOCK, SHOP, Desk, until

UPLOAD = "/2/media/upload"


@pytest.fixture(autouse=True)
def _quick_processing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.clients.x_media._LONGEST_PAUSE_S", 0.0)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving_site() as site:
        yield site


@pytest.fixture
def attachments(desk: Desk) -> Attachments:
    return Attachments(desk.settings, CLOCK, SafeFetch(private_allowed=True))


@pytest.fixture
def shop(desk: Desk) -> XClient:
    return XApp(desk.settings, desk.session, CLOCK).client_for(f"sandbox-token-{SHOP}", f"sandbox-secret-{SHOP}")


# --- one link


@pytest.mark.parametrize(
    ("type_", "content", "category", "media_type"),
    [
        ("image", PNG, "dm_image", "image/png"),
        ("image", JPEG, "dm_image", "image/jpeg"),
        ("image", WEBP + bytes(2_500_000), "dm_image", "image/webp"),
        ("gif", GIF, "dm_gif", "image/gif"),
        ("video", MP4 + bytes(2_500_000), "dm_video", "video/mp4"),
    ],
)
async def test_what_x_takes_is_uploaded_as_what_it_is(
    desk: Desk,
    site: Site,
    attachments: Attachments,
    shop: XClient,
    type_: MediaName,
    content: bytes,
    category: str,
    media_type: str,
) -> None:
    # What the server says of the type is not believed.
    link = LinkAttachment(type_, site.put("/file.bin", content, "text/plain"))
    uploaded = await attachments.upload(link, shop, "merchant-1")
    media = desk.world.media.of(SHOP, uploaded["id"])
    assert (media.category, media.media_type, media.size, media.state) == (
        category,
        media_type,
        len(content),
        "succeeded",
    )
    assert timedelta(hours=22) < uploaded["until"] - CLOCK.now() < timedelta(hours=24)


@pytest.mark.parametrize(
    ("type_", "content", "field"),
    [
        ("image", b"<!doctype html><title>Not found</title>", "attachments.0.url"),
        ("image", b"\x89P", "attachments.0.url"),
        ("image", b"", "attachments.0.url"),
        ("image", GIF, "attachments.0.type"),
        ("gif", PNG, "attachments.0.type"),
        ("video", PNG, "attachments.0.type"),
        ("image", MP4, "attachments.0.type"),
    ],
)
async def test_what_is_something_else_is_refused_by_its_field(
    desk: Desk, site: Site, attachments: Attachments, shop: XClient, type_: MediaName, content: bytes, field: str
) -> None:
    with pytest.raises(AttachmentRefused) as refused:
        await attachments.upload(LinkAttachment(type_, site.put("/tracking.png", content)), shop, "merchant-1")
    assert [problem.field for problem in refused.value.problems] == [field]
    assert not any(UPLOAD in request for request in desk.world.requests)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nothing", "answered 404"),
        ("/bomb", "is sent compressed"),
        ("/broken", "broke off"),
        ("/endless", "is larger than 5 MB"),
        ("/loop", "redirects more than 3 times"),
        ("/inside", "must be an http or https address"),
        ("/drip", "did not answer in time"),
    ],
)
async def test_a_link_that_leads_to_nothing_usable_is_refused(
    desk: Desk, site: Site, shop: XClient, path: str, reason: str
) -> None:
    site.redirects |= {"/loop": "/loop", "/inside": "file:///etc/passwd"}
    timeout_s = 0.5 if path == "/drip" else 60.0
    settings = desk.settings.model_copy(update={"attachment_timeout_s": timeout_s})
    attachments = Attachments(settings, CLOCK, SafeFetch(private_allowed=True))
    with pytest.raises(AttachmentRefused) as refused:
        await attachments.upload(LinkAttachment("image", site.url + path), shop, "merchant-1")
    (problem,) = refused.value.problems
    assert (problem.field, problem.reason) == ("attachments.0.url", reason)


@pytest.mark.parametrize(("type_", "head"), [("image", PNG), ("gif", GIF)])
async def test_x_s_largest_file_is_the_limit(
    site: Site, attachments: Attachments, shop: XClient, type_: MediaName, head: bytes
) -> None:
    link = LinkAttachment(type_, site.put("/file", head.ljust(LARGEST[type_], b"\0")))
    assert await attachments.upload(link, shop, "merchant-1")
    site.put("/file", head.ljust(LARGEST[type_] + 1, b"\0"))
    with pytest.raises(AttachmentRefused):
        await attachments.upload(link, shop, "merchant-1")


async def test_by_default_a_private_link_is_refused_before_anything_else(desk: Desk, site: Site) -> None:
    attachments = Attachments(desk.settings, CLOCK)
    with pytest.raises(AttachmentRefused) as refused:
        attachments.check(LinkAttachment("image", f"{site.url}/a.png"))
    assert refused.value.problems[0].field == "attachments.0.url"


async def test_what_x_refuses_is_x_s_refusal(desk: Desk, site: Site, attachments: Attachments, shop: XClient) -> None:
    link = LinkAttachment("image", site.put("/a.png", PNG))
    desk.world.faults.order({"kind": "error", "match": UPLOAD, "code": 324})
    with pytest.raises(XApiError) as refused:
        await attachments.upload(link, shop, "merchant-1")
    assert refused.value.failure.kind is FailureKind.MESSAGE


@pytest.mark.parametrize("when", ["write", "flush"])
async def test_a_full_disk_is_nobody_s_fault(
    monkeypatch: pytest.MonkeyPatch, site: Site, attachments: Attachments, shop: XClient, when: str
) -> None:
    class Full:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, chunk: bytes) -> int:
            self.fail("write")
            return len(chunk)

        def flush(self) -> None:
            self.fail("flush")

        def fail(self, what: str) -> None:
            if what == when:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr("actors.attachments.tempfile.TemporaryFile", Full)
    link = LinkAttachment("image", site.put("/a.png", PNG))
    with pytest.raises(Unavailable):
        await attachments.upload(link, shop, "merchant-1")
    outcome = await attachments.outcome_of(link, shop, "merchant-1")
    assert getattr(outcome, "kind", None) is FailureKind.TEMPORARY


async def test_a_merchant_s_slow_links_leave_places_for_others(
    site: Site, attachments: Attachments, shop: XClient
) -> None:
    slow = LinkAttachment("image", f"{site.url}/drip")
    held = [asyncio.ensure_future(attachments.upload(slow, shop, "merchant-1")) for _ in range(12)]
    await until(lambda: len(site.asked) == 2)
    link = LinkAttachment("image", site.put("/a.png", PNG))
    assert await attachments.upload(link, shop, "merchant-2")
    assert len(site.asked) == 3
    for each in held:
        each.cancel()
    await asyncio.wait(held)
    assert await attachments.upload(link, shop, "merchant-1")


# --- messages that wait


def attached(url: str, type_: str = "image") -> dict[str, Any]:
    return {"attachments": [{"type": type_, "url": url}]}


def media_in_x(desk: Desk) -> list[object]:
    return [message.media and message.media["type"] for message in desk.world.messages.all if message.sender_id == SHOP]


def uploads(desk: Desk) -> int:
    return sum(count for request, count in desk.world.requests.items() if request == f"POST {UPLOAD}")


async def test_a_message_that_x_has_no_media_of_is_sent_once_it_is_uploaded(desk: Desk, site: Site) -> None:
    conversation = await desk.customer()
    message_id = await desk.queue("look", conversation, **attached(site.put("/a.png", PNG)))
    actor = desk.start(fetch_private_addresses=True)
    assert await actor.deliver(message_id) == "sent"
    stored = await desk.message(message_id)
    assert media_in_x(desk) == ["photo"]
    assert stored["attachments"][0]["mediaId"] == stored["media"]["id"]
    assert uploads(desk) == 1
    assert await desk.counted(conversation) == (1, 1, 1)
    assert {w["name"]: w["used"] for w in await actor.limits()}["messages24h"] == 1


async def test_media_that_x_has_is_not_uploaded_again(desk: Desk, site: Site, shop: XClient) -> None:
    link = LinkAttachment("image", site.put("/a.png", PNG))
    media = await Attachments(desk.settings, CLOCK, SafeFetch(private_allowed=True)).upload(link, shop, "merchant-1")
    message_id = await desk.queue("look", await desk.customer(), **attached(link.url), media=media)
    assert await desk.start().deliver(message_id) == "sent"
    assert (media_in_x(desk), uploads(desk)) == (["photo"], 1)


async def test_a_message_that_has_waited_for_longer_than_x_keeps_media_is_sent(desk: Desk, site: Site) -> None:
    expired = {"id": "77", "until": CLOCK.now() - timedelta(seconds=1)}
    message_id = await desk.queue("look", await desk.customer(), **attached(site.put("/a.png", PNG)), media=expired)
    assert await desk.start(fetch_private_addresses=True).deliver(message_id) == "sent"
    assert media_in_x(desk) == ["photo"]
    assert (await desk.message(message_id))["media"]["id"] != "77"


@pytest.mark.parametrize("path", ["/nothing", "/inside"])
async def test_a_link_that_leads_to_nothing_fails_the_message(desk: Desk, site: Site, path: str) -> None:
    site.redirects["/inside"] = "file:///etc/passwd"
    conversation = await desk.customer()
    message_id = await desk.queue("look", conversation, **attached(site.url + path))
    actor = desk.start(fetch_private_addresses=True)
    assert await actor.deliver(message_id) == "failed"
    failure = (await desk.message(message_id))["failure"]
    assert failure["reason"] == "attachment_refused"
    assert failure["text"]
    assert desk.in_x() == []
    after = await desk.queue("after it", conversation)
    assert await actor.deliver(after) == "sent"


async def test_an_upload_that_x_can_not_take_now_is_tried_again(desk: Desk, site: Site) -> None:
    message_id = await desk.queue("look", await desk.customer(), **attached(site.put("/a.png", PNG)))
    desk.world.faults.order({"kind": "error", "match": UPLOAD, "error": "ServiceUnavailable", "count": 1})
    assert await desk.start(fetch_private_addresses=True).deliver(message_id) == "sent"
    assert media_in_x(desk) == ["photo"]


async def test_an_upload_that_breaks_fails_the_message_and_not_its_account(
    desk: Desk, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Attachments, "upload", breaks)
    conversation = await desk.customer()
    message_id = await desk.queue("look", conversation, **attached(site.put("/a.png", PNG)))
    actor = desk.start(fetch_private_addresses=True)
    assert await actor.deliver(message_id) == "failed"
    assert (await desk.message(message_id))["failure"]["reason"] == "attachment_broke"
    assert await actor.deliver(await desk.queue("after it", conversation)) == "sent"


async def test_a_crash_during_an_upload_leaves_the_message_to_be_sent_once(desk: Desk, site: Site) -> None:
    message_id = await desk.queue("look", await desk.customer(), **attached(f"{site.url}/drip"))
    waiting = asyncio.ensure_future(desk.start(fetch_private_addresses=True).deliver(message_id))
    await until(lambda: site.asked)
    assert await desk.status(message_id) == "queued"
    desk.kill()
    waiting.cancel()
    await desk.database["messages"].update_one(
        {"_id": message_id}, {"$set": {"attachments.0.url": site.put("/a.png", PNG)}}
    )
    assert await desk.start(fetch_private_addresses=True).deliver(message_id) == "sent"
    assert (desk.in_x(), media_in_x(desk)) == (["look"], ["photo"])


async def test_a_host_that_lost_the_account_during_an_upload_sends_nothing(desk: Desk, site: Site) -> None:
    go = asyncio.Event()
    upload = Attachments.upload

    async def held(self: Attachments, link: LinkAttachment, shop: XClient, merchant_id: str) -> Any:
        uploaded = await upload(self, link, shop, merchant_id)
        await go.wait()
        return uploaded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attachments, "upload", held)
        message_id = await desk.queue("look", await desk.customer(), **attached(site.put("/a.png", PNG)))
        first = asyncio.ensure_future(desk.start(fetch_private_addresses=True).deliver(message_id))
        await until(lambda: uploads(desk) == 1)
    assert await desk.start(fetch_private_addresses=True).deliver(message_id) == "sent"
    go.set()
    await asyncio.wait([first], timeout=20)
    assert desk.in_x() == ["look"]
    assert await desk.status(message_id) == "sent"


async def test_a_send_with_media_that_is_in_doubt_is_found_by_its_text(desk: Desk, site: Site) -> None:
    conversation = await desk.customer()
    message_id = await desk.queue("look https://shop.example/a", conversation, **attached(site.put("/a.png", PNG)))
    desk.fault("accept_then_drop", count=1)
    actor = desk.start(fetch_private_addresses=True)
    assert await actor.deliver(message_id) == "sent"
    assert (await desk.message(message_id))["settledBy"] == "lookup"
    assert media_in_x(desk) == ["photo"]


# --- quick replies and buttons


@pytest.mark.parametrize(
    "fields",
    [
        content_fields("quick_reply", "Which?", [QuickReply("Red", "A colour", "r"), QuickReply("Blue", "Another")]),
        content_fields("card", "Look", buttons=[Button("Open", "https://shop.example/a")]),
    ],
)
async def test_quick_replies_and_buttons_reach_x(desk: Desk, fields: dict[str, Any]) -> None:
    message_id = await desk.queue(fields["content"], await desk.customer(), **fields)
    assert await desk.start().deliver(message_id) == "sent"
    (sent,) = [message for message in desk.world.messages.all if message.sender_id == SHOP]
    if fields["type"] == "card":
        (button,) = sent.ctas
        assert (button["label"], button["url"]) == ("Open", "https://shop.example/a")
    else:
        assert sent.quick_reply == {
            "type": "options",
            "options": [
                {"label": "Red", "description": "A colour", "metadata": "r"},
                {"label": "Blue", "description": "Another"},
            ],
        }
