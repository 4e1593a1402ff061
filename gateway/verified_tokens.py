from __future__ import annotations

from collections import OrderedDict

from domain.clock import Clock
from gateway.principal import Principal

_MOST_KEPT = 4_096


class VerifiedTokens:
    """Tokens whose signature was verified, with whom they speak for, until they expire.

    A client sends the same token with every call, and nothing about it but the time can change: key and expected claims
    are settings. The least recently used is forgotten first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Principal, int]] = OrderedDict()

    def get(self, token: str) -> Principal | None:
        """Return whom a token speaks for; nothing for one that is to be verified."""
        kept = self._kept.get(token)
        if kept is None:
            return None
        principal, expires_at = kept
        if expires_at <= self._clock.now().timestamp():
            del self._kept[token]
            return None
        self._kept.move_to_end(token)
        return principal

    def keep(self, token: str, principal: Principal, expires_at: int) -> None:
        """Remember a token that was verified; `expires_at` is Unix time in seconds."""
        self._kept[token] = (principal, expires_at)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
