"""The API limit of a merchant (contract, part 3): refuses what is over it, and tells what is left on every answer."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.call_limiter import Admission, CallLimiter
from gateway.dependencies import DEPENDENCIES
from gateway.middlewares.authentication import PRINCIPAL

CALL_LIMITER: web.AppKey[CallLimiter] = web.AppKey("call_limiter", CallLimiter)
ADMISSION: web.RequestKey[Admission] = web.RequestKey("admission", Admission)


@web.middleware
async def call_limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the call for the caller's merchant; what has no caller, or was refused to it, does not count."""
    principal = request.get(PRINCIPAL)
    if principal is not None and not principal.uncounted:
        admission = request[ADMISSION] = await request.app[CALL_LIMITER].admit(principal.merchant_id)
        if admission.refusal is not None:
            raise admission.refusal
    return await handler(request)


async def add_limit(request: web.Request, response: web.StreamResponse) -> None:
    """Name the limit in an answer's head; a signal, so that refusals and streamed answers have it too."""
    admission = request.get(ADMISSION)
    if admission is not None:
        headers = response.headers
        headers["X-RateLimit-Limit"] = str(request.app[DEPENDENCIES].settings.api_calls_per_minute)
        headers["X-RateLimit-Remaining"] = str(admission.remaining)
        headers["X-RateLimit-Reset"] = str(admission.resets_at)
