"""Media for messages: each way of uploading, categories, sizes and ownership."""

from __future__ import annotations

import base64
from typing import Any

import aiohttp
import pytest

from tests.sandbox.shop import Answer, Receiver, Shop, register
from tests.sandbox.test_messages import NEW, old_style

PNG = b"\x89PNG\r\n" + b"x" * 100


async def upload(shop: Shop, category: str = "dm_image", media: bytes = PNG) -> Answer:
    body = {"media": base64.b64encode(media).decode(), "media_category": category}
    return await shop.call("POST", "/2/media/upload", body)


async def attach(shop: Shop, media_id: str) -> Answer:
    body = {"text": "look", "attachments": [{"media_id": media_id}]}
    return await shop.call("POST", "/2/dm_conversations/with/200/messages", body)


async def multipart(shop: Shop, path: str, media: bytes, **fields: str) -> Answer:
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("media", media, filename="a.bin", content_type="application/octet-stream")
    return await shop.call("POST", path, data=form)


async def test_an_image_is_uploaded_attached_and_echoed(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver)
    uploaded = (await upload(shop)).body["data"]
    assert uploaded["size"] == len(PNG)
    sent = await attach(shop, uploaded["id"])
    assert sent.status == 201
    event = (await receiver.wait_for(1))[0]["direct_message_events"][0]
    data = event["message_create"]["message_data"]
    assert data["attachment"]["media"]["id_str"] == uploaded["id"]
    assert data["text"].startswith("look https://t.co/")
    query = "dm_event.fields=attachments&expansions=attachments.media_keys"
    looked_up = await shop.call("GET", f"/2/dm_events/{event['id']}?{query}")
    assert looked_up.body["data"]["attachments"] == {"media_keys": [uploaded["media_key"]]}
    assert looked_up.body["includes"]["media"] == [{"media_key": uploaded["media_key"], "type": "photo"}]


async def test_multipart_uploads_work_in_both_versions(shop: Shop) -> None:
    new = await multipart(shop, "/2/media/upload", PNG, media_category="dm_image")
    assert (new.status, new.body["data"]["size"]) == (200, len(PNG))
    old = await multipart(shop, "/1.1/media/upload.json", PNG, media_category="dm_image")
    assert (old.status, old.body["size"]) == (200, len(PNG))
    attachment = {"type": "media", "media": {"id": old.body["media_id_string"]}}
    sent = await shop.call("POST", NEW, old_style("look", attachment=attachment))
    assert sent.status == 200
    assert sent.body["event"]["message_create"]["message_data"]["attachment"]["media"]["type"] == "photo"


async def test_a_video_is_uploaded_in_segments_and_must_be_processed_first(shop: Shop) -> None:
    begun = {"media_type": "video/mp4", "total_bytes": 10, "media_category": "dm_video"}
    media_id = (await shop.call("POST", "/2/media/upload/initialize", begun)).body["data"]["id"]
    path = f"/2/media/upload/{media_id}"
    for index in range(2):
        assert (await multipart(shop, f"{path}/append", b"12345", segment_index=str(index))).status == 200
    finished = await shop.call("POST", f"{path}/finalize")
    assert finished.body["data"]["processing_info"]["state"] == "pending"
    assert (await attach(shop, media_id)).status == 400
    states = []
    for _ in range(2):
        status = await shop.call("GET", f"/2/media/upload?command=STATUS&media_id={media_id}")
        states.append(status.body["data"]["processing_info"]["state"])
    assert states == ["in_progress", "succeeded"]
    assert (await attach(shop, media_id)).status == 201


async def test_the_commands_of_the_old_api_upload_in_segments(shop: Shop) -> None:
    path = "/1.1/media/upload.json"
    query = "command=INIT&total_bytes=5&media_type=image/gif&media_category=dm_gif"
    media_id = (await shop.call("POST", f"{path}?{query}")).body["media_id_string"]
    added = await multipart(shop, path, b"12345", command="APPEND", media_id=media_id, segment_index="0")
    assert added.status == 204
    finished = await shop.call("POST", f"{path}?command=FINALIZE&media_id={media_id}")
    assert finished.body["processing_info"]["state"] == "pending"
    status = await shop.call("GET", f"{path}?command=STATUS&media_id={media_id}")
    assert status.body["processing_info"]["state"] == "in_progress"


async def test_media_for_posts_is_not_permitted_in_messages(shop: Shop) -> None:
    media_id = (await upload(shop, "tweet_image")).body["data"]["id"]
    refused = await attach(shop, media_id)
    assert refused.status == 403
    assert refused.body["detail"] == "You are not permitted to attach this media to a DM event."


async def test_another_accounts_media_can_not_be_attached(shop: Shop) -> None:
    await shop.control("POST", "accounts", {"id": "101"})
    media_id = (await upload(shop)).body["data"]["id"]
    assert (await attach(Shop(shop.base, shop.http, account_id="101"), media_id)).status == 400
    assert (await attach(shop, media_id)).status == 201


@pytest.mark.parametrize(
    "begun",
    [
        {"media_type": "image/png", "total_bytes": 5 * 1024 * 1024 + 1, "media_category": "dm_image"},
        {"media_type": "image/gif", "total_bytes": 15 * 1024 * 1024 + 1, "media_category": "dm_gif"},
        {"media_type": "video/mp4", "total_bytes": 512 * 1024 * 1024 + 1, "media_category": "dm_video"},
        {"media_type": "video/mp4", "total_bytes": 5, "media_category": "dm_image"},
        {"media_type": "image/png", "total_bytes": 0, "media_category": "dm_image"},
        {"media_type": "image/png", "total_bytes": 5, "media_category": "dm_sticker"},
    ],
)
async def test_too_large_or_mismatched_media_is_refused(shop: Shop, begun: dict[str, Any]) -> None:
    assert (await shop.call("POST", "/2/media/upload/initialize", begun)).status == 400


async def test_an_upload_with_missing_bytes_is_not_finished(shop: Shop) -> None:
    begun = {"media_type": "image/png", "total_bytes": 10, "media_category": "dm_image"}
    media_id = (await shop.call("POST", "/2/media/upload/initialize", begun)).body["data"]["id"]
    await multipart(shop, f"/2/media/upload/{media_id}/append", b"12345", segment_index="0")
    assert (await shop.call("POST", f"/2/media/upload/{media_id}/finalize")).status == 400
    over = await multipart(shop, f"/2/media/upload/{media_id}/append", b"123456", segment_index="1")
    assert over.status == 400


async def test_media_goes_with_choices_and_is_shown_with_the_message(shop: Shop) -> None:
    uploaded = (await upload(shop)).body["data"]
    attachment = {"type": "media", "media": {"id": uploaded["id"]}}
    choices = {"type": "options", "options": [{"label": "Red", "metadata": "r"}]}
    sent = await shop.call("POST", NEW, old_style("which?", attachment=attachment, quick_reply=choices))
    assert sent.status == 200
    async with shop.http.get(f"{shop.base}/sandbox/messages?sender=100") as response:
        (shown,) = (await response.json())["messages"]
    assert shown["media"] == {"id": uploaded["id"], "type": "photo"}
    assert shown["quick_reply"] == choices


async def test_the_stand_in_of_example_sites_knows_orders(shop: Shop) -> None:
    orders = f"{shop.base}/sandbox/web/orders"
    async with shop.http.get(f"{orders}/12345") as response:
        shipped = {"orderId": "12345", "status": "shipped", "shippedOn": "January 15", "expectedOn": "January 20"}
        assert (response.status, await response.json()) == (200, shipped)
    async with shop.http.get(f"{orders}/4") as response:
        assert (response.status, await response.json()) == (200, {"orderId": "4", "status": "processing"})
    async with shop.http.get(f"{orders}/3") as response:
        assert response.status == 404


async def test_the_stand_in_of_example_sites_takes_webhooks(shop: Shop) -> None:
    async with shop.http.post(f"{shop.base}/sandbox/web/webhooks/mktx", json={"type": "webhook.test"}) as response:
        assert response.status == 204


@pytest.mark.parametrize(
    ("path", "content_type", "beginning"),
    [
        ("tracking.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("a/b.JPG", "image/jpeg", b"\xff\xd8\xff"),
        ("wave.gif", "image/gif", b"GIF89a"),
        ("clip.mp4", "video/mp4", b"\x00\x00\x00\x18ftyp"),
        ("", "text/html", b"<!doctype html>"),
    ],
)
async def test_the_stand_in_of_example_sites_has_a_file_of_every_kind(
    shop: Shop, path: str, content_type: str, beginning: bytes
) -> None:
    async with shop.http.get(f"{shop.base}/sandbox/web/{path}") as response:
        assert (response.status, response.content_type) == (200, content_type)
        assert (await response.read()).startswith(beginning)
