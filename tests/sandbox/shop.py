"""A shop's side of the simulated X: a client that signs as tweepy's AsyncClient does, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from oauthlib.oauth1 import Client as OAuthClient

from sandbox.world import World
from tests.serving import serving

KEY, SECRET, BEARER = "key", "consumer-secret", "bearer"


def make_world(**changes: Any) -> World:
    settings: dict[str, Any] = {
        "consumer_key": KEY,
        "consumer_secret": SECRET,
        "bearer_token": BEARER,
        "customers": 3,
        "time_scale": 0.001,
    }
    return World(**{**settings, **changes})


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any


@dataclass
class Shop:
    """HTTP calls to the simulated X: with a shop's OAuth 1.0a token, or the app's bearer token."""

    base: str
    http: aiohttp.ClientSession
    account_id: str = "100"
    now: Callable[[], float] = time.time

    def signed(self, method: str, path: str, **changes: Any) -> dict[str, str]:
        given = {
            "client_secret": SECRET,
            "resource_owner_key": f"sandbox-token-{self.account_id}",
            "resource_owner_secret": f"sandbox-secret-{self.account_id}",
            "timestamp": str(int(self.now())),
            **changes,
        }
        _, headers, _ = OAuthClient(given.pop("client_key", KEY), **given).sign(self.base + path, method)
        return dict(headers)

    async def call(self, method: str, path: str, json: Any = None, *, app: bool = False, **more: Any) -> Answer:
        headers = {"Authorization": f"Bearer {BEARER}"} if app else self.signed(method, path)
        headers.update(more.pop("headers", {}))
        async with self.http.request(method, self.base + path, json=json, headers=headers, **more) as response:
            raw = await response.read()
            return Answer(response.status, response.headers, orjson.loads(raw) if raw else None)

    async def send(self, text: str, to: str = "200") -> Answer:
        return await self.call("POST", f"/2/dm_conversations/with/{to}/messages", {"text": text})

    async def control(self, method: str, path: str, json: Any = None) -> Any:
        async with self.http.request(method, f"{self.base}/sandbox/{path}", json=json) as response:
            body = orjson.loads(await response.read())
            assert response.status == 200, body
            return body

    async def fault(self, kind: str, **more: Any) -> Any:
        return await self.control("POST", "faults", {"kind": kind, "match": "/dm_conversations/with/", **more})


@dataclass
class Receiver:
    """A webhook: answers challenges, checks signatures, keeps bodies; `answers` holds its next statuses."""

    url: str = ""
    secret: str = SECRET
    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    challenges: int = 0
    challenge_status: int = 200
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.hold.set()

    async def challenge(self, request: web.Request) -> web.Response:
        await self.hold.wait()
        async with self.came:
            self.challenges += 1
            self.came.notify_all()
        digest = hmac.new(self.secret.encode(), request.query["crc_token"].encode(), hashlib.sha256).digest()
        token = "sha256=" + base64.b64encode(digest).decode()
        return web.json_response({"response_token": token}, status=self.challenge_status)

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        digest = hmac.new(SECRET.encode(), raw, hashlib.sha256).digest()
        assert request.headers["x-twitter-webhooks-signature"] == "sha256=" + base64.b64encode(digest).decode()
        assert request.content_type == "application/json"
        await self.hold.wait()
        async with self.came:
            self.bodies.append(orjson.loads(raw))
            self.came.notify_all()
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def wait_until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        async with self.came:
            await asyncio.wait_for(self.came.wait_for(lambda: enough(self.bodies)), 30)
        return self.bodies

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        return await self.wait_until(lambda bodies: len(bodies) >= count)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with serving(web.get("/hook", receiver.challenge), web.post("/hook", receiver.take)) as origin:
        receiver.url = f"{origin}/hook"
        yield receiver
        receiver.hold.set()


async def register(shop: Shop, receiver: Receiver) -> str:
    """Register the receiver and subscribe the shop by Account Activity; return the webhook's id."""
    created = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    assert created.status == 200, created.body
    webhook_id = str(created.body["data"]["id"])
    subscribed = await shop.call("POST", f"/2/account_activity/webhooks/{webhook_id}/subscriptions/all")
    assert subscribed.body == {"data": {"subscribed": True}}
    return webhook_id
