"""Signatures of X's webhook calls, and the answer to its challenge (x-api, 1.3 and 1.4).

Both are the same HMAC with the same key, so a challenge must never be able to hold what could be a body.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Sequence

from domain.errors import InvalidRequest, Problem

_PREFIX = "sha256="
_is_signature = re.compile(r"sha256=[A-Za-z0-9+/]{43}=").fullmatch
_is_token = re.compile(r"[A-Za-z0-9+/_=-]{1,256}").fullmatch


def sign(secret: bytes, body: bytes) -> str:
    """Return the signature that X sends with a body: `sha256=` and the base64 of its HMAC-SHA256."""
    return _PREFIX + b64encode(hmac.digest(secret, body, "sha256")).decode()


def is_signed(body: bytes, header: str | None, secrets: Sequence[bytes]) -> bool:
    """Say, in constant time, whether a signature header was made for these very bytes with one of the live secrets."""
    if header is None or not _is_signature(header):
        return False
    found = False
    for secret in secrets:
        # Every secret is tried, so that the time does not tell which one fits; an empty key would sign for anybody.
        found |= bool(secret) and hmac.compare_digest(sign(secret, body), header)
    return found


def crc_answer(secret: bytes, token: str) -> str:
    """Return the `response_token` for a challenge.

    Raises:
        InvalidRequest: when the token is none that may be signed.
    """
    check_crc_token(token)
    return sign(secret, token.encode())


def check_crc_token(token: str) -> None:
    """Check that a challenge is 1…256 characters of the base64, base64url and hex alphabets (contract, part 4).

    Raises:
        InvalidRequest: when it is not.
    """
    if not _is_token(token):
        raise InvalidRequest(
            "The challenge is not a token that can be signed",
            problems=(Problem("crc_token", "must be 1 to 256 characters of A-Z a-z 0-9 + / - _ ="),),
        )
