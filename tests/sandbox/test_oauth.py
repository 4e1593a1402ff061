"""Who may call: OAuth 1.0a signatures and the bearer token, over real HTTP."""

from __future__ import annotations

import time

import aiohttp
import pytest
import tweepy.asynchronous
from tweepy.errors import Unauthorized
from yarl import URL

from tests.sandbox.shop import KEY, SECRET, Shop


async def test_a_signed_request_is_answered_for_the_owner_of_the_token(shop: Shop) -> None:
    answer = await shop.call("GET", "/2/users/me?user.fields=profile_image_url")
    assert answer.status == 200
    assert answer.body["data"]["id"] == "100"
    assert answer.body["data"]["username"] == "goodgo_shop"
    assert answer.body["data"]["profile_image_url"].startswith("https://")


async def test_tweepy_pointed_here_by_a_middleware_is_understood(shop: Shop) -> None:
    async def here(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.url = URL(shop.base).join(request.url.relative())
        return await handler(request)

    async with aiohttp.ClientSession(middlewares=(here,)) as session:
        client = tweepy.asynchronous.AsyncClient(
            consumer_key=KEY,
            consumer_secret=SECRET,
            access_token="sandbox-token-100",
            access_token_secret="sandbox-secret-100",
        )
        client.session = session
        me = await client.get_me(user_fields=["created_at", "name"])
        assert me.data.id == 100
        sent = await client.create_direct_message(participant_id="200", text="hé & ü")
        assert sent.data["dm_conversation_id"] == "100-200"
        listed = await client.get_direct_message_events(dm_event_fields=["sender_id", "text"], max_results=5)
        assert [event.text for event in listed.data] == ["hé & ü"]
        client.access_token_secret = "another"
        with pytest.raises(Unauthorized):
            await client.get_me()


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_secret": "another"},
        {"resource_owner_secret": "another"},
        {"client_key": "another"},
        {"resource_owner_key": "another"},
        {"timestamp": str(int(time.time()) - 301 - 60)},
        {"signature_method": "PLAINTEXT"},
    ],
)
async def test_a_wrong_signature_is_refused_with_401(shop: Shop, wrong: dict[str, str]) -> None:
    path = "/2/users/me"
    async with shop.http.get(shop.base + path, headers=shop.signed("GET", path, **wrong)) as response:
        assert response.status == 401
        assert await response.json() == {
            "title": "Unauthorized",
            "detail": "Unauthorized",
            "type": "about:blank",
            "status": 401,
        }


async def test_a_signature_covers_method_path_query_and_host(shop: Shop) -> None:
    headers = [
        shop.signed("POST", "/2/users/me"),
        shop.signed("GET", "/2/users/me?user.fields=name"),
        shop.signed("GET", "/2/users/me/"),
        Shop("http://elsewhere.test", shop.http).signed("GET", "/2/users/me"),
    ]
    for signed in headers:
        async with shop.http.get(shop.base + "/2/users/me", headers=signed) as response:
            assert response.status == 401


async def test_a_nonce_works_once(shop: Shop) -> None:
    signed = shop.signed("GET", "/2/users/me")
    async with shop.http.get(shop.base + "/2/users/me", headers=signed) as first:
        assert first.status == 200
    async with shop.http.get(shop.base + "/2/users/me", headers=signed) as second:
        assert second.status == 401


async def test_an_old_api_answers_with_numbered_errors(shop: Shop) -> None:
    path = "/1.1/direct_messages/events/list.json"
    codes = []
    for changes in ({"client_secret": "another"}, {"resource_owner_key": "another"}, {"timestamp": "1"}):
        async with shop.http.get(shop.base + path, headers=shop.signed("GET", path, **changes)) as response:
            assert response.status == 401
            codes.append((await response.json())["errors"][0]["code"])
    assert codes == [32, 89, 135]


async def test_no_or_a_wrong_bearer_token_is_refused(shop: Shop) -> None:
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "Basic abc"}):
        async with shop.http.get(f"{shop.base}/2/webhooks", headers=headers) as response:
            assert response.status == 401


async def test_the_bearer_token_can_not_send_messages(shop: Shop) -> None:
    answer = await shop.call("POST", "/2/dm_conversations/with/200/messages", {"text": "hi"}, app=True)
    assert answer.status == 403
    assert answer.body["title"] == "Unsupported Authentication"


async def test_an_invalidated_token_is_dead_until_the_account_is_added_again(shop: Shop) -> None:
    ended = await shop.call("POST", "/1.1/oauth/invalidate_token.json")
    assert ended.status == 200
    assert (await shop.call("GET", "/2/users/me")).status == 401
    await shop.control("POST", "accounts", {"id": "100"})
    assert (await shop.call("GET", "/2/users/me")).status == 200


async def test_every_added_account_has_its_own_token(shop: Shop) -> None:
    added = await shop.control("POST", "accounts", {"ids": ["101", "102"]})
    assert added["accounts"][0]["token"] == "sandbox-token-101"
    second = Shop(shop.base, shop.http, account_id="102")
    assert (await second.call("GET", "/2/users/me")).body["data"]["id"] == "102"
