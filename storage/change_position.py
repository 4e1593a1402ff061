"""Where a change stands among all changes of the database.

A position is what MongoDB calls a resume token: its bytes can be compared, and follow the order of the changes
(MongoDB's manual, "Change Events", resume tokens). They begin with the type of a timestamp and the cluster time. A
stream is always begun at that time, and what is not after the position is left out: no token from outside ever
reaches the server, and one pipeline may go on where another has stopped.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from bson.timestamp import Timestamp

_TIMESTAMP_TYPE = 0x82
_TIME_END = 9
_LONGEST = 1024
_FORM = re.compile(r"[A-Za-z0-9_-]{12,1400}")


class WrongPosition(ValueError):
    """A text is no position that this program has given out."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the order of changes; what happened later is greater."""

    token: bytes

    @classmethod
    def of(cls, token: Mapping[str, object]) -> Self:
        """Return the position that a resume token of the server stands for."""
        return cls._checked(bytes.fromhex(str(token["_data"])))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` wrote.

        Raises:
            WrongPosition: when it is none.
        """
        if not _FORM.fullmatch(text):
            raise WrongPosition("is not base64url")
        try:
            return cls._checked(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except binascii.Error:
            raise WrongPosition("is not base64url") from None

    @classmethod
    def _checked(cls, token: bytes) -> Self:
        if not _TIME_END <= len(token) <= _LONGEST or token[0] != _TIMESTAMP_TYPE:
            raise WrongPosition("begins with no cluster time")
        return cls(token)

    @property
    def time(self) -> Timestamp:
        """The cluster time."""
        return Timestamp(int.from_bytes(self.token[1:5]), int.from_bytes(self.token[5:_TIME_END]))

    @property
    def text(self) -> str:
        """The position as base64url, for those to whom it says nothing."""
        return base64.urlsafe_b64encode(self.token).rstrip(b"=").decode()
