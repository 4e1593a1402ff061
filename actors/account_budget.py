"""What an account may still send: its windows, written before each call that they allow."""

from __future__ import annotations

import asyncio
from datetime import datetime

from config.settings import Settings
from domain.clock import Clock
from domain.send_windows import Claim, Limits, SendWindows, WindowState
from domain.x_rate_headers import RateHeaders
from storage.actor_states import ActorStates


class AccountBudget:
    """The windows of one account and their document, whose every write is conditional on version and epoch."""

    def __init__(self, account_id: str, settings: Settings, states: ActorStates, epoch: int, clock: Clock) -> None:
        self._account_id = account_id
        self._limits = Limits.of(settings)
        self._states = states
        self._epoch = epoch
        self._clock = clock
        self._windows = SendWindows(self._limits)
        self._version: int | None = None
        self._saving = asyncio.Lock()
        self._changes = 0
        self._saved = 0

    async def take_over(self) -> None:
        """Take the document for this epoch, and go on from what it says.

        Raises:
            StaleActor: when a later epoch has it.
        """
        self._version, state = await self._states.claim(self._account_id, self._epoch)
        if state:
            self._windows = SendWindows.from_document(state, self._limits)

    def free_at(self, now: datetime, priority: int) -> datetime:
        """Return when a message of this priority may be claimed; `now` if at once."""
        return self._windows.next_free_at(now, priority)

    def claimed(self, now: datetime, priority: int) -> Claim:
        """Count one send; to be saved before the call is made."""
        return self._windows.claimed(now, priority)

    def returned(self, now: datetime, claim: Claim, *, reached_x: bool) -> None:
        """Give a claim back whose message definitely does not exist; a call that reached X stays counted there."""
        self._windows.returned(now, claim, reached_x=reached_x)
        self._changes += 1

    def reported(self, headers: RateHeaders, now: datetime) -> None:
        """Take in what an answer of X said of its windows."""
        self._windows.reported(headers, now)
        self._changes += 1

    def block(self, until: datetime) -> None:
        """Send nothing until then."""
        self._windows.block(until)
        self._changes += 1

    def describe(self) -> list[WindowState]:
        """Return every window as it stands."""
        return self._windows.describe(self._clock.now())

    async def save(self) -> None:
        """Write the windows; callers of the same moment share one write.

        Raises:
            StaleActor: when another host has the account.
        """
        self._changes += 1
        wanted = self._changes
        async with self._saving:
            if self._saved >= wanted:
                return
            covered = self._changes
            version, self._version = self._version, None
            if version is None:
                # Whether the last save was written is not known.
                version, _ = await self._states.claim(self._account_id, self._epoch)
            document = self._windows.to_document()
            self._version = await self._states.save(self._account_id, self._epoch, version, document)
            self._saved = covered
