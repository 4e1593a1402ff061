"""How much of their limits accounts have left, as a distribution: no label names an account.

The accounts that a host has in memory are looked at in turn, so many at a time that ten thousand of them cost next to
nothing. An account that is not in memory sends nothing, and is not counted.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram

from actors.account import AccountActor
from actors.runtime.host import ActorHost
from domain.ended import ended

REMAINING = Histogram(
    "mktx_account_limit_remaining",
    "Share of a limit that accounts have left, of accounts at work, looked at in turn",
    ["limit"],
    buckets=(0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1),
)

_EVERY_S = 5.0
_AT_ONCE = 100


class LimitSampler:
    """Looks at the accounts of one host."""

    def __init__(self, host: ActorHost) -> None:
        self._host = host
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_for_ever())

    async def stop(self) -> None:
        """Look no more."""
        await ended(self._task)

    async def look(self) -> None:
        """Look at the next accounts, each at most once."""
        accounts = self._host.in_memory(AccountActor)
        first = self._next if self._next < len(accounts) else 0
        chosen = accounts[first : first + _AT_ONCE]
        self._next = first + len(chosen)
        for account in chosen:
            for window in account.windows():
                REMAINING.labels(window.name).observe(max(0, window.limit - window.used) / window.limit)
            # A window has up to 1,441 minutes: nobody waits for more than one account.
            await asyncio.sleep(0)

    async def _look_for_ever(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)
