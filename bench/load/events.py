"""The requests that every benchmark sends: one Account Activity event a POST, signed as X signs it.

A file of requests is a row of records, each a little-endian 32-bit length and the bytes of one whole HTTP request.
No two events of one or of different runs have the same id: a run's prefix is the start of every id.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CONSUMER_KEY = "bench-consumer-key"
CONSUMER_SECRET = "bench-consumer-secret"
SIGNATURE_HEADER = "X-Twitter-Webhooks-Signature"
WEBHOOK_PATH = "/api/v1/mkt-x/webhooks/twitter"
ACCOUNT_X_ID = "100"
CUSTOMERS = 5000
_FIRST_CUSTOMER = 2_000_000
_STRIDE = 2_741  # coprime to CUSTOMERS: neighbours in time are different customers, all come up equally often

_BODY = (
    '{"for_user_id":"100","direct_message_events":[{"type":"message_create","id":"%(id)s",'
    '"created_timestamp":"%(millis)d","message_create":{"target":{"recipient_id":"100"},"sender_id":"%(customer)s",'
    '"message_data":{"text":"Where is my order %(number)d?","entities":{"hashtags":[],"symbols":[],"user_mentions":[],'
    '"urls":[]}}}}],"users":{"%(customer)s":{"id":"%(customer)s","created_timestamp":"1500000000000",'
    '"name":"Ann %(customer)s","screen_name":"ann_%(customer)s","protected":false,"verified":false,'
    '"followers_count":3,"friends_count":4,"statuses_count":5,'
    '"profile_image_url_https":"https://pbs.example/a.png"}}}'
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it goes over the wire; `id` is X's id of the message."""

    id: str
    customer: str
    body: bytes
    signature: str


def run_prefix() -> str:
    """Return ten digits that no earlier run had: hundredths of a second of the last three years."""
    return f"{time.time_ns() // 10_000_000 % 10**10:010d}"


def sign(body: bytes) -> str:
    """Return the value of X's signature header for a body."""
    return "sha256=" + b64encode(hmac.digest(CONSUMER_SECRET.encode(), body, "sha256")).decode()


def is_signed(body: bytes, signature: str) -> bool:
    """Whether the header's value is the body's signature, compared in constant time."""
    return hmac.compare_digest(sign(body).encode(), signature.encode())


def events(prefix: str, count: int) -> Iterator[Event]:
    """Yield `count` different message events of 5,000 customers in turn."""
    millis = time.time_ns() // 1_000_000
    key = CONSUMER_SECRET.encode()
    for number in range(count):
        customer = str(_FIRST_CUSTOMER + number * _STRIDE % CUSTOMERS)
        event_id = f"{prefix}{number:08d}"
        body = (_BODY % {"id": event_id, "millis": millis, "customer": customer, "number": number}).encode()
        digest = b64encode(hmac.digest(key, body, hashlib.sha256)).decode()
        yield Event(event_id, customer, body, f"sha256={digest}")


def webhook_request(event: Event) -> bytes:
    """Return the HTTP request with which X delivers the event."""
    head = (
        f"POST {WEBHOOK_PATH} HTTP/1.1\r\nHost: gateway.bench\r\nContent-Type: application/json\r\n"
        f"{SIGNATURE_HEADER}: {event.signature}\r\nContent-Length: {len(event.body)}\r\n\r\n"
    )
    return head.encode() + event.body


def write_requests(
    path: Path, prefix: str, count: int, *, parts: int = 1, render: Callable[[Event], bytes] = webhook_request
) -> None:
    """Write `count` requests, spread over `parts` files named `path` with `.0`, `.1`, … appended."""
    files = [path.with_name(f"{path.name}.{part}").open("wb") for part in range(parts)]
    try:
        for number, event in enumerate(events(prefix, count)):
            request = render(event)
            files[number % parts].write(struct.pack("<I", len(request)) + request)
    finally:
        for file in files:
            file.close()
