"""Tells the actors of webhook endpoints that there is something for them in the database.

What they are told of is durable: where they can't be reached now, they find it by themselves a little later.
"""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from actors.webhook_endpoint import WebhookEndpointActor
from domain.errors import MktxError
from gateway.dependencies import Dependencies

log = structlog.get_logger()


async def wake_endpoint(deps: Dependencies, endpoint_id: str) -> None:
    """Have an endpoint's actor send what there is."""
    await _told(deps.actors.ref(WebhookEndpointActor, endpoint_id).handle())


async def endpoint_changed(deps: Dependencies, endpoint_id: str) -> None:
    """Tell an endpoint's actor that it was enabled, disabled or deleted."""
    await _told(deps.actors.ref(WebhookEndpointActor, endpoint_id).changed())


async def _told(telling: Awaitable[None]) -> None:
    try:
        await telling
    except MktxError as error:
        log.warning("outgoing_webhooks.not_told", code=error.code, reason=error.message)
