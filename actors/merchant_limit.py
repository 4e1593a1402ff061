"""The actor of a merchant's API limit: grants the gateways leases of one rolling minute."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from pymongo.errors import PyMongoError

from actors.runtime.actor import Actor
from actors.runtime.errors import Fenced
from domain.call_limit import Answer, Ask, CallWindow
from domain.clock import Clock
from domain.errors import Unavailable
from storage.actor_states import ActorStates, StaleActor

log = structlog.get_logger()

_DATABASE_RETRY_S = 2


@dataclass(frozen=True, slots=True)
class LimitServices:
    """What the actors of merchants' limits work with; `limit` is in calls per 60 seconds."""

    limit: int
    states: ActorStates
    clock: Clock
    epoch: int


class MerchantLimit(Actor):
    """Owns a merchant's window of calls.

    A grant is written, conditional on version and epoch, before it is answered; grants of the same moment share a
    write. So whoever takes over knows of every token that may have been spent. What gateways report is not written by
    itself: without it the stored window only allows less.
    """

    kind = "merchant_limit"

    def __init__(self, key: str, services: LimitServices) -> None:
        super().__init__(key)
        self._services = services
        self._window = CallWindow(services.limit)
        self._version: int | None = None
        self._unwritten: list[tuple[asyncio.Future[Answer], Answer]] = []
        self._writing: asyncio.Task[None] | None = None
        self._fenced = False

    async def on_activate(self) -> None:
        """Take over the merchant's window as it was written last."""
        services = self._services
        try:
            self._version, state = await services.states.claim(self.key, services.epoch)
        except StaleActor:
            raise _fenced() from None
        except PyMongoError as error:
            raise _no_database() from error
        self._window = CallWindow.from_document(state, services.limit)

    async def ask(self, ask: Ask) -> Answer | asyncio.Future[Answer]:
        """Take note of a gateway's calls and grant it a lease.

        Raises:
            Unavailable: when the grant can't be written; the gateway's next ask makes it void.
        """
        if self._fenced:
            raise _fenced()
        answer = self._window.ask(ask, round(self._services.clock.now().timestamp() * 1000))
        if not answer.tokens:
            return answer
        written: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._unwritten.append((written, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return written

    def busy(self) -> bool:
        """Stay in memory while a grant is being written."""
        return self._writing is not None

    async def drain(self) -> None:
        """Wait for grants that are being written."""
        if self._writing:
            await asyncio.wait({self._writing})

    def on_deactivate(self) -> None:
        """Answer whoever still waits."""
        self._refuse(self._unwritten, _fenced())

    async def _write(self) -> None:
        try:
            while self._unwritten:
                batch, self._unwritten = self._unwritten, []
                try:
                    await self._save()
                except StaleActor:
                    log.warning("merchant_limit.fenced", merchant=self.key, epoch=self._services.epoch)
                    self._fenced = True
                    self._refuse([*batch, *self._unwritten], _fenced())
                    return
                except PyMongoError as error:
                    log.warning("merchant_limit.not_written", error=type(error).__name__)
                    self._refuse(batch, _no_database())
                except BaseException:
                    self._refuse(batch, _fenced())
                    raise
                else:
                    for written, answer in batch:
                        if not written.done():
                            written.set_result(answer)
        finally:
            self._writing = None

    async def _save(self) -> None:
        states, epoch = self._services.states, self._services.epoch
        version, self._version = self._version, None
        if version is None:
            # Whether the last write took place is not known.
            version, _ = await states.claim(self.key, epoch)
        self._version = await states.save(self.key, epoch, version, self._window.to_document())

    def _refuse(self, waiting: list[tuple[asyncio.Future[Answer], Answer]], error: Unavailable) -> None:
        for written, _ in waiting:
            if not written.done():
                written.set_exception(error)


def _fenced() -> Fenced:
    return Fenced("Another host has this merchant's limit", retry_after_s=1)


def _no_database() -> Unavailable:
    return Unavailable("The database is not to be reached", retry_after_s=_DATABASE_RETRY_S)
