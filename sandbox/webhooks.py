"""Webhooks of the app: their addresses, the challenge (CRC) and what makes them valid.

Source: X's webhook introduction and quickstart. One rule is relaxed because this is a sandbox: beside
`https` without a port, a loopback `http` address with a port is taken.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import random
import secrets
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from sandbox.body import JsonObject, as_object
from sandbox.clock import MINUTE_MS, Clock, millis, rfc3339
from sandbox.problems import webhook_refusal

LONGEST_URL = 200
#: A webhook stays valid that long after its last good answer, where it is merely not to be reached.
GRACE_MS = 28 * 60 * MINUTE_MS


@dataclass(slots=True)
class Webhook:
    """One registered address."""

    id: str
    url: str
    valid: bool
    created_ms: int
    validated_ms: int

    def v2(self) -> JsonObject:
        """Return the webhook as v2 shows it."""
        return {"id": self.id, "url": self.url, "valid": self.valid, "created_at": rfc3339(self.created_ms)}


def sign(consumer_secret: str, content: bytes) -> str:
    """Return `sha256=<base64 HMAC-SHA256>`, X's signature of deliveries and the answer to its challenge."""
    digest = hmac.digest(consumer_secret.encode(), content, "sha256")
    return "sha256=" + binascii.b2a_base64(digest, newline=False).decode()


def check_url(url: str) -> None:
    """Refuse an address that X would not take.

    Raises:
        Refusal: 400 UrlValidationFailed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise webhook_refusal("UrlValidationFailed", "the URL can't be read.") from None
    if not parts.hostname or len(url) > LONGEST_URL:
        raise webhook_refusal("UrlValidationFailed", f"a URL of at most {LONGEST_URL} characters is needed.")
    if _is_loopback(parts.hostname) and parts.scheme in ("http", "https"):
        return
    if parts.scheme != "https" or port is not None:
        raise webhook_refusal("UrlValidationFailed", "the URL must use https and must not name a port.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Challenger:
    """Asks webhooks to prove that they know the consumer secret."""

    def __init__(self, *, consumer_secret: str, clock: Clock, deadline_s: float, draw: random.Random) -> None:
        self._consumer_secret = consumer_secret
        self._clock = clock
        self._deadline = aiohttp.ClientTimeout(total=deadline_s)
        self._draw = draw

    async def ask(self, session: aiohttp.ClientSession, url: str) -> Literal["right", "wrong", "unreachable"]:
        """Send one challenge: `wrong` for another answer (or a redirect), `unreachable` for 4xx, 5xx and no answer."""
        token = binascii.b2a_base64(self._draw.randbytes(24), newline=False).decode()
        address = URL(url).update_query(crc_token=token, nonce=secrets.token_hex(8))
        try:
            async with session.get(address, timeout=self._deadline, allow_redirects=False) as response:
                status, raw = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError):
            return "unreachable"
        if status >= 400:  # noqa: PLR2004 - HTTP's own boundary
            return "unreachable"
        expected = sign(self._consumer_secret, token.encode())
        try:
            answered = as_object(orjson.loads(raw)).get("response_token")
        except orjson.JSONDecodeError:
            return "wrong"
        good = isinstance(answered, str) and hmac.compare_digest(answered.encode(), expected.encode())
        return "right" if status == 200 and good else "wrong"  # noqa: PLR2004 - HTTP's own code

    async def revalidate(self, session: aiohttp.ClientSession, webhook: Webhook) -> bool:
        """Challenge a webhook and set `valid` as X does: a wrong answer at once, no answer only after 28 hours."""
        outcome = await self.ask(session, webhook.url)
        now = millis(self._clock)
        if outcome == "right":
            webhook.valid, webhook.validated_ms = True, now
        elif outcome == "wrong" or now - webhook.validated_ms > GRACE_MS:
            webhook.valid = False
        return webhook.valid
