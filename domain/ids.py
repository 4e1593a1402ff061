"""Identifiers: UUID version 7 (RFC 9562), so that ids made later sort later."""

from __future__ import annotations

import os
import time
from uuid import UUID

_MASK_12 = 0xFFF
_MASK_62 = (1 << 62) - 1


def new_id() -> str:
    """Return a fresh UUIDv7 as text: 48 bits of Unix milliseconds, the rest random."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (millis & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((random >> 64) & _MASK_12) << 64
    value |= 0b10 << 62
    value |= random & _MASK_62
    return str(UUID(int=value))
