"""The clients and the rules for webhooks against the simulated X, which was written apart from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import orjson
import pytest
from aiohttp import web
from pydantic import SecretStr

from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from actors.clients.x_transport import XApiError
from config.settings import Settings
from domain.clock import SystemClock
from domain.events import EventKind, XEvent
from domain.message_matching import same_text
from domain.outgoing_content import OutgoingContent
from domain.templates import Button, QuickReply
from domain.x_errors import FailureKind
from domain.x_normalise import normalise
from domain.x_signature import crc_answer, is_signed
from sandbox.server import running
from sandbox.world import World
from tests.actors.clients.media import media_file
from tests.serving import serving

KEY, SECRET, BEARER = "key", "consumer-secret", "bearer"


@dataclass
class Webhook:
    """A receiver that answers challenges, checks signatures and normalises what comes."""

    url: str = ""
    events: asyncio.Queue[XEvent] = field(default_factory=asyncio.Queue)

    async def challenge(self, request: web.Request) -> web.Response:
        return web.json_response({"response_token": crc_answer(SECRET.encode(), request.query["crc_token"])})

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not is_signed(body, request.headers.get("x-twitter-webhooks-signature"), [SECRET.encode()]):
            return web.Response(status=401)
        for event in normalise(orjson.loads(body), datetime.now(UTC)):
            self.events.put_nowait(event)
        return web.Response()

    async def next(self, kind: EventKind) -> XEvent:
        while True:
            event = await asyncio.wait_for(self.events.get(), 60)
            if event.kind is kind:
                return event


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    webhook = Webhook()
    async with serving(web.get("/hook", webhook.challenge), web.post("/hook", webhook.take)) as origin:
        webhook.url = f"{origin}/hook"
        yield webhook


@pytest.fixture
async def world() -> World:
    world = World(consumer_key=KEY, consumer_secret=SECRET, bearer_token=BEARER, time_scale=0.001)
    world.add_customer("200", username="ann_x", name="Ann")
    return world


@pytest.fixture
async def app(world: World, session: aiohttp.ClientSession) -> AsyncIterator[XApp]:
    async with running(world) as url:
        settings = Settings(
            x_api_base_url=url,
            x_consumer_key=KEY,
            x_consumer_secret=SecretStr(SECRET),
            x_bearer_token=SecretStr(BEARER),
        )
        yield XApp(settings, session, SystemClock())


@pytest.fixture
def client(app: XApp) -> XClient:
    return app.client_for("sandbox-token-100", "sandbox-secret-100")


async def test_the_accounts_name_is_read(client):
    user = await client.me()

    assert user.id == "100"
    assert user.username


async def test_what_is_sent_is_found_in_the_list_of_messages(client):
    sent = await client.send_message("200", OutgoingContent("Hello & 世界"))

    (found,) = await client.messages_with("200", 5)

    assert (found.id, found.sender_id, found.text) == (sent.event_id, "100", "Hello & 世界")
    assert found.created_at is not None
    assert sent.conversation_id == "100-200"
    assert sent.headers.quarter_hour is not None


async def test_choices_and_buttons_are_sent(client):
    sent = await client.send_message(
        "200",
        OutgoingContent(
            "Which?",
            options=(QuickReply("Red", metadata="r"),),
            buttons=(Button("Open", "https://shop.example"),),
        ),
    )

    assert [message.id for message in await client.messages_with("200", 5)] == [sent.event_id]


@pytest.mark.parametrize(
    ("size", "media_type", "category"),
    [(1000, "image/png", "dm_image"), (2_500_000, "image/png", "dm_image"), (2_500_000, "video/mp4", "dm_video")],
)
async def test_media_is_uploaded_and_sent(client, monkeypatch, size, media_type, category):
    monkeypatch.setattr("actors.clients.x_media._LONGEST_PAUSE_S", 0.0)

    media_id = await client.upload_media(media_file(bytes(size), media_type, category))

    assert (await client.send_message("200", OutgoingContent("look", media_id))).event_id


async def test_a_message_to_nobody_is_the_recipients_failure(client):
    with pytest.raises(XApiError) as refused:
        await client.send_message("999999", OutgoingContent("hi"))

    assert refused.value.failure.kind is FailureKind.RECIPIENT


async def test_a_wrong_secret_is_refused(app):
    with pytest.raises(XApiError) as refused:
        await app.client_for("sandbox-token-100", "wrong").me()

    assert refused.value.failure.kind in {FailureKind.CONFIGURATION, FailureKind.ACCOUNT}


async def test_revoked_tokens_are_refused_from_then_on(client):
    await client.invalidate_token()

    with pytest.raises(XApiError, match="tokens_refused"):
        await client.me()


async def test_a_webhook_lives_from_registration_to_deletion(app, client, webhook):
    registered = await app.register_webhook(webhook.url)
    await app.subscribe(client, registered.id)
    await app.subscribe(client, registered.id)

    assert await app.webhooks() == [registered]
    assert await app.validate_webhook(registered.id)

    await app.unsubscribe("100", registered.id)
    await app.unsubscribe("100", registered.id)
    await app.delete_webhook(registered.id)
    assert await app.webhooks() == []


async def test_what_customers_and_the_shop_write_arrives_as_events(app, client, world, webhook):
    registered = await app.register_webhook(webhook.url)
    await app.subscribe(client, registered.id)

    written = world.say("200", "100", "Is it red?")
    event = await webhook.next(EventKind.MESSAGE)
    assert (event.key, event.for_user_id, event.participant_id) == (f"dm:100:{written.id}", "100", "200")
    assert event.data == {"twitterMessageId": written.id, "direction": "inbound", "text": "Is it red?"}
    assert event.profile["username"] == "ann_x"

    sent = await client.send_message("200", OutgoingContent("It is"))
    echo = await webhook.next(EventKind.MESSAGE)
    assert echo.key == f"dm:100:{sent.event_id}"
    assert (echo.data["direction"], echo.data["isEcho"], echo.participant_id) == ("outbound", True, "200")


async def test_the_echo_of_a_message_with_media_has_the_text_that_was_sent(app, client, webhook):
    registered = await app.register_webhook(webhook.url)
    await app.subscribe(client, registered.id)
    media_id = await client.upload_media(media_file(bytes(1000), "image/png", "dm_image"))

    sent = await client.send_message("200", OutgoingContent("look: https://shop.example/a", media_id))
    echo = await webhook.next(EventKind.MESSAGE)

    assert echo.data["twitterMessageId"] == sent.event_id
    assert [each["mediaId"] for each in echo.data["attachments"]] == [media_id]
    assert same_text("look: https://shop.example/a", echo.data["text"])
    assert not same_text("another", echo.data["text"])
    # The list that doubts are settled by shows the link of the media too.
    (listed,) = await client.messages_with("200", 5)
    assert same_text("look: https://shop.example/a", listed.text)
