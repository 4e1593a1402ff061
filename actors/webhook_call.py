"""One try to deliver an event: signed, to a public https address, and nothing of the answer kept but its beginning."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Histogram

from actors.clients.safe_fetch import FetchFailed, SafeAnswer, SafeFetch, SafeRequest
from config.settings import Settings
from domain.flow_http import retry_after
from domain.public_links import LinkRefused
from domain.webhook_address import check_address
from domain.webhook_attempts import Verdict, verdict_on
from domain.webhook_signature import signed_headers
from storage.webhook_deliveries import AttemptDocument

SECONDS = Histogram(
    "mktx_outgoing_webhook_seconds",
    "Time from a delivery's request to its answer",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)

_KEPT_BYTES = 1024
_READ_S = 2.0


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent, and under which secrets."""

    webhook_id: str
    body: bytes
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a try."""

    verdict: Verdict
    attempt: AttemptDocument
    retry_after_s: float = 0.0


class WebhookCalls:
    """Makes the tries of one host."""

    def __init__(self, settings: Settings, fetch: SafeFetch, *, most_at_once: int) -> None:
        self._fetch = fetch
        self._private_allowed = settings.fetch_private_addresses
        self._timeout_s = settings.outgoing_webhook_timeout_s
        self._slots = asyncio.Semaphore(most_at_once)

    async def make(self, url: str, letter: Letter, now: datetime) -> Tried:
        """Send a letter once; never raises for what the other side does."""
        headers = signed_headers(letter.secrets, letter.webhook_id, now, letter.body)
        headers["Content-Type"] = "application/json"
        request = SafeRequest(
            url, method="POST", headers=headers, body=letter.body, timeout_s=self._timeout_s, redirects=0
        )
        async with self._slots:
            begun = time.monotonic()
            status, error, answer, wait_s = None, None, None, 0.0
            try:
                check_address(url, private_allowed=self._private_allowed)
                async with self._fetch.open(request) as response:
                    status, wait_s = response.status, retry_after(response.headers)
                    if verdict_on(status) is not Verdict.DELIVERED:
                        answer = await _beginning(response)
            except (FetchFailed, LinkRefused) as failure:
                # Once there is a status, that is what counts.
                error = str(failure) if status is None else None
            took_s = time.monotonic() - begun
        SECONDS.observe(took_s)
        attempt = AttemptDocument(at=now, status=status, error=error, milliseconds=round(took_s * 1000), answer=answer)
        return Tried(verdict_on(status), attempt, wait_s)


async def _beginning(response: SafeAnswer) -> str | None:
    """Return how an answer begins, for people to see what is wrong; nothing where it is not to be had as text."""
    if response.is_compressed:
        return None
    try:
        async with asyncio.timeout(_READ_S):
            text = (await response.beginning(_KEPT_BYTES)).decode("utf-8", "replace")
    except (TimeoutError, FetchFailed):
        return None
    # A character that was cut in two must not make it longer.
    return text.encode()[:_KEPT_BYTES].decode("utf-8", "ignore")
