"""Descriptions of the API that never change while the program runs: made once, answered with an `ETag`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from config.settings import Settings
from gateway.answers import JSON
from gateway.docs_page import CONTENT_SECURITY_POLICY, render
from gateway.openapi import build
from gateway.openapi_by_hand import COLLECTION_PATHS, DOCS_PATHS, DOCUMENT_PATHS
from gateway.postman import collection
from gateway.routing import AnyRoute

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not bound
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Page:
    """Something that is answered as it is to everybody who asks."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def handler(self) -> Handler:
        """Return the server's handler of this page."""
        etag = f'"{sha256(self.body).hexdigest()[:32]}"'
        headers = {
            hdrs.ETAG: etag,
            hdrs.CACHE_CONTROL: "no-cache",
            "X-Content-Type-Options": "nosniff",
            **self.headers,
        }

        async def answer(request: web.Request) -> web.StreamResponse:
            if any(known.value in {etag.strip('"'), "*"} for known in request.if_none_match or ()):
                return web.Response(status=web.HTTPNotModified.status_code, headers=headers)
            return web.Response(body=self.body, content_type=self.content_type, charset="utf-8", headers=headers)

        return answer


def add_descriptions(app: web.Application, routes: Sequence[AnyRoute], settings: Settings) -> None:
    """Register the OpenAPI document, the page made from it and the Postman collection."""
    pages = _pages(tuple(routes), tuple(addresses(settings)), own_address(settings), is_simulated(settings))
    for paths, page in zip((DOCUMENT_PATHS, DOCS_PATHS, COLLECTION_PATHS), pages, strict=True):
        handler = page.handler()
        for path in paths:
            app.router.add_get(path, handler)


@cache
def _pages(routes: tuple[AnyRoute, ...], servers: tuple[str, ...], own: str, simulated: bool) -> tuple[Page, ...]:
    document = build(routes, servers)
    policy = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
    return (
        Page(orjson.dumps(document), JSON),
        Page(render(document).encode(), "text/html", policy),
        Page(orjson.dumps(collection(document, own, is_simulated=simulated)), JSON),
    )


def addresses(settings: Settings) -> list[str]:
    """Return where the API is found: the public address first, then this machine's own."""
    return list(dict.fromkeys(each for each in (settings.public_url, own_address(settings)) if each))


def own_address(settings: Settings) -> str:
    """Return where the API is found from this machine."""
    host = "127.0.0.1" if settings.host in _ALL_ADDRESSES else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def is_simulated(settings: Settings) -> bool:
    """Whether X is a server of this machine, where a message reaches no person."""
    return urlsplit(settings.x_api_base_url).hostname in _LOOPBACK
