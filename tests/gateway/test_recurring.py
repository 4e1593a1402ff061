from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY
from pymongo.errors import AutoReconnect

from domain.errors import Unavailable
from gateway.recurring import Recurring
from tests.gateway.conftest import eventually

BROKEN = {"error": "ZeroDivisionError"}


def broken() -> float:
    return REGISTRY.get_sample_value("mktx_unhandled_errors_total", BROKEN) or 0.0


@pytest.mark.parametrize("trouble", [AutoReconnect("away"), Unavailable("not now"), ZeroDivisionError("a defect")])
async def test_what_fails_is_done_again(trouble: Exception) -> None:
    done, before = 0, broken()

    async def work() -> None:
        nonlocal done
        done += 1
        if done < 3:
            raise trouble

    recurring = Recurring("work", work, every_s=0)
    recurring.start()

    await eventually(lambda: done >= 4)
    await recurring.stop()
    assert broken() - before == (2 if isinstance(trouble, ZeroDivisionError) else 0)


async def test_what_is_being_done_is_cut_off() -> None:
    begun, was_cut_off = asyncio.Event(), False

    async def work() -> None:
        nonlocal was_cut_off
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_cut_off = True

    recurring = Recurring("work", work)
    recurring.start()
    await begun.wait()
    await recurring.stop()
    assert was_cut_off
