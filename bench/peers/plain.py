"""The plain way: one aiohttp handler, and in it one insert with majority and journal for each request."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
import uvloop
from aiohttp import web
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from bench.load.events import SIGNATURE_HEADER, WEBHOOK_PATH, is_signed

DATABASE = "plain"
COLLECTION = "inbox"
_INBOX = web.AppKey("inbox", AsyncCollection)


async def receive(request: web.Request) -> web.Response:
    """Store the event durably and answer 200; 401 where the signature is wrong."""
    body = await request.read()
    if not is_signed(body, request.headers.get(SIGNATURE_HEADER, "")):
        return web.Response(status=401)
    event = orjson.loads(body)
    document = {
        "_id": event["direct_message_events"][0]["id"],
        "forUserId": event["for_user_id"],
        "data": event,
        "receivedAt": datetime.now(UTC),
    }
    try:
        await request.app[_INBOX].insert_one(document)
    except DuplicateKeyError:
        return web.Response()
    return web.Response()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mongodb", required=True)
    arguments = parser.parse_args()

    async def database(app: web.Application) -> AsyncIterator[None]:
        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(arguments.mongodb)
        concern = WriteConcern(w="majority", j=True)
        app[_INBOX] = client[DATABASE].get_collection(COLLECTION, write_concern=concern)
        yield
        await client.close()

    app = web.Application()
    app.router.add_post(WEBHOOK_PATH, receive)
    app.cleanup_ctx.append(database)
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=arguments.port, access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
