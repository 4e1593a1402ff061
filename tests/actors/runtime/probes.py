"""Actors that show what the runtime does with them, and hosts of Ray that run them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from actors.runtime.actor import Actor
from actors.runtime.errors import Fenced
from actors.runtime.host import ActorHost, Factory
from config.settings import Settings
from domain.errors import InvalidContent, LimitExceeded, Problem
from storage.client import close_client, database_of, open_client
from storage.epochs import next_epoch

MAILBOX = 100


@dataclass
class Stage:
    """What the actors of one host share."""

    gates: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    activations: Counter[str] = field(default_factory=Counter)
    deactivations: Counter[str] = field(default_factory=Counter)
    failing_activations: Counter[str] = field(default_factory=Counter)
    turns_at_once: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)
    host: ActorHost | None = None


class Unsendable(Exception):
    """Can be pickled, but not read back."""

    def __init__(self, *, needed: str) -> None:
        super().__init__(needed)


class UnsendableProblem(InvalidContent):
    """An error of ours whose constructor does not take what it is read back with."""

    def __init__(self, message: str, *, needed: str) -> None:
        super().__init__(message)


class Probe(Actor):
    kind = "probe"

    def __init__(self, key: str, stage: Stage) -> None:
        super().__init__(key)
        self._stage = stage
        self._log: list[object] = []
        self._ready = False
        self._busy = False
        self._answers: list[asyncio.Future[str]] = []

    async def on_activate(self) -> None:
        self._stage.activations[self.key] += 1
        await asyncio.sleep(0)
        if self.key.startswith("slow-start"):
            await self._stage.gates[self.key].wait()
        if self._stage.failing_activations[self.key] > 0:
            self._stage.failing_activations[self.key] -= 1
            raise RuntimeError("it can't start")
        self._ready = True

    def on_deactivate(self) -> None:
        self._stage.deactivations[self.key] += 1
        if self.key.startswith("bad-end"):
            raise RuntimeError("it can't let go")

    def busy(self) -> bool:
        return self._busy

    async def note(self, item: object) -> bool:
        """Remember an item; gives others every chance to run in between."""
        stage = self._stage
        stage.turns_at_once[self.key] += 1
        stage.most_at_once[self.key] = max(stage.most_at_once[self.key], stage.turns_at_once[self.key])
        for _ in range(3):
            await asyncio.sleep(0)
        self._log.append(item)
        stage.turns_at_once[self.key] -= 1
        return self._ready

    async def log(self) -> tuple[list[object], int]:
        return list(self._log), self._stage.most_at_once[self.key]

    async def echo(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    async def wait_at(self, gate: str) -> str:
        await self._stage.gates[gate].wait()
        return gate

    async def open(self, gate: str) -> None:
        self._stage.gates[gate].set()

    async def answer_later(self) -> asyncio.Future[str]:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers.append(future)
        return future

    async def answer_now(self, text: str) -> int:
        for future in self._answers:
            future.set_result(text)
        count, self._answers = len(self._answers), []
        return count

    async def refuse_later(self) -> int:
        for future in self._answers:
            future.set_exception(LimitExceeded("Not now", retry_after_s=7))
        count, self._answers = len(self._answers), []
        return count

    async def refuse(self) -> None:
        raise InvalidContent("It is wrong", problems=(Problem("a.b", "is bad"),), retry_after_s=9, details={"x": 1})

    async def refuse_unsendably(self) -> None:
        raise UnsendableProblem("It is wrong", needed="something")

    async def answer_unsendably(self) -> object:
        return lambda: None

    async def answer_unreadably(self) -> object:
        return Unsendable(needed="something")

    async def fail(self) -> None:
        raise RuntimeError("a secret detail")

    async def wait_for_a_cancelled_task(self) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    async def be_fenced(self) -> None:
        raise Fenced("Somebody else has it")

    async def be_busy(self, busy: bool) -> None:
        self._busy = busy

    async def _hidden(self) -> str:
        return "seen"


class Unmakeable(Actor):
    kind = "unmakeable"

    def __init__(self, key: str) -> None:
        super().__init__(key)
        raise RuntimeError("no")


class Control(Actor):
    """Looks at and changes the host that it lives in."""

    kind = "control"

    def __init__(self, key: str, stage: Stage) -> None:
        super().__init__(key)
        self._stage = stage

    async def counts(self, key: str) -> dict[str, int]:
        stage = self._stage
        return {
            "activations": stage.activations[key],
            "deactivations": stage.deactivations[key],
            "most_at_once": stage.most_at_once[key],
        }

    async def fail_next_activation(self, key: str, times: int = 1) -> None:
        self._stage.failing_activations[key] = times

    async def open(self, gate: str) -> None:
        self._stage.gates[gate].set()

    async def sweep(self) -> None:
        """Take every actor for idle long enough, once."""
        host = self._stage.host
        assert host is not None
        idle_s, host._idle_s = host._idle_s, 0.0
        host.sweep()
        host._idle_s = idle_s

    async def limit(self, limit: int | None) -> int:
        """Bound the actors in memory to so many more than there are now (None: to very many)."""
        host = self._stage.host
        assert host is not None
        host._limit = len(host) + limit if limit is not None else 50_000
        return len(host)

    async def stats(self) -> dict[str, int]:
        host = self._stage.host
        assert host is not None
        return {name: getattr(host.stats, name) for name in host.stats.__slots__}


def stage_host(**options: Any) -> tuple[ActorHost, Stage]:
    """Make a host of probes."""
    stage = Stage()
    factories: dict[str, Factory] = {
        Probe.kind: lambda key: Probe(key, stage),
        Control.kind: lambda key: Control(key, stage),
        Unmakeable.kind: Unmakeable,
    }
    stage.host = host = ActorHost(factories, **{"mailbox_limit": MAILBOX, **options})
    return host, stage


class ProbeServices:
    """A host of Ray that runs probes and takes its epochs from the real database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.host, _ = stage_host()
        self.epoch = 0
        self.rings = 0

    async def start(self) -> None:
        client = open_client(self._settings)
        self.epoch = await next_epoch(database_of(client, self._settings))
        await close_client(client)
        await self.host.start()

    async def ring(self) -> None:
        self.rings += 1

    async def stop(self, grace_s: float) -> None:
        await self.host.stop(grace_s)


@dataclass(frozen=True)
class MakeProbes:
    settings: Settings
    version: str = "probe"

    def __call__(self, index: int, hosts: int) -> ProbeServices:
        return ProbeServices(self.settings)
