"""Identifiers: UUID version 7 (RFC 9562), so that ids made later sort later; version 8 for what a name stands for."""

from __future__ import annotations

import os
import time
from hashlib import sha256

_MASK_12 = 0xFFF
_MASK_48 = (1 << 48) - 1
_MASK_62 = (1 << 62) - 1


class _Ids:
    """Keeps ids of one process in the order in which they were made, also within a millisecond (RFC 9562, 6.2)."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        # 48 bits of Unix milliseconds and 12 bits of their fraction, never less than one more than last time.
        ticks = max(time.time_ns() * 4096 // 1_000_000, self._last + 1)
        self._last = ticks
        value = (ticks >> 12 & _MASK_48) << 80 | 0x7 << 76 | (ticks & _MASK_12) << 64
        value |= 0b10 << 62 | int.from_bytes(os.urandom(8), "big") & _MASK_62
        return _text(value)


def _text(value: int) -> str:
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_ids = _Ids()


def new_id() -> str:
    """Return a fresh UUIDv7 as text; one process never makes a smaller one after a greater one."""
    return _ids.next()


def related_id(of: str, number: int) -> str:
    """Return one of several ids that an id stands for, the same whenever it is asked for; number 0 is the id itself.

    Numbers are below 2^16; they change the last, random digits only.
    """
    return f"{of[:-4]}{int(of[-4:], 16) ^ number:04x}"


def named_id(name: str) -> str:
    """Return the id that a name stands for, the same whenever it is asked for: a UUIDv8 of its SHA-256."""
    value = int.from_bytes(sha256(name.encode()).digest()[:16], "big")
    return _text(value & ~(0xF << 76 | 0b11 << 62) | 0x8 << 76 | 0b10 << 62)


def timed_id(milliseconds: int, count: int, name: str) -> str:
    """Return the id of something by its name and time, the same whenever it is asked for: a UUIDv7.

    What happened later has a greater one; `count` (below 2^12) tells what happened within a millisecond apart.
    """
    value = (milliseconds & _MASK_48) << 80 | 0x7 << 76 | (count & _MASK_12) << 64
    return _text(value | 0b10 << 62 | int.from_bytes(sha256(name.encode()).digest()[:8], "big") & _MASK_62)
