"""A small server on loopback that plays X: checks every signature, remembers each call, answers what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

CONSUMER_KEY, CONSUMER_SECRET = "consumer", "consumer-secret&with=odd%chars"
TOKEN, TOKEN_SECRET = "100-token", "token-secret"
BEARER = "app-bearer"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Validator(RequestValidator):
    """Knows one app and one account; oauthlib itself computes and compares the signatures."""

    enforce_ssl = False
    client_key_length = access_token_length = (1, 100)
    nonce_length = (10, 100)
    dummy_client = dummy_access_token = "dummy"

    def check_client_key(self, client_key):
        return bool(client_key)

    def check_access_token(self, request_token):
        return bool(request_token)

    def validate_timestamp_and_nonce(
        self, client_key, timestamp, nonce, request, request_token=None, access_token=None
    ):
        return True

    def validate_client_key(self, client_key, request):
        return client_key == CONSUMER_KEY

    def validate_access_token(self, client_key, token, request):
        return token == TOKEN

    def validate_realms(self, client_key, token, request, uri=None, realms=None):
        return True

    def get_client_secret(self, client_key, request):
        return CONSUMER_SECRET

    def get_access_token_secret(self, client_key, token, request):
        return TOKEN_SECRET


def is_signed(request: web.Request) -> bool:
    if not request.headers.get("Authorization", "").startswith("OAuth "):
        return False
    # JSON and multipart bodies are no part of a signature, so the check is not shown them.
    headers = dict(request.headers) | {"Content-Type": "application/octet-stream"}
    url = f"http://{request.host}{request.raw_path}"
    valid, _ = ResourceEndpoint(Validator()).validate_protected_resource_request(url, request.method, None, headers)
    return valid


@dataclass
class Call:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    signed: bool


@dataclass
class XServer:
    """`answers` maps "METHOD /path" to a handler, or to a list of handlers used one after the other."""

    answers: dict[str, Handler | list[Handler]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Call(request.method, request.path, dict(request.query), headers, body, is_signed(request)))
        answer = self.answers[f"{request.method} {request.path}"]
        handler = answer.pop(0) if isinstance(answer, list) else answer
        return await handler(request)


def says(body: object = None, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return handler


def writes(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return handler


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Take the whole request and close the connection without a word."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def never_answers(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def breaks_off(status: int) -> Handler:
    """Send the head of an answer and a part of its body, then close the connection."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    return handler
