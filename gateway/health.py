from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from aiohttp import web

from gateway.answers import JSON, dumps
from gateway.dependencies import DEPENDENCIES, PartHealth

log = structlog.get_logger()

_PATIENCE_S = 3.0
_HEADERS = {"Cache-Control": "no-store"}


async def live(request: web.Request) -> web.Response:
    """Answer 200 as long as the process runs, and how its parts are."""
    return _answer("live", await _parts(request), 200)


async def ready(request: web.Request) -> web.Response:
    """Answer 200 when every part serves, else 503."""
    parts = await _parts(request)
    serves = all(part.ready for part in parts.values())
    return _answer("ready" if serves else "not ready", parts, 200 if serves else 503)


async def _parts(request: web.Request) -> Mapping[str, PartHealth]:
    """Ask how the parts are; not being able to tell is an answer too."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await request.app[DEPENDENCIES].parts()
    except Exception as error:
        log.warning("health.unknown", error=type(error).__name__, exc_info=not isinstance(error, TimeoutError))
        return {"parts": PartHealth(ready=False, detail="did not answer in time")}


def _answer(status: str, parts: Mapping[str, PartHealth], code: int) -> web.Response:
    shown = {name: {"ready": part.ready, "detail": part.detail} for name, part in parts.items()}
    headers = _HEADERS if code == web.HTTPOk.status_code else {**_HEADERS, "Retry-After": "2"}
    body = dumps({"status": status, "parts": shown})
    return web.Response(body=body, status=code, content_type=JSON, charset="utf-8", headers=headers)
