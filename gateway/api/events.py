from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel

from domain.errors import LimitExceeded
from gateway.events.streams import EventStreams
from gateway.events.subscriber import Wanted
from gateway.models.base import NoBody
from gateway.models.events import EventQuery
from gateway.paths import API
from gateway.routing import AnyRoute, Call, Reply, Route

EVENT_STREAMS: web.AppKey[EventStreams] = web.AppKey("event_streams", EventStreams)


async def stream_events(call: Call[EventQuery, NoBody]) -> Reply[BaseModel]:
    """Send what changes for the merchant as server-sent events, until either side ends it.

    An event's data is what REST answers for the same thing. With `Last-Event-ID` the stream goes on after that event;
    where that can't be done, the event `reset` says that what the client knows must be read anew.
    """
    wanted = Wanted(call.merchant_id, call.query.events, call.query.account_id)

    async def stream(request: web.Request) -> web.StreamResponse:
        return await request.app[EVENT_STREAMS].serve(request, wanted)

    return Reply(None, stream=stream)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{API}/events",
        stream_events,
        EventQuery,
        NoBody,
        BaseModel,
        summary="Follow what changes",
        errors=(LimitExceeded,),
        streams=True,
    ),
)
