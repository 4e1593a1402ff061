"""Lets ordered faults happen to requests of X's endpoints; the control API and the model server are never hit."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from math import ceil

from aiohttp import web

from sandbox.body import answer, as_object, as_text, read_object
from sandbox.endpoint import WORLD
from sandbox.faults import AFTER, Asked, Fault, FaultKind
from sandbox.oauth import claimed_token
from sandbox.world import World

#: Set on a request whose send must be echoed before it is answered.
ECHO_FIRST = web.RequestKey("echo_first", bool)
#: Set on a request whose send must not be echoed at all.
ECHO_NEVER = web.RequestKey("echo_never", bool)

_TOO_MANY = 429

#: Paths on the same server that are not X's.
_NOT_OF_X = ("/sandbox", "/v1/")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Perform a request with the fault that is ordered for it, if any."""
    world = request.app[WORLD]
    if not world.faults.ordered or request.path.startswith(_NOT_OF_X):
        return await handler(request)
    fault = world.faults.strike(await _asked(world, request))
    if fault is None:
        return await handler(request)
    match fault.kind:
        case FaultKind.ERROR:
            return _error(world, fault)
        case FaultKind.DROP | FaultKind.RESET:
            return _break(request, reset=fault.kind is FaultKind.RESET)
        case FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        case FaultKind.ECHO_BEFORE_RESPONSE:
            request[ECHO_FIRST] = True
        case _:
            pass
    if not fault.echo:
        request[ECHO_NEVER] = True
    response = await handler(request)
    return await _afterwards(world, request, response, fault)


async def _afterwards(
    world: World, request: web.Request, response: web.StreamResponse, fault: Fault
) -> web.StreamResponse:
    """Spoil the answer of a request that was performed; one that X refused is answered as it is."""
    if fault.kind not in AFTER:
        return response
    if response.status >= 300:  # noqa: PLR2004 - HTTP's own boundary
        world.faults.give_back(fault)
        return response
    if fault.kind is FaultKind.ACCEPT_THEN_DROP:
        return _break(request, reset=True)
    if fault.kind is FaultKind.ACCEPT_THEN_500:
        return _error(world, fault)
    await asyncio.sleep(fault.seconds)
    return response


async def _asked(world: World, request: web.Request) -> Asked:
    token = world.people.token(claimed_token(request))
    account = token.user_id if token else ""
    participant = await _participant(request, account) if world.faults.want_participants else ""
    return Asked(request.method, request.path, account, participant)


async def _participant(request: web.Request, account_id: str) -> str:
    """Return whom a request is about: named in the path, in a conversation's id, or in a v1.1 body."""
    parts = request.match_info
    if "participant_id" in parts:
        return parts["participant_id"]
    if "conversation_id" in parts:
        others = [side for side in parts["conversation_id"].split("-") if side != account_id]
        return others[0] if others else ""
    if request.path.endswith("/direct_messages/events/new.json"):
        event = as_object((await read_object(request) or {}).get("event"))
        target = as_object(as_object(event.get("message_create")).get("target"))
        return as_text(target.get("recipient_id"))
    return ""


def _error(world: World, fault: Fault) -> web.Response:
    headers = {**(_window(world, fault) if fault.status == _TOO_MANY else {}), **fault.headers}
    if isinstance(fault.body, str):
        return web.Response(text=fault.body, status=fault.status, headers=headers, content_type="text/html")
    return answer(fault.body, fault.status, headers)


def _window(world: World, fault: Fault) -> dict[str, str]:
    """Return the headers of a 429: used up until `seconds` from now, but room is left where it is a usage cap."""
    capped = as_object(fault.body).get("title") == "UsageCapExceeded"
    return {
        "x-rate-limit-limit": "15",
        "x-rate-limit-remaining": "14" if capped else "0",
        "x-rate-limit-reset": str(world.now_ms() // 1000 + ceil(fault.seconds)),
    }


def _break(request: web.Request, *, reset: bool) -> web.StreamResponse:
    """End the connection without an answer: closed, or reset so that the client reads ECONNRESET."""
    transport = request.transport
    if transport is not None:
        if reset:
            sock = transport.get_extra_info("socket")
            # linger on with zero seconds makes the kernel send RST instead of FIN
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
    return web.Response(status=500)
