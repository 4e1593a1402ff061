"""Makes the look-ups that a model has asked for and the merchant allows.

An answer is data for the model: bounded in size and time, and without the secrets that went with the call, should the
server have repeated them. A redirect is not followed: the host is the one that the merchant has named.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, TypeAlias
from urllib.parse import quote, urlsplit

import orjson
import structlog
from prometheus_client import Counter

from actors.clients.safe_fetch import FetchFailed, SafeAnswer, SafeFetch, SafeRequest
from domain.dialogue_answer import visible
from domain.dialogue_tool_calls import ToolCall
from domain.public_links import LinkRefused
from storage.ai_tools import AiTools
from storage.encryption import CannotOpen

log = structlog.get_logger()

CALLS = Counter("mktx_ai_tool_calls_total", "Look-ups that models asked for, by outcome", ["outcome"])

TIMEOUT_S = 10.0
_LARGEST_ANSWER = 64 * 1024
_HIDDEN = "[hidden]"
_SHORTEST_SECRET = 4

Outcome: TypeAlias = Literal["ok", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a look-up has brought, as text for the model; `secrets` must not be in what the model says either."""

    outcome: Outcome
    text: str
    secrets: tuple[str, ...] = ()


class ToolCalls:
    """Makes look-ups."""

    def __init__(self, tools: AiTools, fetch: SafeFetch) -> None:
        self._tools = tools
        self._fetch = fetch

    async def make(self, merchant_id: str, call: ToolCall, timeout_s: float = TIMEOUT_S) -> ToolResult:
        """Make one look-up and return what the model is told of it; never raises for what the other side does.

        A merchant's own look-up alone is made: one that has been deleted, or leads elsewhere by now, is not.
        """
        try:
            headers = await self._tools.headers(merchant_id, call.tool.id, call.tool.host)
        except CannotOpen:
            log.exception("tool.headers_sealed_with_unknown_key", merchant_id=merchant_id, tool_id=call.tool.id)
            headers = None
        if headers is None or urlsplit(call.url).netloc.lower() != call.tool.host:
            return refused("the tool is not there")
        secrets = tuple(_forms(headers.values()))
        try:
            status, text = await self._answer(call, headers, timeout_s)
        except (FetchFailed, LinkRefused) as error:
            log.info("tool.call_failed", merchant_id=merchant_id, tool_id=call.tool.id, error=type(error).__name__)
            return _result("failed", _error("the shop's server can't be asked at present"), secrets)
        if status == HTTPStatus.NOT_FOUND:
            return _result("ok", _error("not found"), secrets)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            log.info("tool.call_refused", merchant_id=merchant_id, tool_id=call.tool.id, status=status)
            return _result("failed", _error(f"the shop's server answered with status {status}"), secrets)
        return _result("ok", without_secrets(text, secrets), secrets)

    async def _answer(self, call: ToolCall, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
        own = {"Accept": "application/json, text/plain", **headers}
        if call.body is not None:
            own["Content-Type"] = "application/json"
        request = SafeRequest(
            call.url, method=call.tool.method, headers=own, body=call.body, timeout_s=timeout_s, redirects=0
        )
        async with self._fetch.open(request) as answer:
            if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return answer.status, ""
            return answer.status, await _text(answer)


def refused(reason: str) -> ToolResult:
    """Return what a model is told that asked for what it may not have."""
    return _result("refused", _error(reason), ())


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which none of the secrets stands."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text


async def _text(answer: SafeAnswer) -> str:
    if answer.is_compressed:
        raise FetchFailed("is compressed")
    body = b"".join([chunk async for chunk in answer.chunks(_LARGEST_ANSWER)])
    return visible(body.decode("utf-8", "replace"))


def _forms(values: Iterable[str]) -> Iterable[str]:
    """Return secrets in the forms in which a server may repeat them, the longest first.

    What stands behind a scheme (`Bearer`, `Basic`) is the secret as well as the whole.
    """
    forms: set[str] = set()
    for value in values:
        for secret in {value, value.partition(" ")[2].strip() or value}:
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            forms |= {secret, quote(secret, safe=""), orjson.dumps(secret).decode()[1:-1], encoded}
    return sorted((form for form in forms if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)


def _error(reason: str) -> str:
    return orjson.dumps({"error": reason}).decode()


def _result(outcome: Outcome, text: str, secrets: tuple[str, ...]) -> ToolResult:
    CALLS.labels(outcome).inc()
    return ToolResult(outcome, text, secrets)
