"""The limit: one aiohttp handler that verifies the signature, parses the body and answers; it stores nothing."""

from __future__ import annotations

import orjson
import uvloop
from aiohttp import web

from bench.load.events import SIGNATURE_HEADER, WEBHOOK_PATH, is_signed
from bench.peers.arguments import port_argument


async def receive(request: web.Request) -> web.Response:
    """Answer 200 to a signed JSON body, 401 to any other."""
    body = await request.read()
    if not is_signed(body, request.headers.get(SIGNATURE_HEADER, "")):
        return web.Response(status=401)
    orjson.loads(body)
    return web.Response()


def main() -> None:
    """Serve until SIGTERM."""
    app = web.Application()
    app.router.add_post(WEBHOOK_PATH, receive)
    port = port_argument()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
