"""Calls of addresses that strangers name: links of attachments, a flow's `http_request`, what a model asks for.

Only public addresses are called, by the rules of `domain/public_links.py`. A name is resolved once a hop, every answer
is checked, and the connection goes to the checked addresses themselves, so that a name server which answers otherwise
the next time changes nothing. Each hop has its own connection, no cookies, no proxy of the environment, and nothing of
ours in its headers. Bodies are never inflated: what is compressed is the caller's to refuse.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from config.settings import Settings
from domain.public_links import Link, checked_addresses, link_of, redirected

_USER_AGENT = "mktx"
_CHUNK_BYTES = 64 * 1024
_LARGEST_HEAD_LINE = 8 * 1024
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)

#: Names that are kept free for examples, and lead to nothing real (RFC 2606).
_EXAMPLES = ("example.com", "www.example.com", "example.org", "www.example.org", "example.net", "www.example.net")

#: Answers the addresses of a name, as text; an OSError where there are none.
Resolve = Callable[[str, int], Awaitable[list[str]]]


class FetchFailed(Exception):
    """A link could be followed, but nothing usable came of it; the text says why, fit for whoever gave the link."""


class Redirected(FetchFailed):
    """What was called led on and on, or further than it was to be followed."""


@dataclass(frozen=True, slots=True)
class SafeRequest:
    """One call: redirects are followed for GET alone, at most `redirects` of them."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout_s: float = 30.0
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class SafeAnswer:
    """An answer whose body is still to be read, inside the block that it belongs to."""

    status: int
    headers: Mapping[str, str]
    _response: aiohttp.ClientResponse

    @property
    def is_compressed(self) -> bool:
        """Whether the body is in another form than it was asked for."""
        return self.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}

    async def chunks(self, most_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body piece by piece, as it comes over the wire.

        Raises:
            FetchFailed: when it is longer than `most_bytes`, of which no more is read, or breaks off.
        """
        announced = self._response.content_length
        if announced is not None and announced > most_bytes:
            raise FetchFailed(_too_large(most_bytes))
        received = 0
        pieces = self._response.content.iter_chunked(_CHUNK_BYTES)
        while True:
            try:
                chunk = await anext(pieces, b"")
            except (aiohttp.ClientError, ConnectionError) as error:
                raise FetchFailed("broke off") from error
            if not chunk:
                return
            received += len(chunk)
            if received > most_bytes:
                raise FetchFailed(_too_large(most_bytes))
            yield chunk

    async def beginning(self, most_bytes: int) -> bytes:
        """Return the first bytes of the body, of which no more is read.

        Raises:
            FetchFailed: when it breaks off before.
        """
        received = b""
        while len(received) < most_bytes:
            try:
                chunk = await self._response.content.read(most_bytes - len(received))
            except (aiohttp.ClientError, ConnectionError) as error:
                raise FetchFailed("broke off") from error
            if not chunk:
                break
            received += chunk
        return received


async def system_resolve(host: str, port: int) -> list[str]:
    """Resolve a name as the machine does."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class SafeFetch:
    """Makes the calls; keeps nothing between them.

    `private_allowed` lets links lead anywhere, for tests and development. `stands_in` names hosts whose calls go to
    another server that is trusted, as the sandbox is.
    """

    def __init__(
        self,
        *,
        private_allowed: bool = False,
        resolve: Resolve = system_resolve,
        stands_in: Mapping[str, str] | None = None,
    ) -> None:
        self._private_allowed = private_allowed
        self._resolve = resolve
        self._stands_in = stands_in or {}

    def check(self, url: str) -> None:
        """Look at a link without following it, and without resolving its name.

        Raises:
            LinkRefused: when it may not be followed.
        """
        link_of(url, private_allowed=self._private_allowed)

    @asynccontextmanager
    async def open(self, request: SafeRequest) -> AsyncGenerator[SafeAnswer]:
        """Make a call, and give its answer while the block lasts; the time limit is that of the whole block.

        Raises:
            LinkRefused: when the link, or one that it redirects to, may not be followed.
            FetchFailed: when there was no whole answer in time; `Redirected` after too many redirects.
        """
        try:
            async with asyncio.timeout(request.timeout_s):
                link = link_of(request.url, private_allowed=self._private_allowed)
                for _ in range(request.redirects + 1):
                    async with self._call(link, request) as response:
                        location = response.headers.get("Location", "")
                        if request.method != "GET" or response.status not in _REDIRECTS or not location:
                            yield SafeAnswer(response.status, response.headers, response)
                            return
                    link = redirected(link, location, private_allowed=self._private_allowed)
                raise Redirected(f"redirects more than {request.redirects} times")
        except TimeoutError:
            raise FetchFailed("did not answer in time") from None

    @asynccontextmanager
    async def _call(self, link: Link, request: SafeRequest) -> AsyncGenerator[aiohttp.ClientResponse]:
        own = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
        address = link.url
        if link.host in self._stands_in:
            connector = aiohttp.TCPConnector(force_close=True)
            address = self._stands_in[link.host] + link.target
        else:
            resolver = _Pinned(await self._addresses(link))
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=_LARGEST_HEAD_LINE,
            max_field_size=_LARGEST_HEAD_LINE,
            # The limit is one for the whole call, redirects and body together.
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            try:
                response = await session.request(
                    request.method,
                    URL(address, encoded=True),
                    headers={**request.headers, **own},
                    data=request.body,
                    allow_redirects=False,
                )
            except (aiohttp.ClientError, OSError) as error:
                raise FetchFailed("could not be fetched") from error
            try:
                yield response
            finally:
                # What is left of the body is nobody's matter.
                response.close()

    async def _addresses(self, link: Link) -> list[str]:
        if link.address is not None:
            return [link.host]
        try:
            found = await self._resolve(link.host, link.port)
        except OSError:
            raise FetchFailed("has a host that can't be found") from None
        return [str(address) for address in checked_addresses(found, private_allowed=self._private_allowed)]


def safe_fetch_of(settings: Settings) -> SafeFetch:
    """Return what makes the calls under these settings."""
    examples = settings.example_sites_url
    return SafeFetch(
        private_allowed=settings.fetch_private_addresses,
        stands_in=dict.fromkeys(_EXAMPLES, examples) if examples else {},
    )


class _Pinned(AbstractResolver):
    """Answers one hop's checked addresses, and asks nobody again.

    aiohttp does not ask a resolver for a host that is an address; such a one was checked as part of the link.
    """

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses, whatever is asked for."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
            if family in {socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET}
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _too_large(most_bytes: int) -> str:
    return f"is larger than {most_bytes // (1024 * 1024)} MB" if most_bytes >= 1024 * 1024 else "is too large"
