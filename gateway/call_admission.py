"""The API limit of a merchant (contract, part 3): refuses what is over it, and tells what is left on every answer."""

from __future__ import annotations

from aiohttp import web

from gateway.call_limiter import Admission, CallLimiter
from gateway.dependencies import DEPENDENCIES
from gateway.principal import Principal

CALL_LIMITER: web.AppKey[CallLimiter] = web.AppKey("call_limiter", CallLimiter)
ADMISSION: web.RequestKey[Admission] = web.RequestKey("admission", Admission)


async def admit(request: web.Request, caller: Principal) -> None:
    """Count the call for the caller's merchant; what was refused to the caller does not count.

    Raises:
        LimitExceeded: when the merchant has no calls left.
        Unavailable: when that can't be learnt.
    """
    if not caller.uncounted:
        admission = request[ADMISSION] = await request.app[CALL_LIMITER].admit(caller.merchant_id)
        if admission.refusal is not None:
            raise admission.refusal


async def add_limit(request: web.Request, response: web.StreamResponse) -> None:
    """Name the limit in an answer's head; a signal, so that refusals and streamed answers have it too."""
    admission = request.get(ADMISSION)
    if admission is not None:
        headers = response.headers
        headers["X-RateLimit-Limit"] = str(request.app[DEPENDENCIES].settings.api_calls_per_minute)
        headers["X-RateLimit-Remaining"] = str(admission.remaining)
        headers["X-RateLimit-Reset"] = str(admission.resets_at)
