"""Hosts of tests that end as by a crash, and calls within them that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from actors.account import AccountActor
from actors.campaign_run import Tell
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors


def telling(actors: LocalActors) -> Tell:
    """Return what sends messages to actors of a host; what becomes of them is nobody's matter."""

    def tell(kind: str, key: str, method: str, *args: object) -> None:
        actors.call(kind, key, method, args, {}, 60).add_done_callback(
            lambda told: told.cancelled() or told.exception()
        )

    return tell


def crash(host: ActorHost) -> None:
    """End a host as a crash does: nothing more is written or sent by it."""
    for activation in host._activations.values():
        actor: Any = activation.actor
        if isinstance(actor, AccountActor):
            actor._doubts.close()
            if actor._wake:
                actor._wake.cancel()
            actor._fenced = True
        for task in _tasks_of(actor):
            task.cancel()
    for turn in host._tasks:
        turn.cancel()


def _tasks_of(actor: Any) -> Iterator[asyncio.Task[Any]]:
    """Yield what an actor does beside its turns, whatever its kind calls it."""
    yield from getattr(actor, "_tasks", ())
    yield from getattr(actor, "_doing", {}).values()
    if getattr(actor, "_work", None) is not None:
        # As where the cancellation is lost in a call of the driver.
        actor._is_over = True
        yield actor._work


class OneHost:
    """What a stage with one host does with it."""

    host: ActorHost | None

    def kill(self) -> None:
        """End the host as a crash does: nothing more is written or sent by it."""
        assert self.host is not None
        crash(self.host)
        self.host = None

    async def stop(self) -> None:
        if self.host is not None:
            await self.host.stop(0.1)
