"""How outgoing webhooks are signed: the scheme of Standard Webhooks (specification 1.0, standardwebhooks.com).

What is signed is `id.timestamp.body`, with HMAC-SHA256 under a key of 24 to 64 bytes that both sides know as
`whsec_<base64>`. While a secret is being replaced there is one signature for each of them.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
SECRET_PREFIX = "whsec_"  # noqa: S105  # what secrets begin with is none
#: Bytes of a new key; the specification asks for 24 to 64.
KEY_BYTES = 32
_VERSION = "v1"


def secret_of(key: bytes) -> str:
    """Return a key as people are given it."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signed_headers(secrets: Sequence[str], webhook_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that prove a body: one signature a secret, in their order.

    `at` is the moment of this attempt, not of the event: receivers refuse what is too old.
    """
    timestamp = str(int(at.timestamp()))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: " ".join(f"{_VERSION},{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    return base64.b64encode(hmac.digest(key, signed, sha256)).decode()
