"""Tells the actors of flows that there is something for them in the database.

What they are told of is durable: where they can't be reached now, they find it by themselves a little later.
"""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from actors.flow import FlowActor
from actors.flow_executor import FlowExecutor
from domain.errors import MktxError
from gateway.dependencies import Dependencies

log = structlog.get_logger()


async def wake_executor(deps: Dependencies, contact_id: str) -> None:
    """Have a contact's executor take what there is for it."""
    await _told("executor", deps.actors.ref(FlowExecutor, contact_id).take())


async def flow_changed(deps: Dependencies, flow_id: str) -> None:
    """Tell a flow's actor that it was activated, deactivated or deleted."""
    await _told("flow", deps.actors.ref(FlowActor, flow_id).changed())


async def cancel_running(deps: Dependencies, flow_id: str) -> None:
    """Have a flow's actor cancel the executions that are under way; once this is answered, it is not forgotten.

    Raises:
        Unavailable: when it can't be reached, or can't write that down.
    """
    await deps.actors.ref(FlowActor, flow_id).cancel_running()


async def _told(who: str, telling: Awaitable[None]) -> None:
    try:
        await telling
    except MktxError as error:
        log.warning("flows.not_told", who=who, code=error.code, reason=error.message)
