"""How actors are reached: `system.ref(AccountActor, account_id).deliver(message_id)` reads like a local call."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar, cast

from actors.runtime.actor import Actor
from actors.runtime.errors import CallExpired
from actors.runtime.host import ActorHost
from actors.runtime.wire import Call, Outcome
from config.origin import origin

A = TypeVar("A", bound=Actor)

DEFAULT_TIMEOUT_S = 30.0


class ActorSystem(Protocol):
    """Everything a caller needs to know of the actors."""

    def ref(self, kind: type[A], key: str, *, timeout_s: float | None = None) -> A:
        """Return a stand-in for an actor: its coroutine methods are sent as messages."""
        ...


class Caller(Protocol):
    """What carries a message to its actor."""

    def call(
        self, kind: str, key: str, method: str, args: tuple[object, ...], kwargs: dict[str, object], timeout_s: float
    ) -> Awaitable[object]:
        """Send a message and return what to await for its answer."""
        ...


class Reference:
    """Stands in for an actor: turns a method call into a message; has no public name of its own."""

    __slots__ = ("_caller", "_key", "_kind", "_timeout_s")

    def __init__(self, caller: Caller, kind: str, key: str, timeout_s: float) -> None:
        self._caller = caller
        self._kind = kind
        self._key = key
        self._timeout_s = timeout_s

    def __getattr__(self, method: str) -> _Message:
        return _Message(self._caller, self._kind, self._key, method, self._timeout_s)


class _Message:
    """One method of a stand-in, ready to be called."""

    __slots__ = ("_caller", "_key", "_kind", "_method", "_timeout_s")

    def __init__(self, caller: Caller, kind: str, key: str, method: str, timeout_s: float) -> None:
        self._caller = caller
        self._kind = kind
        self._key = key
        self._method = method
        self._timeout_s = timeout_s

    def __call__(self, *args: object, **kwargs: object) -> Awaitable[object]:
        return self._caller.call(self._kind, self._key, self._method, args, kwargs, self._timeout_s)


def reference(caller: Caller, kind: type[A], key: str, timeout_s: float | None) -> A:
    """Return a typed stand-in for an actor."""
    return cast(A, Reference(caller, kind.kind, key, timeout_s or DEFAULT_TIMEOUT_S))


class LocalActors:
    """The actors of this process alone: for unit tests, and for targets that live where the caller does."""

    def __init__(self, host: ActorHost) -> None:
        self._host = host
        self._ids = itertools.count(1)

    def ref(self, kind: type[A], key: str, *, timeout_s: float | None = None) -> A:
        """Return a stand-in for an actor of this process."""
        return reference(self, kind, key, timeout_s)

    def call(
        self, kind: str, key: str, method: str, args: tuple[object, ...], kwargs: dict[str, object], timeout_s: float
    ) -> Awaitable[object]:
        """Put a message into its actor's mailbox, at once, and return what to await for its answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        call = Call(next(self._ids), kind, key, method, args, kwargs or None, time.time() + timeout_s, origin())
        self._host.dispatch(call, lambda outcome: settle(future, outcome))
        if not future.done():
            expiry = loop.call_later(timeout_s, _expire, future)
            future.add_done_callback(lambda _: expiry.cancel())
        return future


def _expire(future: asyncio.Future[object]) -> None:
    if not future.done():
        future.set_exception(CallExpired("The actor did not answer in time", retry_after_s=2))


def settle(future: asyncio.Future[object], outcome: Outcome) -> None:
    """Hand an outcome to whoever waits for it."""
    if future.done():
        return
    if outcome.failed:
        future.set_exception(cast(BaseException, outcome.value))
    else:
        future.set_result(outcome.value)
