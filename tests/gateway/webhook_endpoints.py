"""Webhook endpoints and their deliveries, and a stand-in for the actor that sends these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from domain.ids import new_id
from storage.webhook_deliveries import new_delivery

if TYPE_CHECKING:
    from tests.gateway.conftest import Actors, Api

HAPPENED = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)


async def created(api: Api, **fields: object) -> dict[str, Any]:
    """Make an endpoint; for new messages where nothing else is given."""
    body = {"url": "https://shop.example.com/hooks", "events": ["message.created"]} | fields
    status, answer = await api.as_role("owner").post("/webhook-endpoints", body)
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def endpoint(api: Api) -> str:
    return str((await created(api))["id"])


async def delivery(api: Api, endpoint_id: str, event: str = "message.created", **fields: Any) -> str:
    """Return the id of a delivery that the feed would have written."""
    event_id = new_id()
    subject: Any = {"collection": "messages", "id": new_id()}
    document = new_delivery(api.merchant_id, endpoint_id, event_id, event, HAPPENED, HAPPENED, subject)
    await api.database["webhookDeliveries"].insert_one({**document, **fields})
    return event_id


@dataclass
class EndpointStandIn:
    """Notes what it is told."""

    actors: Actors
    key: str

    async def handle(self) -> None:
        await self._note("handle")

    async def changed(self) -> None:
        await self._note("changed")

    async def _note(self, method: str) -> None:
        self.actors.calls.append((method, self.key))
        if self.actors.webhooks_fail is not None:
            raise self.actors.webhooks_fail
