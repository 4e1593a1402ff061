"""A receiver's check of Standard Webhooks, written from the specification and not from the code under test."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime

TOLERANCE_S = 300


class WrongSignature(Exception):
    """The body is not proven."""


def verified(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return the id of a message that the secret proves."""
    message_id, sent_at = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(now.timestamp() - int(sent_at)) > TOLERANCE_S:
        raise WrongSignature("is too old, or from the future")
    if not secret.startswith("whsec_") or "." in message_id:
        raise WrongSignature("is malformed")
    content = b".".join([message_id.encode(), sent_at.encode(), body])
    expected = b64encode(hmac.new(b64decode(secret[6:]), content, "sha256").digest())
    for versioned in headers["webhook-signature"].split(" "):
        version, _, signature = versioned.partition(",")
        if version == "v1" and hmac.compare_digest(signature.encode(), expected):
            return message_id
    raise WrongSignature("has no signature that fits")
