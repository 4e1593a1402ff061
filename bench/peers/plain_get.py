"""The plain GET: one aiohttp handler, and in it one `find_one` by id and merchant; no identity, no limit, no model."""

from __future__ import annotations

import argparse
import gc
from collections.abc import AsyncIterator

import orjson
import uvloop
from aiohttp import web
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

PATH = "/contacts/{contactId}"
_CONTACTS = web.AppKey("contacts", AsyncCollection)
_MERCHANT = web.AppKey("merchant", str)


async def get(request: web.Request) -> web.Response:
    """Answer the document as it is, 404 where there is none."""
    query = {"_id": request.match_info["contactId"], "merchantId": request.app[_MERCHANT]}
    contact = await request.app[_CONTACTS].find_one(query)
    if contact is None:
        return web.Response(status=404)
    body = orjson.dumps({"success": True, "data": contact}, option=orjson.OPT_UTC_Z)
    return web.Response(body=body, content_type="application/json")


def main() -> None:
    """Serve until SIGTERM, with the settings of the program's own server and database client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mongodb", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--merchant", required=True)
    arguments = parser.parse_args()

    async def database(app: web.Application) -> AsyncIterator[None]:
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(arguments.mongodb, tz_aware=True, maxPoolSize=32)
        app[_CONTACTS] = client[arguments.database].contacts
        gc.collect()
        gc.freeze()
        yield
        await client.close()

    app = web.Application()
    app[_MERCHANT] = arguments.merchant
    app.router.add_get(PATH, get)
    app.cleanup_ctx.append(database)
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=arguments.port, access_log=None, print=None, loop=loop, backlog=4096)


if __name__ == "__main__":
    main()
