"""OAuth 1.0a (RFC 5849) and the app's bearer token, checked as X checks them.

The signature is verified over the address as the client named it: the `Host` header with either scheme, because a
client that was pointed here by rewriting (tweepy's only way) signs the `https` address that it believes it calls.
"""

from __future__ import annotations

import binascii
import hmac
import re
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web
from oauthlib.oauth1.rfc5849 import signature
from oauthlib.oauth1.rfc5849.utils import escape

from sandbox.clock import Clock, millis
from sandbox.people import AccessToken, People

#: How far a request's timestamp may be from X's clock.
TIMESTAMP_TOLERANCE_MS = 300_000
_FORM = "application/x-www-form-urlencoded"
_FIELD = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
_DIGESTS = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}


class NotAuthenticated(Exception):
    """The credentials do not hold; `code` is X's v1.1 error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class AppOnly:
    """The caller is the app itself (bearer token)."""


class Authenticator:
    """Checks the `Authorization` header of requests for one X app."""

    def __init__(
        self, *, consumer_key: str, consumer_secret: str, bearer_token: str, people: People, clock: Clock
    ) -> None:
        self._consumer_key = consumer_key
        self._consumer_secret = consumer_secret
        self._bearer_token = bearer_token
        self._people = people
        self._clock = clock
        self._nonces: set[tuple[str, str, str]] = set()
        self._nonce_order: deque[tuple[int, tuple[str, str, str]]] = deque()

    async def check(self, request: web.Request) -> AccessToken | AppOnly:
        """Return who calls: an access token, or the app.

        Raises:
            NotAuthenticated: 32 for missing or wrong credentials, 89 for an unknown or revoked token, 135 for a
                timestamp over five minutes off.
        """
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if hmac.compare_digest(unquote(rest.strip()).encode(), unquote(self._bearer_token).encode()):
                return AppOnly()
            raise NotAuthenticated(32)
        if scheme.lower() != "oauth":
            raise NotAuthenticated(32)
        return await self._check_oauth1(request, {k: unquote(v) for k, v in _FIELD.findall(rest)})

    async def _check_oauth1(self, request: web.Request, given: dict[str, str]) -> AccessToken:
        if given.get("oauth_consumer_key") != self._consumer_key:
            raise NotAuthenticated(32)
        token = self._people.token(given.get("oauth_token", ""))
        if token is None or token.revoked:
            raise NotAuthenticated(89)
        digest = _DIGESTS.get(given.get("oauth_signature_method", ""))
        if digest is None or not given.get("oauth_timestamp", "").isdecimal() or not given.get("oauth_nonce"):
            raise NotAuthenticated(32)
        if abs(int(given["oauth_timestamp"]) * 1000 - millis(self._clock)) > TIMESTAMP_TOLERANCE_MS:
            raise NotAuthenticated(135)
        body = (await request.read()).decode("utf-8", "replace") if request.content_type == _FORM else ""
        try:
            bases = base_strings(request, body)
        except ValueError:
            raise NotAuthenticated(32) from None
        key = f"{escape(self._consumer_secret)}&{escape(token.secret)}".encode()
        sent = given.get("oauth_signature", "").encode()
        if not any(hmac.compare_digest(_sign(key, base, digest), sent) for base in bases):
            raise NotAuthenticated(32)
        self._use_nonce((given["oauth_nonce"], given["oauth_timestamp"], token.token))
        return token

    def _use_nonce(self, nonce: tuple[str, str, str]) -> None:
        now = millis(self._clock)
        # a nonce older than twice the tolerance can't come with an acceptable timestamp any more
        while self._nonce_order and self._nonce_order[0][0] < now - 2 * TIMESTAMP_TOLERANCE_MS:
            self._nonces.discard(self._nonce_order.popleft()[1])
        if nonce in self._nonces:
            raise NotAuthenticated(32)
        self._nonces.add(nonce)
        self._nonce_order.append((now, nonce))


def base_strings(request: web.Request, form_body: str) -> list[str]:
    """Return the signature base strings that a client may have signed for `request`: over http and over https.

    Raises:
        ValueError: the query or the form holds characters that should have been percent-encoded.
    """
    query = request.rel_url.raw_query_string
    pairs = signature.collect_parameters(
        uri_query=query,
        body=form_body,
        headers={"Authorization": request.headers["Authorization"]},
        exclude_oauth_signature=True,
        with_realm=False,
    )
    parameters = signature.normalize_parameters(pairs)
    path = request.rel_url.raw_path
    return [
        signature.signature_base_string(
            request.method, signature.base_string_uri(f"{scheme}://{request.host}{path}"), parameters
        )
        for scheme in ("https", "http")
    ]


def _sign(key: bytes, base: str, digest: str) -> bytes:
    return binascii.b2a_base64(hmac.digest(key, base.encode(), digest), newline=False)


def claimed_token(request: web.Request) -> str:
    """Return the access token that a request names, unchecked; empty when it names none."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    return dict(_FIELD.findall(rest)).get("oauth_token", "") if scheme.lower() == "oauth" else ""
