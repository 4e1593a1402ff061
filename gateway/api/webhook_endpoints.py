"""Outgoing webhooks: where merchants want to be told what happens (contract, part 5, "Also"; Standard Webhooks)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel

from actors.webhook_events import TEST
from domain.errors import Conflict, InvalidContent, NotFound, Problem
from domain.public_links import LinkRefused
from domain.webhook_address import check_address
from gateway.models.base import NoBody, NoQuery
from gateway.models.paging import Paging
from gateway.models.webhook_endpoints import (
    ChangeEndpoint,
    CreateEndpoint,
    DeliveryAnswer,
    DeliveryQuery,
    EndpointAnswer,
    EndpointWithSecret,
    RotateSecret,
)
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from gateway.webhook_actors import endpoint_changed, wake_endpoint
from storage.webhook_deliveries import DeliveryDocument, new_delivery
from storage.webhook_endpoints import EndpointDocument, EndpointFields

_ALL = f"{API}/webhook-endpoints"
_ONE = f"{_ALL}/{{endpointId}}"
_DELIVERIES = f"{_ONE}/deliveries"


async def create_endpoint(call: Call[NoQuery, CreateEndpoint]) -> Reply[EndpointWithSecret]:
    """Make an endpoint, and return its secret this once."""
    body, now = call.body, call.deps.clock.now()
    await _check(call, url=body.url, account_id=body.account_id)
    fields: EndpointFields = {
        "url": body.url,
        "events": body.events,
        "accountId": body.account_id,
        "description": body.description,
    }
    endpoints = call.deps.repositories.webhook_endpoints
    endpoint, secret = await endpoints.add(call.merchant_id, call.resource_id, fields, now)
    return Reply(EndpointWithSecret.model_validate({**_whole(endpoint, now), "secret": secret}))


async def list_endpoints(call: Call[Paging, NoBody]) -> Reply[EndpointAnswer]:
    """Return the endpoints, newest first."""
    now = call.deps.clock.now()
    documents, total = await call.deps.repositories.webhook_endpoints.page(call.merchant_id, call.query.part)
    return Reply([_shown(each, now) for each in documents], call.query, total)


async def get_endpoint(call: Call[NoQuery, NoBody]) -> Reply[EndpointAnswer]:
    """Return one endpoint."""
    return Reply(_shown(await _endpoint(call), call.deps.clock.now()))


async def change_endpoint(call: Call[NoQuery, ChangeEndpoint]) -> Reply[EndpointAnswer]:
    """Change an endpoint; what is disabled is told nothing, and what was pending for it is not sent any more."""
    body, given, now = call.body, call.body.model_fields_set, call.deps.clock.now()
    await _endpoint(call)
    await _check(
        call,
        url=body.url if "url" in given else None,
        account_id=body.account_id if "account_id" in given else None,
    )
    names = {"url": "url", "events": "events", "account_id": "accountId", "description": "description"}
    changes: dict[str, object] = {stored: getattr(body, name) for name, stored in names.items() if name in given}
    if "status" in given:
        changes["status"] = body.status
    endpoint_id = call.path["endpointId"]
    endpoints = call.deps.repositories.webhook_endpoints
    changed = _found(await endpoints.change(call.merchant_id, endpoint_id, changes, now))
    await endpoint_changed(call.deps, endpoint_id)
    return Reply(_shown(changed, now))


async def delete_endpoint(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Delete an endpoint; nothing more is sent there."""
    endpoints, endpoint_id = call.deps.repositories.webhook_endpoints, call.path["endpointId"]
    if not await endpoints.remove(call.merchant_id, endpoint_id, call.deps.clock.now()):
        raise _unknown()
    await endpoint_changed(call.deps, endpoint_id)
    return nothing()


async def rotate_secret(call: Call[NoQuery, RotateSecret]) -> Reply[EndpointWithSecret]:
    """Give an endpoint a new secret, and return it this once; until the former ones end, all of them sign."""
    endpoints, now = call.deps.repositories.webhook_endpoints, call.deps.clock.now()
    rotated = await endpoints.rotate(call.merchant_id, call.path["endpointId"], call.body.overlap, now)
    if rotated is None:
        raise _unknown()
    endpoint, secret = rotated
    return Reply(EndpointWithSecret.model_validate({**_whole(endpoint, now), "secret": secret}))


async def test_endpoint(call: Call[NoQuery, NoBody]) -> Reply[DeliveryAnswer]:
    """Have the event `webhook.test` sent; what becomes of it is among the deliveries."""
    endpoint, now = await _active(call), call.deps.clock.now()
    delivery = new_delivery(call.merchant_id, endpoint["_id"], call.resource_id, TEST, now, now)
    await call.deps.repositories.webhook_deliveries.add([delivery])
    await wake_endpoint(call.deps, endpoint["_id"])
    return Reply(DeliveryAnswer.model_validate(delivery))


async def list_deliveries(call: Call[DeliveryQuery, NoBody]) -> Reply[DeliveryAnswer]:
    """Return what an endpoint was told or is to be told, the newest first; what is over is kept for a week."""
    endpoint, query = await _endpoint(call), call.query
    documents, total = await call.deps.repositories.webhook_deliveries.page(
        call.merchant_id, endpoint["_id"], query.status, query.type, query.part
    )
    return Reply([DeliveryAnswer.model_validate(each) for each in documents], query, total)


async def get_delivery(call: Call[NoQuery, NoBody]) -> Reply[DeliveryAnswer]:
    """Return one delivery."""
    endpoint = await _endpoint(call)
    deliveries = call.deps.repositories.webhook_deliveries
    return _delivery(await deliveries.get(call.merchant_id, endpoint["_id"], call.path["deliveryId"]))


async def retry_delivery(call: Call[NoQuery, NoBody]) -> Reply[DeliveryAnswer]:
    """Have an event sent now, whatever became of it; its id stays, and its schedule begins anew."""
    endpoint, deliveries = await _active(call), call.deps.repositories.webhook_deliveries
    reply = _delivery(
        await deliveries.retry(call.merchant_id, endpoint["_id"], call.path["deliveryId"], call.deps.clock.now())
    )
    await wake_endpoint(call.deps, endpoint["_id"])
    return reply


async def _check(call: Call[QueryT, BodyT], *, url: str | None, account_id: str | None) -> None:
    problems: list[Problem] = []
    if url is not None:
        try:
            check_address(url, private_allowed=call.deps.settings.fetch_private_addresses)
        except LinkRefused as error:
            problems.append(Problem("url", str(error)))
    if account_id is not None and await call.deps.repositories.accounts.get(call.merchant_id, account_id) is None:
        problems.append(Problem("accountId", "is no account of yours"))
    if problems:
        raise InvalidContent("The endpoint can't be used like this", problems=tuple(problems))


async def _endpoint(call: Call[QueryT, BodyT]) -> EndpointDocument:
    return _found(await call.deps.repositories.webhook_endpoints.get(call.merchant_id, call.path["endpointId"]))


async def _active(call: Call[QueryT, BodyT]) -> EndpointDocument:
    endpoint = await _endpoint(call)
    if endpoint["status"] != "active":
        raise Conflict("The endpoint is disabled")
    return endpoint


def _found(endpoint: EndpointDocument | None) -> EndpointDocument:
    if endpoint is None:
        raise _unknown()
    return endpoint


def _unknown() -> NotFound:
    return NotFound("Webhook endpoint not found")


def _delivery(delivery: DeliveryDocument | None) -> Reply[DeliveryAnswer]:
    if delivery is None:
        raise NotFound("Delivery not found")
    return Reply(DeliveryAnswer.model_validate(delivery))


def _whole(endpoint: EndpointDocument, now: datetime) -> Mapping[str, object]:
    holding = [each for each in endpoint["secrets"] if each["expiresAt"] is None or each["expiresAt"] > now]
    return {**endpoint, "secrets": holding}


def _shown(endpoint: EndpointDocument, now: datetime) -> EndpointAnswer:
    return EndpointAnswer.model_validate(_whole(endpoint, now))


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        _ALL,
        create_endpoint,
        NoQuery,
        CreateEndpoint,
        EndpointWithSecret,
        summary="Create a webhook endpoint",
        roles=ADMINS,
        errors=(Conflict,),
        idempotent=True,
        secret=True,
    ),
    Route("GET", _ALL, list_endpoints, Paging, NoBody, EndpointAnswer, summary="List webhook endpoints", roles=ADMINS),
    Route(
        "GET",
        _ONE,
        get_endpoint,
        NoQuery,
        NoBody,
        EndpointAnswer,
        summary="Get a webhook endpoint",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "PUT",
        _ONE,
        change_endpoint,
        NoQuery,
        ChangeEndpoint,
        EndpointAnswer,
        summary="Change a webhook endpoint",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_endpoint,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a webhook endpoint",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_ONE}/rotate-secret",
        rotate_secret,
        NoQuery,
        RotateSecret,
        EndpointWithSecret,
        summary="Replace a webhook endpoint's secret",
        roles=ADMINS,
        errors=(NotFound,),
        idempotent=True,
        body_optional=True,
        secret=True,
    ),
    Route(
        "POST",
        f"{_ONE}/test",
        test_endpoint,
        NoQuery,
        NoBody,
        DeliveryAnswer,
        summary="Send a test event",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
        body_optional=True,
    ),
    Route(
        "GET",
        _DELIVERIES,
        list_deliveries,
        DeliveryQuery,
        NoBody,
        DeliveryAnswer,
        summary="List deliveries",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "GET",
        f"{_DELIVERIES}/{{deliveryId}}",
        get_delivery,
        NoQuery,
        NoBody,
        DeliveryAnswer,
        summary="Get a delivery",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_DELIVERIES}/{{deliveryId}}/retry",
        retry_delivery,
        NoQuery,
        NoBody,
        DeliveryAnswer,
        summary="Send a delivery again",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
        body_optional=True,
    ),
)
