"""Calls of the same moment made with one round trip, for writes that many actors of one host make side by side.

While one is under way, what comes meanwhile goes with the next: a lone call waits for nobody, and many cost little more
than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Together(Generic[A, R]):
    """Makes calls of one kind; `work` answers a list of them with a result, or an error, for each in order."""

    def __init__(self, work: Callable[[Sequence[A]], Awaitable[Sequence[R | Exception]]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, argument: A) -> R:
        """Make one call.

        What is under way is finished for the others when one caller is cancelled.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((argument, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            outcomes: Sequence[R | Exception]
            try:
                outcomes = await self._work([argument for argument, _ in batch])
            except Exception as error:  # noqa: BLE001  # each caller gets it, and deals with it
                outcomes = [error] * len(batch)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
