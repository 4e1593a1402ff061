"""Messages with attachments, quick replies and buttons: the gateway, the account's actor and the simulated X."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from actors.account import AccountActor
from actors.attachments import Attachments
from actors.clients.safe_fetch import SafeFetch
from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from actors.clients.x_transport import open_session
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from domain.clock import SystemClock
from domain.ids import new_id
from domain.outgoing_content import LinkAttachment, UploadedMedia
from gateway.dependencies import Dependencies
from gateway.openapi_examples import REQUESTS
from sandbox.messages import DirectMessage
from sandbox.server import running
from sandbox.world import World
from storage.accounts import Identity, Tokens
from storage.client import Database
from tests.actors.clients.media import GIF, PNG
from tests.actors.clients.web_server import Site, serving_site
from tests.actors.desk import account_services
from tests.gateway.conftest import Actors, Api, eventually, serve
from tests.gateway.x_server import XState

CUSTOMER = "200"
UPLOAD = "POST /2/media/upload"
SEED = {
    "content": "Your order #12345 has been shipped!",
    "type": "text",
    "attachments": [{"type": "image", "url": "https://example.com/tracking.png"}],
}


@dataclass
class RealActors(Actors):
    """As the stand-in, but an account's messages are delivered by its actor."""

    local: LocalActors | None = None

    def ref(self, kind: type[Any], key: str, *, timeout_s: float | None = None) -> Any:
        if kind is AccountActor and self.local is not None:
            return self.local.ref(kind, key, timeout_s=timeout_s)
        return super().ref(kind, key, timeout_s=timeout_s)


@dataclass
class Shop:
    """A merchant whose account is connected to a simulated X, and a site that links lead to."""

    api: Api
    world: World
    site: Site
    shop_id: str
    account_id: str
    conversation_id: str

    async def send(self, body: object, query: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
        return await self.api.post(f"/conversations/{self.conversation_id}/messages{query}", body, **more)

    async def listed(self) -> list[dict[str, Any]]:
        _, answer = await self.api.get(f"/conversations/{self.conversation_id}/messages")
        listed: list[dict[str, Any]] = answer["data"]
        return listed

    def in_x(self) -> list[DirectMessage]:
        return [message for message in self.world.messages.all if message.sender_id == self.shop_id]

    def uploads(self) -> int:
        return self.world.requests[UPLOAD]


@pytest.fixture
async def shop(deps: Dependencies, gateway_database: Database) -> AsyncIterator[Shop]:
    shop_id, account_id, merchant_id, clock = str(uuid4().int)[:15], new_id(), new_id(), SystemClock()
    world = World(
        consumer_key=deps.settings.x_consumer_key,
        consumer_secret=deps.settings.x_consumer_secret.get_secret_value(),
        bearer_token=deps.settings.x_bearer_token.get_secret_value(),
        account_id=shop_id,
        customers=0,
    )
    world.add_customer(CUSTOMER)
    async with running(world) as url, open_session() as session, serving_site() as site:
        settings = deps.settings.model_copy(update={"x_api_base_url": url})
        fetch = SafeFetch(private_allowed=True, stands_in={"example.com": f"{url}/sandbox/web"})
        x, attachments = XApp(settings, session, clock), Attachments(settings, clock, fetch)
        services = account_services(
            settings, gateway_database.client, gateway_database, session, epoch=1, attachments=attachments
        )
        host = ActorHost({AccountActor.kind: lambda key: AccountActor(key, services)})
        actors = RealActors(gateway_database, local=LocalActors(host))
        own = replace(deps, settings=settings, x=x, attachments=attachments, actors=actors)
        tokens = Tokens(f"sandbox-token-{shop_id}", f"sandbox-secret-{shop_id}")
        identity = Identity(shop_id, "shop", "Shop", None)
        await own.repositories.accounts.connect(
            merchant_id, account_id, identity, tokens, webhook_id="1", defaults={}, now=clock.now()
        )
        async with serve(own) as http:
            api = Api(http, gateway_database, merchant_id, new_id(), ["owner"], own)
            contact_id = await api.contact(account_id)
            conversation_id = await api.conversation(account_id, contact_id, twitterUserId=CUSTOMER)
            yield Shop(api, world, site, shop_id, account_id, conversation_id)
        await host.stop(0.1)


async def test_the_api_document_s_own_example_is_sent_with_its_picture(shop: Shop) -> None:
    status, answer = await shop.send(SEED)
    assert status == 200, answer
    (sent,) = shop.in_x()
    data = answer["data"]
    assert data["twitterMessageId"] == sent.id
    assert (data["conversationId"], data["direction"], data["type"]) == (shop.conversation_id, "outbound", "text")
    assert (data["content"], data["status"]) == (SEED["content"], "sent")
    assert sent.media is not None
    shown = [{"type": "image", "url": "https://example.com/tracking.png", "mediaId": sent.media["id"]}]
    assert data["attachments"] == shown
    assert [each["attachments"] for each in await shop.listed()] == [shown]
    _, conversation = await shop.api.get(f"/conversations/{shop.conversation_id}")
    assert [each["attachments"] for each in conversation["data"]["messages"]] == [shown]


async def test_the_example_of_the_api_description_can_be_sent(api: Api, x_state: XState) -> None:
    token = new_id()
    x_state.register(token, str(uuid4().int)[:15], "goodgo_shop")
    _, connected = await api.post("/accounts", {"oauthToken": token, "oauthTokenSecret": "secret"})
    account_id = connected["data"]["id"]
    conversation_id = await api.conversation(account_id, await api.contact(account_id))
    example = REQUESTS["POST", "/conversations/{conversationId}/messages"]
    assert example == SEED
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", example)
    assert (status, answer["data"]["attachments"][0]["mediaId"]) == (200, "77")


@pytest.mark.parametrize(("type_", "content", "in_x"), [("image", PNG, "photo"), ("gif", GIF, "animated_gif")])
async def test_what_a_link_leads_to_goes_with_the_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, type_: str, content: bytes, in_x: str
) -> None:
    monkeypatch.setattr("actors.clients.x_media._LONGEST_PAUSE_S", 0.0)
    link = {"type": type_, "url": shop.site.put("/file", content)}
    status, _ = await shop.send({"content": "look", "attachments": [link]})
    (sent,) = shop.in_x()
    assert (status, sent.media and sent.media["type"]) == (200, in_x)


@pytest.mark.parametrize(
    ("path", "type_", "field"),
    [
        ("/nothing.png", "image", "attachments.0.url"),
        ("/page.png", "image", "attachments.0.url"),
        ("/bomb", "image", "attachments.0.url"),
        ("/inside", "image", "attachments.0.url"),
        ("/file.gif", "image", "attachments.0.type"),
    ],
)
async def test_a_link_that_can_not_be_sent_is_a_wrong_field_and_nothing_is_kept(
    shop: Shop, path: str, type_: str, field: str
) -> None:
    shop.site.put("/page.png", b"<!doctype html><title>Sign in</title>")
    shop.site.put("/file.gif", GIF)
    shop.site.redirects["/inside"] = "file:///etc/passwd"
    status, answer = await shop.send({"content": "look", "attachments": [{"type": type_, "url": shop.site.url + path}]})
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", field)
    assert (await shop.listed(), shop.in_x(), shop.uploads()) == ([], [], 0)


@pytest.mark.parametrize("query", ["", "?wait=false"])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a.png", "http://169.254.169.254/latest/meta-data", "http://0x7f.1/", "ftp://example.com/"]
)
async def test_only_the_public_web_is_fetched_from(api: Api, actors: Actors, url: str, query: str) -> None:
    conversation_id = await api.dialogue()
    body = {"content": "look", "attachments": [{"type": "image", "url": url}]}
    status, answer = await api.post(f"/conversations/{conversation_id}/messages{query}", body)
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", "attachments.0.url")
    assert actors.calls == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"attachments": SEED["attachments"] * 2}, "attachments"),
        ({"attachments": {}}, "attachments"),
        ({"attachments": [{"type": "image"}]}, "attachments.0.url"),
        ({"attachments": [{"url": "https://example.com/a.png"}]}, "attachments.0.type"),
        ({"attachments": [{"type": "pdf", "url": "https://example.com/a.png"}]}, "attachments.0.type"),
        ({"attachments": [{"type": "image", "url": ""}]}, "attachments.0.url"),
        ({"attachments": [{"type": "image", "url": "https://example.com/" + "a" * 2048}]}, "attachments.0.url"),
        ({"attachments": [{"type": "image", "url": "https://e.example/", "mediaId": "1"}]}, "attachments.0.mediaId"),
        ({"type": "quick_reply"}, "options"),
        ({"type": "card"}, "buttons"),
        ({"options": [{"label": "Yes"}]}, "options"),
        ({"type": "quick_reply", "options": [{"label": "Yes"}] * 21}, "options"),
        ({"type": "quick_reply", "options": [{"label": ""}]}, "options.0.label"),
        ({"type": "card", "buttons": [{"label": "Open", "url": "javascript:alert(1)"}]}, "buttons.0.url"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(api: Api, actors: Actors, more: dict[str, Any], field: str) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/conversations/{conversation_id}/messages", {"content": "look", **more})
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", field)
    assert actors.calls == []


async def test_what_x_refuses_of_an_attachment_is_x_s_error_and_nothing_is_kept(shop: Shop) -> None:
    shop.world.faults.order({"kind": "error", "match": "/2/media/upload", "code": 324, "count": 1})
    status, answer = await shop.send(SEED)
    assert (status, answer["code"], answer["details"]["code"]) == (502, "TWITTER_API_ERROR", 324)
    assert (await shop.listed(), shop.in_x()) == ([], [])
    assert (await shop.send(SEED))[0] == 200


async def test_x_s_limit_on_uploads_is_a_limit(shop: Shop) -> None:
    shop.world.faults.order({"kind": "error", "match": "/2/media/upload", "error": "TooManyRequests", "count": 1})
    answer = await shop.api.answer("POST", f"/conversations/{shop.conversation_id}/messages", json=SEED)
    assert (answer.status, (await answer.json())["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(answer.headers["Retry-After"]) > 0
    assert shop.in_x() == []


async def test_without_waiting_the_account_s_actor_uploads(shop: Shop) -> None:
    status, answer = await shop.send(SEED, "?wait=false")
    assert (status, answer["data"]["status"]) == (200, "queued")
    assert answer["data"]["attachments"] == SEED["attachments"]
    await eventually(lambda: bool(shop.in_x()))
    assert shop.in_x()[0].media is not None
    assert shop.uploads() == 1


async def test_without_waiting_a_link_that_leads_to_nothing_fails_the_message(shop: Shop) -> None:
    link = {"type": "image", "url": f"{shop.site.url}/nothing.png"}
    status, _ = await shop.send({"content": "look", "attachments": [link]}, "?wait=false")
    assert status == 200
    async with asyncio.timeout(20):
        while (listed := await shop.listed())[0]["status"] != "failed":
            await asyncio.sleep(0.02)
    assert listed[0]["failure"]["reason"] == "attachment_refused"
    assert shop.in_x() == []


async def test_under_one_key_an_attachment_is_sent_once(shop: Shop) -> None:
    key = {"Idempotency-Key": new_id()}
    answers = [await shop.send(SEED, headers=key) for _ in range(3)]
    assert [status for status, _ in answers] == [200] * 3
    assert (len(shop.in_x()), shop.uploads(), len(await shop.listed())) == (1, 1, 1)


async def test_trouble_of_x_that_passes_is_not_the_answer_of_a_key_for_good(shop: Shop) -> None:
    shop.world.faults.order({"kind": "error", "match": "/2/media/upload", "error": "ServiceUnavailable", "count": 1})
    key = {"Idempotency-Key": new_id()}
    assert (await shop.send(SEED, headers=key))[0] == 502
    assert (await shop.send(SEED, headers=key))[0] == 200
    assert (len(shop.in_x()), len(await shop.listed())) == (1, 1)


async def test_an_account_without_tokens_uploads_nothing(shop: Shop) -> None:
    await shop.api.database["accounts"].update_one({"_id": shop.account_id}, {"$set": {"tokens": None}})
    status, _ = await shop.send(SEED)
    assert (status, shop.uploads(), await shop.listed()) == (409, 0, [])


@pytest.mark.parametrize(("change", "expected"), [({"status": "closed"}, 409), (None, 404)])
async def test_a_conversation_that_ends_during_an_upload_gets_no_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, change: dict[str, str] | None, expected: int
) -> None:
    upload, conversations = Attachments.upload, shop.api.database["conversations"]

    async def meanwhile(self: Attachments, link: LinkAttachment, client: XClient, merchant_id: str) -> UploadedMedia:
        uploaded = await upload(self, link, client, merchant_id)
        if change is None:
            await conversations.delete_one({"_id": shop.conversation_id})
        else:
            await conversations.update_one({"_id": shop.conversation_id}, {"$set": change})
        return uploaded

    monkeypatch.setattr(Attachments, "upload", meanwhile)
    status, _ = await shop.send(SEED)
    assert (status, shop.in_x()) == (expected, [])
    assert await shop.api.database["messages"].count_documents({"conversationId": shop.conversation_id}) == 0


async def test_quick_replies_are_sent_and_shown(shop: Shop) -> None:
    options = [{"label": "Red", "description": "A colour", "metadata": "r"}, {"label": "Blue", "description": "Too"}]
    body = {"content": "Which?", "type": "quick_reply", "options": options}
    status, answer = await shop.send(body)
    assert (status, answer["data"]["type"]) == (200, "quick_reply")
    assert answer["data"]["options"] == [options[0], {**options[1], "metadata": None}]
    (sent,) = shop.in_x()
    assert sent.quick_reply == {"type": "options", "options": options}


async def test_buttons_are_sent_with_a_picture_and_shown(shop: Shop) -> None:
    buttons = [{"label": "Track it", "url": "https://example.com/track"}]
    body = {**SEED, "type": "card", "buttons": buttons}
    status, answer = await shop.send(body)
    assert (status, answer["data"]["buttons"], answer["data"]["options"]) == (200, buttons, [])
    (sent,) = shop.in_x()
    assert [(button["label"], button["url"]) for button in sent.ctas] == [("Track it", "https://example.com/track")]
    assert sent.media is not None
