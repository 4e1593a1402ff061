"""The actors of one process: finds them by key, runs their turns, puts idle ones out of memory."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextvars import Context
from itertools import islice
from typing import TypeVar, cast

import structlog

from actors.runtime.actor import NOT_MESSAGES, Actor
from actors.runtime.errors import ActorFailed, CallExpired, Fenced
from actors.runtime.stats import HostStats
from actors.runtime.wire import Call, Outcome
from config.origin import working_for
from config.tracing import span
from domain.errors import MktxError, Overloaded

log = structlog.get_logger()

A = TypeVar("A", bound=Actor)

Reply = Callable[[Outcome], None]
Factory = Callable[[str], Actor]


class _Activation:
    """An actor in memory with its mailbox."""

    __slots__ = ("actor", "last_used", "mailbox", "ready", "running")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.mailbox: deque[tuple[Call, Reply]] | None = None
        self.running = False
        self.ready = False
        self.last_used = 0.0


class ActorHost:
    """Hosts any number of light actors on one event loop.

    Invariants:

    - one activation a (kind, key): it is entered into the table synchronously, before anything is awaited;
    - one turn at a time an activation, in arrival order; turns of different activations interleave;
    - an activation leaves the table only with an empty mailbox and no turn under way, in one step without an await.
    """

    def __init__(
        self,
        factories: Mapping[str, Factory],
        *,
        idle_s: float = 300,
        limit: int = 50_000,
        mailbox_limit: int = 1000,
        stats: HostStats | None = None,
    ) -> None:
        self._factories = factories
        self._idle_s = idle_s
        self._limit = limit
        self._mailbox_limit = mailbox_limit
        self._activations: OrderedDict[tuple[str, str], _Activation] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping = False
        self.stats = stats or HostStats()

    def __len__(self) -> int:
        """Return how many actors are in memory."""
        return len(self._activations)

    @property
    def under_way(self) -> int:
        """How many actors have a message under way."""
        return len(self._tasks)

    def in_memory(self, kind: type[A]) -> list[A]:
        """Return the actors of a kind that have loaded what they need; to be looked at, never to be sent messages."""
        every = self._activations.values()
        return [each.actor for each in every if each.ready and isinstance(each.actor, kind)]

    def holds(self, kind: str, key: str) -> bool:
        """Return whether an actor is in memory."""
        return (kind, key) in self._activations

    def dispatch(self, call: Call, reply: Reply) -> None:
        """Put a call into its actor's mailbox; `reply` gets the outcome, now or later."""
        if self._stopping:
            reply(Outcome(call.id, Fenced("This host is stopping"), True))
            return
        name = (call.kind, call.key)
        activation = self._activations.get(name)
        if activation is None:
            actor = self._make(call, reply)
            if actor is None:
                return
            # Before the newcomer is in the table: it has no message yet and would look idle.
            self._shed()
            activation = self._activations[name] = _Activation(actor)
            self.stats.activated += 1
        mailbox = activation.mailbox
        if mailbox is None:
            mailbox = activation.mailbox = deque()
        elif len(mailbox) >= self._mailbox_limit:
            self.stats.overflows += 1
            reply(Outcome(call.id, Overloaded("The actor has too much to do", retry_after_s=1), True))
            return
        mailbox.append((call, reply))
        if not activation.running:
            activation.running = True
            # A context of its own: whoever sent the first message is not whom the later ones are for.
            task = asyncio.get_running_loop().create_task(self._run(name, activation), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _make(self, call: Call, reply: Reply) -> Actor | None:
        """Make the actor of a call; answers the call where that can't be done."""
        factory = self._factories.get(call.kind)
        if factory is None:
            reply(Outcome(call.id, ActorFailed(f"There is no actor kind {call.kind!r}"), True))
            return None
        try:
            return factory(call.key)
        except Exception as error:
            self.stats.failures += 1
            log.exception("actor.not_made", kind=call.kind, error=type(error).__name__)
            reply(Outcome(call.id, ActorFailed("The actor could not start"), True))
            return None

    async def _run(self, name: tuple[str, str], activation: _Activation) -> None:
        mailbox = cast(deque[tuple[Call, Reply]], activation.mailbox)
        if not activation.ready and not await self._activate(name, activation):
            return
        while mailbox:
            call, reply = mailbox.popleft()
            outcome = await self._turn(activation.actor, call, reply)
            if outcome is not None:
                reply(outcome)
                if outcome.failed and isinstance(outcome.value, Fenced):
                    self._discard(name, activation, outcome.value)
                    return
        activation.mailbox = None
        activation.running = False
        activation.last_used = time.monotonic()
        if self._activations.get(name) is activation:
            self._activations.move_to_end(name)

    async def _activate(self, name: tuple[str, str], activation: _Activation) -> bool:
        try:
            await activation.actor.on_activate()
        except MktxError as error:
            self._discard(name, activation, error)
            return False
        except (Exception, asyncio.CancelledError) as error:
            if _told_to_end(error):
                self._discard(name, activation, Fenced("This host is stopping"))
                raise
            log.exception("actor.activation_failed", kind=name[0], error=type(error).__name__)
            self.stats.failures += 1
            self._discard(name, activation, ActorFailed("The actor could not start"))
            return False
        activation.ready = True
        return True

    async def _turn(self, actor: Actor, call: Call, reply: Reply) -> Outcome | None:
        """Run one message; None when the answer comes later."""
        self.stats.turns += 1
        if call.deadline < time.time():
            self.stats.expired += 1
            return Outcome(call.id, CallExpired("The call waited too long"), True)
        try:
            if call.method.startswith("_") or call.method in NOT_MESSAGES:
                return Outcome(call.id, ActorFailed(f"{call.method!r} is not a message"), True)
            method = getattr(actor, call.method)
            if call.origin is None:
                value = await (method(*call.args, **call.kwargs) if call.kwargs else method(*call.args))
            else:
                with working_for(call.origin), span(f"{call.kind}.{call.method}"):
                    value = await method(*call.args, **(call.kwargs or {}))
        except MktxError as error:
            return Outcome(call.id, error, True)
        except (Exception, asyncio.CancelledError) as error:
            if _told_to_end(error):
                reply(Outcome(call.id, CallExpired("This host is stopping"), True))
                raise
            self.stats.failures += 1
            log.exception("actor.turn_failed", kind=call.kind, method=call.method, error=type(error).__name__)
            return Outcome(call.id, ActorFailed("The actor failed"), True)
        if isinstance(value, asyncio.Future):
            value.add_done_callback(lambda future: reply(_outcome_of(call, future)))
            return None
        return Outcome(call.id, value, False)

    def _discard(self, name: tuple[str, str], activation: _Activation, error: MktxError) -> None:
        """Take a broken activation out of the table and answer everybody who waits for it."""
        if self._activations.get(name) is activation:
            del self._activations[name]
        waiting, activation.mailbox = activation.mailbox or deque(), None
        self._let_go(name, activation)
        for call, reply in waiting:
            reply(Outcome(call.id, error, True))

    def _shed(self) -> None:
        """Make room for one more: put the least recently used idle actors out of memory."""
        excess = len(self._activations) + 1 - self._limit
        if excess <= 0:
            return
        idle = ((name, activation) for name, activation in self._activations.items() if self._is_idle(activation))
        for name, activation in list(islice(idle, excess)):
            self._deactivate(name, activation)

    def _is_idle(self, activation: _Activation) -> bool:
        return not activation.running and not activation.mailbox and not activation.actor.busy()

    def _deactivate(self, name: tuple[str, str], activation: _Activation) -> None:
        del self._activations[name]
        self._let_go(name, activation)

    def _let_go(self, name: tuple[str, str], activation: _Activation) -> None:
        self.stats.deactivated += 1
        try:
            activation.actor.on_deactivate()
        except Exception as error:
            # It has left the table already; whatever it failed to let go of, nobody else may suffer for it.
            log.exception("actor.deactivation_failed", kind=name[0], error=type(error).__name__)

    def sweep(self) -> None:
        """Put every actor out of memory that has been idle for long enough."""
        oldest = time.monotonic() - self._idle_s
        for name, activation in list(self._activations.items()):
            if activation.last_used > oldest:
                break
            if self._is_idle(activation):
                self._deactivate(name, activation)

    async def start(self) -> None:
        """Begin to look for idle actors."""
        self._sweeper = asyncio.create_task(self._sweep_for_ever())

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(self._idle_s / 4, 15))
            self.sweep()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, let turns under way end, then put everybody out of memory."""
        self._stopping = True
        if self._sweeper:
            self._sweeper.cancel()
        turns = set(self._tasks)
        if turns:
            await asyncio.wait(turns, timeout=grace_s)
        draining = [asyncio.create_task(a.actor.drain()) for a in self._activations.values() if a.actor.busy()]
        if draining:
            await asyncio.wait(draining, timeout=grace_s)
        for task in (*turns, *draining):
            task.cancel()
        for outcome in await asyncio.gather(*turns, *draining, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("actor.drain_failed", exc_info=outcome)
        for activation in self._activations.values():
            for call, reply in activation.mailbox or ():
                reply(Outcome(call.id, Fenced("This host is stopping"), True))
        for name, activation in list(self._activations.items()):
            self._deactivate(name, activation)


def _told_to_end(error: BaseException) -> bool:
    """Whether the turn's own task is being cancelled, and not merely something that the turn waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _outcome_of(call: Call, future: asyncio.Future[object]) -> Outcome:
    if future.cancelled():
        return Outcome(call.id, CallExpired("The actor left memory"), True)
    error = future.exception()
    if error is None:
        return Outcome(call.id, future.result(), False)
    if isinstance(error, MktxError):
        return Outcome(call.id, error, True)
    log.error("actor.answer_failed", kind=call.kind, method=call.method, error=type(error).__name__)
    return Outcome(call.id, ActorFailed("The actor failed"), True)
