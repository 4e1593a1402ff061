from __future__ import annotations

import asyncio

from domain.ended import ended


async def test_work_that_overhears_a_cancellation_is_ended_all_the_same() -> None:
    overheard = 0

    async def work() -> None:
        nonlocal overheard
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                overheard += 1
                if overheard == 2:
                    raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await ended(task)
    assert (task.cancelled(), overheard) == (True, 2)


async def test_what_has_ended_or_never_began_is_left() -> None:
    async def broken() -> None:
        raise ValueError

    task = asyncio.create_task(broken())
    await asyncio.wait({task})
    await ended(task)
    await ended(None)
