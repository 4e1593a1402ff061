from __future__ import annotations

import asyncio

from aiohttp import web

from domain.errors import InvalidRequest


async def read_in_time(request: web.Request, timeout_s: float) -> bytes:
    """Read a body that is still on its way.

    The server has a deadline for a request's head, but none for its body: a client that stops half-way is cut off here.

    Raises:
        InvalidRequest: when the body does not arrive in time (408), breaks off, or is cut into chunks that are none.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await request.read()
    except TimeoutError:
        if request.transport is not None:
            request.transport.close()
        raise InvalidRequest("The body did not arrive in time", status=408) from None
    except (ConnectionError, web.RequestPayloadError):
        raise InvalidRequest("The body did not arrive whole") from None
