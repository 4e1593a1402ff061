"""Links in messages of campaigns: whoever follows one is led to where it was meant to lead, and counted.

No API of anybody's: it stands outside the base path, asks for no token and counts against no limit. It leads only to
addresses that a merchant's own campaign has stored.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog
from aiohttp import hdrs, web
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from domain.tracked_links import code_in, is_preview, location_of
from gateway.dependencies import DEPENDENCIES, Dependencies
from storage.tracked_links import LinkDocument

log = structlog.get_logger()

#: All that is below, so that a link which was cut or drawn too long is answered with the page as well.
LINK_ROUTE: Final = r"/l/{code:[\s\S]*}"

FOLLOWS = Counter("mktx_link_follows_total", "Links of campaigns that were followed, by outcome", ["outcome"])

#: How long somebody waits for being counted; it goes on without them.
_PATIENCE_S = 1.0
#: How long counting one is tried: a transaction would be tried again for minutes.
_DEADLINE_S = 10.0
_HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>No such link</title></head>'
    "<body><h1>There is no such link</h1><p>It may have been cut, or is not valid any more.</p></body></html>"
)


async def follow_link(request: web.Request) -> web.StreamResponse:
    """Lead to where a link leads; a page says that it leads nowhere."""
    deps = request.app[DEPENDENCIES]
    code = code_in(request.match_info["code"])
    link = None if code is None else await _found(deps, code)
    location = None if link is None else location_of(link["url"])
    if link is None or location is None:
        FOLLOWS.labels("unknown" if link is None else "refused").inc()
        headers = {**_HEADERS, "Content-Security-Policy": _POLICY}
        return web.Response(status=404, text=_PAGE, content_type="text/html", headers=headers)
    if is_preview(request.method, request.headers):
        FOLLOWS.labels("preview").inc()
    elif link["firstClickedAt"] is not None:
        FOLLOWS.labels("again").inc()
    else:
        await _counted(deps, link)
    return web.Response(status=302, headers={**_HEADERS, hdrs.LOCATION: location})


async def _found(deps: Dependencies, code: str) -> LinkDocument | None:
    try:
        return await deps.repositories.tracked_links.find(code)
    except PyMongoError:
        FOLLOWS.labels("unavailable").inc()
        raise


async def _counted(deps: Dependencies, link: LinkDocument) -> None:
    """Have a follow counted, and wait for that a moment: who follows a link is not kept from where it leads."""
    done = asyncio.Event()
    deps.background.start("link.count", _count(deps, link, done))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            await done.wait()


async def _count(deps: Dependencies, link: LinkDocument, done: asyncio.Event) -> None:
    outcome = "uncounted"
    try:
        async with asyncio.timeout(_DEADLINE_S):
            is_first = await deps.repositories.tracked_links.followed(link, deps.clock.now())
        outcome = "counted" if is_first else "again"
    except (PyMongoError, TimeoutError) as error:
        log.warning(
            "link.not_counted",
            error=type(error).__name__,
            merchant_id=link["merchantId"],
            campaign_id=link["campaignId"],
            run_id=link["runId"],
        )
    finally:
        FOLLOWS.labels(outcome).inc()
        done.set()
