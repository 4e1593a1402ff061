"""Calls of flows to the outside (`http_request`): public addresses only, bounded in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus

import structlog

from actors.clients.safe_fetch import FetchFailed, Redirected, SafeAnswer, SafeFetch, SafeRequest
from actors.flow_effects_send import given_of
from actors.flow_outcomes import failed, succeeded
from domain.campaign_message import fillings_for
from domain.errors import InvalidContent
from domain.flow_http import FilledRequest, filled_request, is_worth_another_try, result_of, retry_after
from domain.flow_nodes import HttpRequest
from domain.flow_state import Effect
from domain.public_links import LinkRefused
from domain.templates import MissingVariable
from storage.encryption import CannotOpen
from storage.flow_documents import EffectOutcome, FlowEventDocument
from storage.flow_secrets import FlowSecrets
from storage.flow_sends import FlowSends, Wanted

log = structlog.get_logger()

TIMEOUT_S = 20.0
LARGEST_ANSWER = 256 * 1024
#: Calls under way at once in one host.
_MOST_AT_ONCE = 64
#: Why a call is of no use, now or later.
_FINAL: Mapping[type[Exception], str] = {
    MissingVariable: "missing_variable",
    InvalidContent: "unrenderable",
    CannotOpen: "secret_unreadable",
    LinkRefused: "address_refused",
    Redirected: "redirected",
}
_Final = tuple(_FINAL)


class FlowCalls:
    """Makes the calls of flows."""

    def __init__(self, sends: FlowSends, fetch: SafeFetch, secrets: FlowSecrets) -> None:
        self._sends = sends
        self._secrets = secrets
        self._fetch = fetch
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    async def call(self, event: FlowEventDocument, effect: Effect, action: HttpRequest) -> EffectOutcome:
        """Make a call: 2xx is success, a server that is busy or broken is tried again, everything else is final."""
        wanted = Wanted(event["contactId"], event["accountId"], event["merchantId"], template_id="")
        material = await self._sends.material(wanted)
        if material.contact is None:
            return failed("contact_gone")
        fillings = fillings_for(material.contact, material.account or {}, given_of(effect.variables))
        try:
            request = filled_request(action, fillings, effect.key)
            secrets = self._secrets.opened(event["merchantId"], effect.key.node_id, action)
            async with self._slots:
                return await self._made(request, secrets)
        except _Final as error:
            reason = next(reason for kind, reason in _FINAL.items() if isinstance(error, kind))
            log.info("flow.call_refused", reason=reason)
            return failed(reason)
        except FetchFailed as error:
            log.info("flow.call_failed", reason=str(error))
            return failed("unreachable", final=False)

    async def _made(self, request: FilledRequest, secrets: Mapping[str, str]) -> EffectOutcome:
        wanted = SafeRequest(
            request.url,
            method=request.method,
            headers={**request.headers, **secrets},
            body=request.body,
            timeout_s=TIMEOUT_S,
        )
        if secrets:
            # A redirect would take them to where they were not given for.
            wanted = replace(wanted, redirects=0)
        async with self._fetch.open(wanted) as answer:
            if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return await _kept(answer)
            reason = f"http_{answer.status}"
            if is_worth_another_try(answer.status):
                return failed(reason, final=False, retry_after_s=retry_after(answer.headers))
            return failed(reason)


async def _kept(answer: SafeAnswer) -> EffectOutcome:
    if answer.is_compressed:
        return failed("answer_compressed")
    try:
        body = b"".join([chunk async for chunk in answer.chunks(LARGEST_ANSWER)])
    except FetchFailed:
        # It was done all the same: to call again would do it a second time.
        return failed("answer_unreadable")
    return succeeded(result_of(body, answer.headers.get("Content-Type", "")))
