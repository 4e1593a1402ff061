"""Calls of a model's server, any that speaks OpenAI's chat completions.

OpenAI's client carries them; repetitions are ours, since its own know neither our deadline nor our circuit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Histogram

from actors.clients.circuit_breaker import CircuitBreakers, CircuitOpen
from actors.clients.model_dialect import Dialect, next_dialect
from actors.clients.model_failures import ModelFailed, ModelFailureKind, ModelRefusal, failure_of, is_trouble
from actors.clients.model_wire import ModelReply, ModelRequest, read_reply
from config.settings import Settings
from domain.clock import Clock

if TYPE_CHECKING:
    from actors.clients.openai_client import OpenAIClient

log = structlog.get_logger()

REQUESTS = Counter("mktx_ai_requests_total", "Calls of the model server, by outcome", ["outcome"])
SECONDS = Histogram(
    "mktx_ai_request_seconds",
    "Seconds that a call of the model server took",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64),
)
TOKENS = Counter("mktx_ai_tokens_total", "Tokens that models were given and have written", ["direction"])
OPENED = Counter("mktx_ai_circuit_open_total", "Times that a merchant's calls of the model server were stopped")

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
#: Dialects that are remembered, each of one model.
_MOST_MODELS = 1_000

Pause = Callable[[float], Awaitable[object]]


class ModelClient:
    """One client of the model server, for all merchants of a process."""

    def __init__(self, settings: Settings, clock: Clock, *, pause: Pause = asyncio.sleep) -> None:
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._dialects: dict[str, Dialect] = {}
        self._circuits = CircuitBreakers(clock, _note_open)
        self._places = asyncio.Semaphore(settings.openai_calls_at_once)
        self._client = _client_of(settings)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the model's next message.

        Raises:
            ModelFailed: after some tries, or at once where trying again is of no use.
        """
        try:
            with self._circuits.guarding(request.merchant_id, is_trouble):
                return await self._persistent(request)
        except CircuitOpen as error:
            REQUESTS.labels(ModelFailureKind.CIRCUIT_OPEN).inc()
            raise ModelFailed(ModelFailureKind.CIRCUIT_OPEN, wait_s=error.retry_after_s) from None

    async def _persistent(self, request: ModelRequest) -> ModelReply:
        tries = 0
        while True:
            try:
                return await self._in_dialect(request)
            except ModelFailed as error:
                wait = _wait(error, tries)
                late = asyncio.get_running_loop().time() + wait >= request.until
                log.warning(
                    "model.call_failed",
                    merchant_id=request.merchant_id,
                    reason=str(error.kind),
                    status=error.model_status,
                    code=error.model_code,
                    tries=tries + 1,
                )
                if not error.is_passing or tries >= self._settings.openai_retries or late:
                    raise
            tries += 1
            await self._pause(wait)

    async def _in_dialect(self, request: ModelRequest) -> ModelReply:
        """Make one call, and again where the server does not take the form that it is asked in."""
        while True:
            dialect = self._dialects.get(request.model, Dialect())
            try:
                return await self._call(request, dialect)
            except ModelRefusal as refusal:
                milder = next_dialect(dialect, refusal)
                if milder is None:
                    failure = failure_of(refusal, self._clock.now())
                    REQUESTS.labels(failure.kind).inc()
                    raise failure from refusal
                REQUESTS.labels("unsupported").inc()
                log.info("model.dialect_changed", model=request.model, form=milder.form)
                if len(self._dialects) >= _MOST_MODELS:
                    self._dialects.clear()
                self._dialects[request.model] = milder

    async def _call(self, request: ModelRequest, dialect: Dialect) -> ModelReply:
        client, settings = self._client, self._settings
        if client is None:
            raise _counted(ModelFailureKind.NOT_CONFIGURED)
        async with self._place(request):
            until = min(asyncio.get_running_loop().time() + settings.openai_timeout_s, request.until)
            try:
                with SECONDS.time():
                    async with asyncio.timeout_at(until):
                        body = await client.complete(request, dialect)
            except TimeoutError:
                raise _counted(ModelFailureKind.TIMEOUT) from None
            except ModelFailed as failure:
                REQUESTS.labels(failure.kind).inc()
                raise
        reply = read_reply(body, request)
        if reply is None:
            raise _counted(ModelFailureKind.BROKEN_BODY)
        REQUESTS.labels("ok").inc()
        TOKENS.labels("prompt").inc(reply.prompt_tokens)
        TOKENS.labels("completion").inc(reply.completion_tokens)
        return reply

    @asynccontextmanager
    async def _place(self, request: ModelRequest) -> AsyncGenerator[None]:
        """Hold one of the places of this process; waiting for one is not the server's failure."""
        try:
            async with asyncio.timeout_at(request.until):
                await self._places.acquire()
        except TimeoutError:
            raise _counted(ModelFailureKind.BUSY) from None
        try:
            yield
        finally:
            self._places.release()


def _client_of(settings: Settings) -> OpenAIClient | None:
    if not settings.openai_api_key.get_secret_value() and not settings.openai_base_url:
        return None
    from actors.clients.openai_client import OpenAIClient  # noqa: PLC0415  # who has no model server has no need of it

    return OpenAIClient(settings)


def _wait(error: ModelFailed, tries: int) -> float:
    """Return the seconds before the next try: what the server asks for, else ever more, with chance in it."""
    pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tries)
    shortened: float = pause * random.uniform(0.5, 1.0)  # noqa: S311  # no secret depends on it
    return max(shortened, error.wait_s or 0.0)


def _counted(kind: ModelFailureKind) -> ModelFailed:
    REQUESTS.labels(kind).inc()
    return ModelFailed(kind)


def _note_open(merchant_id: str) -> None:
    OPENED.inc()
    log.warning("model.circuit_opened", merchant_id=merchant_id)
